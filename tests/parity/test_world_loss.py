"""e_world_loss.npz: the world model's loss, its parts and its gradients."""

from parity.checks import FAST, KL, PCONT, check_world_loss
from parity.recorded import record
from parity.weights import official_dreamer


@FAST
@KL
@PCONT
def test_world_loss_equals_recorded(pcont: bool, kl: str, fast: bool) -> None:
    dreamer = official_dreamer(pcont, kl == "kl_below", fast)
    check_world_loss(dreamer, record("e_world_loss"), f"pcont_{'on' if pcont else 'off'}/{kl}/")


def test_recorded_kl_lies_above_or_below_the_free_nats() -> None:
    official, free_nats = record("e_world_loss"), official_dreamer().config.model.free_nats
    assert official["pcont_off/kl_above/kl_mean"] > free_nats
    assert official["pcont_off/kl_below/kl_mean"] < free_nats
    assert official["pcont_off/kl_below/grad_norm/rssm/img3/kernel"] == 0
