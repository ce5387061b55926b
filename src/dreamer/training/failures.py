"""How many failures of an environment in a row a run survives."""

import logging

from dreamer.envs.failures import EnvError

_logger = logging.getLogger(__name__)


def survive(failure: EnvError, in_a_row: int, limit: int) -> None:
    """Tell of a failed episode, `in_a_row` of them so far, in whose place another one begins.

    Raises:
        EnvError: there are more than `limit`, or another episode would fail as well. It says what to do.
    """
    if not failure.passing:
        raise failure
    if in_a_row > limit:
        times = f"It failed in {in_a_row} episodes in a row: mend it" if limit else "Mend it"
        raise EnvError(
            f"{failure} {times}, or survive more failures with --env-failures; the same command goes on from here, "
            "with another episode."
        ) from failure
    _logger.warning(
        "%s Another episode begins (failure %d of at most %d in a row).", failure, in_a_row, limit
    )
