"""How far a run is. Every counter carries its unit in its name."""

from dataclasses import asdict, dataclass


@dataclass
class Counters:
    """`env_step`: simulator frames; `agent_step`: decisions; `grad_step`: updates; `seconds`: of running."""

    env_step: int = 0
    agent_step: int = 0
    grad_step: int = 0
    seconds: float = 0.0

    def state_dict(self) -> dict[str, float]:
        return asdict(self)
