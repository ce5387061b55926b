"""i_exploration_preprocess.npz: pixels, rewards, exploration noise, and acting step by step.

`expl/schedule_*`, by which the official code lets the amount of exploration fall, is left out on purpose:
here it falls as the paper says (docs/differences.md, 25).
"""

from typing import Literal

import pytest
import torch

from dreamer.agents.dreamer import Dreamer
from dreamer.agents.policy_state import PolicyState
from dreamer.behavior.exploration import add_noise
from dreamer.world_model.encoder import preprocess_image
from helpers import small_dreamer
from parity.recorded import Record, assert_elements, assert_state, record
from parity.weights import official_dreamer

OFFICIAL = record("i_exploration_preprocess")


@pytest.fixture(scope="module")
def dreamer() -> Dreamer:
    return official_dreamer()


def act(dreamer: Dreamer, state: PolicyState, official: Record) -> PolicyState:
    """One acting step in training mode under the recorded noise."""
    model = dreamer.world_model
    embed = model.encoder({"image": official["image"]})
    latent, _ = model.rssm.observe_step(state.latent, state.action, embed, official["eps_post"])
    action = dreamer.actor.sample(latent.feat, official["eps_action"])
    noise = official["eps_exploration"]
    return PolicyState(latent, add_noise(action, noise, dreamer.config.behavior.expl_noise))


def test_all_pixel_values_equal_recorded() -> None:
    assert len(OFFICIAL["pixel_uint8"].unique()) == 256
    assert_elements(preprocess_image(OFFICIAL["pixel_uint8"]), OFFICIAL["pixel_float"])


@pytest.mark.parametrize("how", ["none", "tanh"])
def test_rewards_equal_recorded(how: Literal["none", "tanh"]) -> None:
    model = small_dreamer(clip_rewards=how).world_model
    assert_elements(model.reward_target(OFFICIAL["reward_raw"]), OFFICIAL[f"reward_clip_{how}"])


def test_exploration_noise_equals_recorded(dreamer: Dreamer) -> None:
    official, std = OFFICIAL.under("expl/"), dreamer.config.behavior.expl_noise
    assert std == pytest.approx(float(official["amount"]))
    assert_elements(add_noise(official["action"], official["eps"], std), official["noisy_action"])
    assert torch.equal(official["eval_action"], official["action"])


@torch.no_grad()
def test_two_acting_steps_and_a_reset_equal_recorded(dreamer: Dreamer) -> None:
    official = OFFICIAL.under("policy/")
    n, action_size = len(official["step0/image"]), dreamer.spec.action.size
    state = PolicyState(dreamer.world_model.rssm.initial(n), torch.zeros(n, action_size))
    for step in (official.under("step0/"), official.under("step1/")):
        state = act(dreamer, state, step)
        assert_state(state.latent, step.under("latent/"))
        assert_elements(state.action, step["action"])
    state = state.reset(0)
    assert_elements(state.action, official["after_reset_env0/action"])
    assert_elements(state.latent.stoch, official["after_reset_env0/stoch"])
    assert not any(part[0].any() for part in state.latent)
