"""Options that only one agent has: `dreamer train --agent d4pg --help` shows them."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from dreamer.affects import Affects


@dataclass(frozen=True)
class D4PGConfig:
    """D4PG (Barth-Maron et al. 2018), besides batch size, gamma, exploration noise and learning rates."""

    n_step: Annotated[int, Gt(0), Affects.EVERYTHING] = 5
    """Rewards of a transition before the critic's estimate takes over (N)."""
    atoms: Annotated[int, Ge(2), Affects.EVERYTHING] = 51
    """Returns that the critic tells apart, evenly spaced."""
    v_max: Annotated[float, Gt(0), Affects.LEARNING] = 150.0
    """The largest of them; the least is -v_max."""
    target_every: Annotated[int, Gt(0), Affects.LEARNING] = 100
    """Updates between two copies of the networks into the target networks."""
    priority: Annotated[float, Ge(0), Affects.LEARNING] = 0.6
    """How much transitions with a large error are preferred; 0 draws all alike."""
    priority_correction: Annotated[float, Ge(0), Le(1), Affects.LEARNING] = 1.0
    """Share of that preference that the weights in the loss undo; 1 undoes all of it."""
    frame_stack: Annotated[int, Gt(0), Affects.EVERYTHING] = 3
    """Newest images that actor and critic see together."""


@dataclass(frozen=True)
class A3CConfig:
    """A3C (Mnih et al. 2016), besides gamma; for the Control Suite (Tassa et al. 2018)."""

    workers: Annotated[int, Gt(0), Affects.EVERYTHING] = 32
    """Processes that act and learn at the same time, each with an environment; 1 is deterministic."""
    rollout: Annotated[int, Gt(0), Affects.EVERYTHING] = 20
    """Agent steps between two updates of a worker."""
    lr: Annotated[float, Gt(0), Affects.UPDATES] = 5e-5
    """Learning rate at first."""
    anneal: Annotated[int, Gt(0), Affects.UPDATES] = 100_000_000
    """Frames over which the learning rate falls to 0."""
    entropy: Annotated[float, Ge(0), Affects.LEARNING] = 3e-3
    """Weight of the entropy of actions."""
