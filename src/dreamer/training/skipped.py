"""Updates that are not finite: they change nothing, and too many in a row end the run."""

from typing import Any

import torch
from torch import Tensor

from dreamer.errors import UserError
from dreamer.types import Metrics

MAX_SKIPPED = 10
"""Skipped updates in a row after which a run stops."""


class SkippedUpdates:
    """Count how many updates in a row were skipped because a loss or gradient was not finite.

    The count stays on the device. It is read at every `MAX_SKIPPED`-th update only, because reading it waits for the
    device. So a run may end only after almost twice as many.
    """

    def __init__(self) -> None:
        self.in_a_row: Tensor | int = 0

    def add(self, skipped: Tensor, metrics: Metrics, grad_step: int) -> None:
        """Count update number `grad_step`; `skipped` is 1 or 0.

        Raises `UserError`, which names the first of `metrics` that is not finite, after too many in a row.
        """
        self.in_a_row = (self.in_a_row + 1) * skipped
        if grad_step % MAX_SKIPPED == 0 and (number := int(self.in_a_row)) >= MAX_SKIPPED:
            raise UserError(
                f"{number} updates in a row were not finite, first in {_first_not_finite(metrics)}: the last"
                " checkpoint is good, so go on from it by `dreamer train --logdir RUN` with a smaller learning rate,"
                " or with --precision float32 if that was bfloat16."
            )

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": int(self.in_a_row)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.in_a_row = state["in_a_row"]


def _first_not_finite(metrics: Metrics) -> str:
    finite = torch.stack(list(metrics.values())).isfinite().tolist()
    return next(name for name, good in zip(metrics, finite, strict=True) if not good)
