"""b_rssm_steps.npz: one step of the recurrent state-space model from a given state."""

from dreamer.world_model.state import State
from parity.recorded import Record, assert_elements, assert_state, record
from parity.weights import official_agent

OFFICIAL = record("b_rssm_steps")


def state(official: Record) -> State:
    return State(official["mean"], official["std"], official["stoch"], official["deter"])


def test_gru() -> None:
    assert bool(OFFICIAL["gru/reset_after"])
    gru = official_agent().world_model.rssm.gru
    assert_elements(gru(OFFICIAL["gru/input"], OFFICIAL["gru/state"]), OFFICIAL["gru/output"])


def test_transition() -> None:
    rssm = official_agent().world_model.rssm
    prior = rssm.imagine_step(state(OFFICIAL.under("prev/")), OFFICIAL["prev_action"], OFFICIAL["eps_prior"])
    assert_state(prior, OFFICIAL.under("prior/"))


def test_representation() -> None:
    rssm = official_agent().world_model.rssm
    previous = state(OFFICIAL.under("prev/"))
    args = OFFICIAL["prev_action"], OFFICIAL["embed"], OFFICIAL["eps_post"]
    assert_state(rssm.observe_step(previous, *args), OFFICIAL.under("post/"))


def test_first_step_of_an_episode() -> None:
    rssm, embed = official_agent().world_model.rssm, OFFICIAL["embed"]
    initial, action = rssm.initial(len(embed)), OFFICIAL["prev_action"] * 0
    prior = rssm.imagine_step(initial, action, OFFICIAL["eps_prior"])
    assert_state(prior, OFFICIAL.under("first/prior/"), "prior")
    posterior = rssm.observe_step(initial, action, embed, OFFICIAL["eps_post"])
    assert_state(posterior, OFFICIAL.under("first/post/"), "posterior")
