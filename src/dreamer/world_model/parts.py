"""One network per observation, by the environment's own names."""

from collections.abc import Iterator, Mapping

from torch import nn


class Parts(nn.Module):
    """Networks by observation key, whatever its characters.

    `nn.ModuleDict` refuses keys with a dot and those that are names of its own, such as `values`. Plain keys
    name their parameters here as they do there: `image` gives `image.layers.0.weight`.
    """

    def __init__(self, networks: Mapping[str, nn.Module]):
        super().__init__()
        self._names: dict[str, str] = {}
        for key, network in networks.items():
            self._names[key] = self._free_name(key)
            self.add_module(self._names[key], network)

    def _free_name(self, key: str) -> str:
        """A name that no attribute has; different keys have different ones."""
        name = key.replace("%", "%25").replace(".", "%2E")
        return f"%{name}" if not name or hasattr(self, name) else name

    def __getitem__(self, key: str) -> nn.Module:
        return self.get_submodule(self._names[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def items(self) -> list[tuple[str, nn.Module]]:
        """Keys and networks, in the order in which they were given."""
        return [(key, self[key]) for key in self]
