"""bfloat16 products change the results by their rounding and by nothing else."""

import pytest
import torch

from dreamer.agents.dreamer import Dreamer
from dreamer.agents.precision import pick_device, pick_dtype, settle_float32
from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.spec import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(2))


def first_update(precision: str) -> dict[str, float]:
    """Metrics of the first update, the same but for the precision of the products."""
    options = {"cnn_depth": 8, "units": 64, "horizon": 5, "precision": precision, "device": "cpu"}
    agent = Dreamer(SPEC, with_options(Config(), options))
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.randint(0, 256, (3, 6, 64, 64, 3), generator=generator, dtype=torch.uint8),
        "action": torch.rand(3, 6, 2, generator=generator) * 2 - 1,
        "reward": torch.rand(3, 6, generator=generator),
        "discount": torch.ones(3, 6),
        "is_first": torch.zeros(3, 6, dtype=torch.bool),
    }
    return {name: float(value) for name, value in agent.update(batch).items()}


def test_bfloat16_agrees_with_float32():
    single, half = first_update("float32"), first_update("bfloat16")
    # Sums over 12,288 pixels are taken in float32 either way: a sum in bfloat16 would be off by up to 32.
    assert half["model/image_loss"] == pytest.approx(single["model/image_loss"], rel=1e-4)
    for name in ("model/kl", "model/reward_loss", "actor/loss", "value/loss"):
        assert half[name] == pytest.approx(single[name], rel=0.02, abs=0.01), name
    for name in ("model/grad_norm", "actor/grad_norm", "value/grad_norm"):
        assert half[name] == pytest.approx(single[name], rel=0.05), name


def test_float32_on_request():
    assert pick_dtype("float32", torch.device("cpu")) == torch.float32
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named():
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="no CUDA GPU"):
        pick_device("cuda")


def test_float32_on_a_gpu_is_not_rounded_on_the_way():
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        settle_float32(torch.device("cuda"), torch.bfloat16)
        assert torch.backends.cudnn.allow_tf32
        settle_float32(torch.device("cuda"), torch.float32)
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])
