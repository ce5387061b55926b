"""A real Ray cluster of several nodes on this machine."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest


class TwoNodes:
    """A head, on which nothing runs, and two nodes of two cores each."""

    def __init__(self) -> None:
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        head = {"num_cpus": 0, "include_dashboard": False}
        self.cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Any] = [self.cluster.add_node(num_cpus=2) for _ in range(2)]
        self.address: str = self.cluster.address

    def node_of(self, process_id: int) -> Any:
        """Return the node on which a process runs."""
        ancestors = {process_id}
        while process_id > 1:
            process_id = int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])
            ancestors.add(process_id)
        (node,) = (node for node in self.nodes if node.all_processes["raylet"][0].process.pid in ancestors)
        return node

    def processes(self, title: str) -> list[int]:
        """Return the living processes on these nodes whose title contains this; Ray gives actors their names."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError, ValueError):  # it has just ended, or runs on another cluster
                if title in path.read_text(errors="replace") and self.node_of(int(path.parent.name)):
                    found.append(int(path.parent.name))
        return found

    def kill_node_of(self, process_id: int) -> None:
        """Kill the node on which a process runs, as a power cut would."""
        node = self.node_of(process_id)
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
