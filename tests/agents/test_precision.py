"""bfloat16 products change the results by their rounding and by nothing else."""

import pytest
import torch

from dreamer.agents.precision import pick_device, pick_dtype, set_float32_precision
from dreamer.errors import UserError
from dreamer.types import ActionSpec, EnvSpec
from helpers import random_batch, small_agent

SPEC = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(2))


def first_update(precision: str, fast: bool) -> dict[str, float]:
    """Metrics of the first update in this precision of the products; everything else is the same."""
    sizes = {"stoch": 30, "deter": 200, "hidden": 200, "cnn_depth": 8, "units": 64, "horizon": 5}
    agent = small_agent(SPEC, precision=precision, fast=fast, **sizes)
    data = random_batch(SPEC, 3, 6)
    data["reward"] = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    return {name: float(value) for name, value in agent.update(data).items()}


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_bfloat16_agrees_with_float32(fast: bool) -> None:
    single, half = first_update("float32", fast), first_update("bfloat16", fast)
    # Sums over an image's 12,288 numbers are taken in float32 either way: a sum in bfloat16 would be off by up to 32.
    assert half["model/image_loss"] == pytest.approx(single["model/image_loss"], rel=1e-4)
    for name in ("model/kl", "model/reward_loss", "actor/loss", "value/loss"):
        assert half[name] == pytest.approx(single[name], rel=0.02, abs=0.01), name
    for name in ("model/grad_norm", "actor/grad_norm", "value/grad_norm"):
        assert half[name] == pytest.approx(single[name], rel=0.05), name


def test_precision_on_request() -> None:
    assert pick_dtype("float32", torch.device("cpu")) == torch.float32
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_error_of_a_missing_gpu_names_it() -> None:
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="no CUDA GPU"):
        pick_device("cuda")


def test_float32_on_a_gpu_is_not_rounded_on_the_way() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        set_float32_precision(torch.device("cuda"), torch.bfloat16)
        assert torch.backends.cudnn.allow_tf32
        set_float32_precision(torch.device("cuda"), torch.float32)
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])
