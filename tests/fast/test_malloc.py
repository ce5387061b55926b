"""Freed memory is kept: allocating again costs hardly any page faults."""

import os
import subprocess
import sys

PROGRAM = """
import resource, torch
from dreamer.fast.malloc import keep_freed_memory

kept = {ask} and keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(n * 2**20) for n in (10, 12, 9)]  # more than 32 MiB each: never kept by default
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
counts = [faults() for _ in range(20)]
print(int(kept), sum(counts[10:]) // 10)
"""


def _faults(ask: bool) -> tuple[int, int]:
    program = [sys.executable, "-c", PROGRAM.format(ask=ask)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    kept, faults = done.stdout.split()
    return int(kept), int(faults)


def test_freed_memory_is_used_again() -> None:
    kept, faults = _faults(ask=True)
    assert kept
    assert faults < 0.2 * _faults(ask=False)[1]
