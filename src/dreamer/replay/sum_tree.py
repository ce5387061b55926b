"""A sum tree: items are drawn in proportion to their priorities (Schaul et al. 2016, Appendix B.2.1).

To draw one, or to change a priority, takes logarithmic time. Node i holds the sum of its children 2i and
2i + 1; the priorities are the leaves, and node 1 is the total:

                 1: 10
          2: 7          3: 3
      4: 5   5: 2   6: 3   7: 0
"""

import numpy as np


class SumTree:
    """Priorities of `size` items or more, float64 and at first 0. The sums are always those of the leaves."""

    def __init__(self, size: int) -> None:
        self.size = 1 << max(0, size - 1).bit_length()
        self._nodes = np.zeros(2 * self.size)

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self._nodes[1])

    def __getitem__(self, items: np.ndarray | slice) -> np.ndarray:
        """Return the priorities of some items."""
        return self._nodes[self.size :][items]

    def __setitem__(self, items: np.ndarray, priorities: np.ndarray | float) -> None:
        """Set the priorities of some items; where one is named twice, the last priority counts."""
        nodes = items + self.size
        self._nodes[nodes] = priorities
        while len(nodes) and nodes[0] > 1:  # all are on one level
            nodes = np.unique(nodes // 2)
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, mass: np.ndarray) -> np.ndarray:
        """Return, for each of `mass` in [0, total), the item whose share of the total it falls into.

        Items lie side by side, each as wide as its priority; so one of priority 0 is never found.
        """
        nodes, mass = np.ones(len(mass), np.int64), mass.copy()
        while nodes[0] < self.size:
            left = self._nodes[2 * nodes]
            # Rounding may leave more mass than a node holds: it belongs to the node's last item.
            right = (mass >= left) & (self._nodes[2 * nodes + 1] > 0)
            mass -= np.where(right, left, 0.0)
            nodes = 2 * nodes + right
        return nodes - self.size

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` items independently, each with the probability priority / total."""
        return self.find(rng.random(n) * self.total)
