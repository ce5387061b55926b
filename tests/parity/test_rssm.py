"""b_rssm_steps.npz: one step of the recurrent state-space model from a given state."""

from dreamer.world_model.rssm import State
from parity.recorded import Record, assert_elements, assert_state, record
from parity.weights import official_dreamer

OFFICIAL = record("b_rssm_steps")


def state(official: Record) -> State:
    return State(official["mean"], official["std"], official["stoch"], official["deter"])


def test_gru_equals_recorded() -> None:
    assert bool(OFFICIAL["gru/reset_after"])
    gru = official_dreamer().world_model.rssm.gru
    assert_elements(gru(OFFICIAL["gru/input"], OFFICIAL["gru/state"]), OFFICIAL["gru/output"])


def test_transition_equals_recorded() -> None:
    rssm = official_dreamer().world_model.rssm
    prior = rssm.imagine_step(state(OFFICIAL.under("prev/")), OFFICIAL["prev_action"], OFFICIAL["eps_prior"])
    assert_state(prior, OFFICIAL.under("prior/"))


def test_representation_equals_recorded() -> None:
    rssm = official_dreamer().world_model.rssm
    previous = state(OFFICIAL.under("prev/"))
    posterior, prior = rssm.observe_step(
        previous, OFFICIAL["prev_action"], OFFICIAL["embed"], OFFICIAL["eps_post"]
    )
    assert_state(posterior, OFFICIAL.under("post/"))
    for part in ("mean", "std", "deter"):
        assert_elements(getattr(prior, part), OFFICIAL[f"prior/{part}"], f"prior {part}")


def test_first_step_of_an_episode_equals_recorded() -> None:
    rssm, embed = official_dreamer().world_model.rssm, OFFICIAL["embed"]
    initial, action = rssm.initial(len(embed)), OFFICIAL["prev_action"] * 0
    prior = rssm.imagine_step(initial, action, OFFICIAL["eps_prior"])
    assert_state(prior, OFFICIAL.under("first/prior/"), "prior")
    posterior, _ = rssm.observe_step(initial, action, embed, OFFICIAL["eps_post"])
    assert_state(posterior, OFFICIAL.under("first/post/"), "posterior")
