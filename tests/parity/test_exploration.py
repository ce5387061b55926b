"""i_exploration_preprocess.npz: pixels, rewards, exploration noise, and acting step by step.

`expl/schedule_*`, by which the official code lets the amount of exploration fall, is left out on purpose:
here it falls as the paper says (docs/differences.md, 25).
"""

import pytest
import torch

from dreamer.agents.dreamer import Dreamer, PolicyState
from dreamer.world_model.encoder import preprocess_image
from dreamer.world_model.world_model import squash
from parity.recorded import Record, assert_elements, assert_state, record
from parity.weights import official_agent

OFFICIAL = record("i_exploration_preprocess")


@pytest.fixture(scope="module")
def agent() -> Dreamer:
    return official_agent()


def act(agent: Dreamer, state: PolicyState, official: Record) -> PolicyState:
    """One acting step in training mode under the recorded noise."""
    latent = agent.filter({"image": official["image"]}, state, official["eps_post"])
    action = agent.behavior.actor(latent.feat).sample(official["eps_action"])
    return PolicyState(latent, agent.explore(action, official["eps_exploration"]))


def test_all_pixel_values() -> None:
    assert len(OFFICIAL["pixel_uint8"].unique()) == 256
    assert_elements(preprocess_image(OFFICIAL["pixel_uint8"]), OFFICIAL["pixel_float"])


@pytest.mark.parametrize("how", ["none", "tanh"])
def test_rewards(how: str) -> None:
    assert_elements(squash(OFFICIAL["reward_raw"], how), OFFICIAL[f"reward_clip_{how}"])


def test_exploration_noise(agent: Dreamer) -> None:
    official = OFFICIAL.under("expl/")
    assert agent.config.behavior.expl_noise == pytest.approx(float(official["amount"]))
    assert_elements(agent.explore(official["action"], official["eps"]), official["noisy_action"])
    assert torch.equal(official["eval_action"], official["action"])


@torch.no_grad()
def test_two_acting_steps_and_a_reset(agent: Dreamer) -> None:
    official = OFFICIAL.under("policy/")
    state = agent.initial_state(len(official["step0/image"]))
    for step in (official.under("step0/"), official.under("step1/")):
        state = act(agent, state, step)
        assert_state(state.latent, step.under("latent/"))
        assert_elements(state.action, step["action"])
    state = state.reset(0)
    assert_elements(state.action, official["after_reset_env0/action"])
    assert_elements(state.latent.stoch, official["after_reset_env0/stoch"])
    assert not any(part[0].any() for part in state.latent)


def test_policy_remembers_the_noisy_action(agent: Dreamer) -> None:
    image = OFFICIAL["policy/step0/image"].numpy()
    state, generator = agent.initial_state(len(image)), torch.Generator().manual_seed(0)
    action, state = agent.policy({"image": image}, state, explore=True, generator=generator)
    assert torch.equal(torch.from_numpy(action), state.action)
