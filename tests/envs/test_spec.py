"""Which names observations may have."""

import numpy as np
import pytest
from gymnasium import spaces

from dreamer.config import EnvConfig
from dreamer.envs import VectorEnv
from dreamer.envs.spec import RESERVED, ActionSpec, spec_from_space
from dreamer.errors import UserError

VECTOR = spaces.Box(-1, 1, (3,), np.float32)


def test_unusual_names_are_kept() -> None:
    names = ["values", "robot.arm", "", "kl", "50%", "wrist camera"]
    spec = spec_from_space(spaces.Dict(dict.fromkeys(names, VECTOR)), ActionSpec(1))
    assert sorted(spec.vectors) == sorted(names)


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_other_parts_of_a_batch_are_refused(name: str) -> None:
    space = spaces.Dict({"image": VECTOR, name: VECTOR})
    with pytest.raises(UserError, match=f"{name}.*rename it"):
        spec_from_space(space, ActionSpec(1))


@pytest.mark.parametrize("workers", [False, True])
def test_no_environment_with_such_names_is_made(workers: bool) -> None:
    config = EnvConfig(env="gym:sample_environments:Reserved-v0", obs="state")
    with pytest.raises(UserError, match="rename it in the environment"):
        VectorEnv(config, 1, workers=workers)
