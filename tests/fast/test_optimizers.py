"""The fused Adam against the plain one, and gradients that are taken side by side."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dreamer.agents.optimizers import Adam, Optimizers
from dreamer.config import OptimizerConfig
from dreamer.fast.optimizers import FastAdam, FastOptimizers
from fast.exact import EPS

LR, STEPS = 1e-2, 6


@pytest.fixture(autouse=True)
def _same_threads_afterward() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# -- Adam ---------------------------------------------------------------------------------------------------

LAYOUTS = {
    "a matrix": torch.randn(6, 4),
    "weights of images, channels last": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
    "one channel, whose stride says nothing": torch.randn(4, 1, 5, 5),
    "transposed": torch.randn(6, 4).t(),
}


def stepped(kind: type[Adam], weight: Tensor, gradients: list[Tensor]) -> tuple[list[Tensor], Adam]:
    """Weights after each step; the gradient of step 2 is not finite."""
    parameter = nn.Parameter(weight.clone())
    adam, seen = kind([parameter], LR), []
    with torch.no_grad():
        for number, gradient in enumerate(gradients):
            finite = torch.tensor(number != 2)
            given = gradient if finite else gradient * torch.inf
            adam.step((given,), torch.tensor(0.3 if number == 1 else 1.0), finite)
            seen.append(parameter.detach().clone())
    assert parameter.stride() == weight.stride()
    assert parameter.grad is None
    return seen, adam


@pytest.mark.parametrize("weight", LAYOUTS.values(), ids=LAYOUTS)
def test_fused_adam_equals_plain_one(weight: Tensor) -> None:
    """Moments are off by a few roundings a step, a weight by as many of its own and of its steps."""
    gradients = [torch.randn_like(weight) * 10 ** (t - 3) for t in range(STEPS)]
    (plain, expected), (ours, fused) = (stepped(kind, weight, gradients) for kind in (Adam, FastAdam))
    for number, (x, y) in enumerate(zip(ours, plain, strict=True), start=1):
        bound = number * (2 * EPS * weight.abs().max() + 16 * EPS * LR)
        torch.testing.assert_close(x, y, rtol=0, atol=float(bound))
    assert torch.equal(ours[2], ours[1])
    assert int(fused.steps) == int(expected.steps) == STEPS - 1
    torch.testing.assert_close(fused.m, expected.m, rtol=8 * STEPS * EPS, atol=1e-8)
    torch.testing.assert_close(fused.v, expected.v, rtol=8 * STEPS * EPS, atol=1e-12)


@pytest.mark.parametrize("weight", LAYOUTS.values(), ids=LAYOUTS)
def test_gradient_may_lie_otherwise_than_its_parameter(weight: Tensor) -> None:
    gradient = torch.randn_like(weight)
    spread = torch.stack([gradient, gradient], -1)[..., 0]
    assert spread.stride() != weight.stride()
    (one, _), (other, _) = (stepped(FastAdam, weight, [x]) for x in (gradient, spread))
    assert torch.equal(one[0], other[0])


@pytest.mark.parametrize(("first", "second"), [(Adam, FastAdam), (FastAdam, Adam)])
def test_state_is_exchanged_with_the_plain_adam(first: type[Adam], second: type[Adam]) -> None:
    """A run may be resumed with or without the quicker methods."""
    weight, gradients = torch.randn(5), [torch.randn(5) for _ in range(4)]
    whole, _ = stepped(first, weight, gradients[:2])
    _, adam = stepped(first, weight, gradients[:2])
    parameter = nn.Parameter(whole[-1].clone())
    resumed = second([parameter], LR)
    resumed.load_state_dict(adam.state_dict())
    with torch.no_grad():
        for x in (adam, resumed):
            x.step((gradients[3],), torch.ones(()), torch.tensor(True))
    torch.testing.assert_close(parameter, adam.parameters[0], rtol=1e-6, atol=1e-7)


# -- gradients side by side ---------------------------------------------------------------------------------

HALF = pytest.mark.usefixtures("_bfloat16")


@pytest.fixture
def _bfloat16() -> Iterator[None]:
    """Gradients are taken side by side in bfloat16 alone."""
    with torch.autocast("cpu", torch.bfloat16):
        yield


class Probe(torch.autograd.Function):
    """The sum of its input; calls a function in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.function = function
        ctx.size = x.shape
        return x.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.function()
        return grad.expand(ctx.size), None


def two_networks() -> tuple[FastOptimizers, nn.Parameter, nn.Parameter]:
    model, actor = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    return FastOptimizers({"model": [model], "actor": [actor]}, OptimizerConfig()), model, actor


def probe(parameter: nn.Parameter, function: Any) -> Tensor:
    loss = Probe.apply(parameter, function)
    assert isinstance(loss, Tensor)
    return loss


@HALF
@pytest.mark.parametrize(("cores", "shares"), [(2, (1, 1)), (3, (1, 2)), (8, (4, 4))])
def test_cores_are_shared_and_given_back(cores: int, shares: tuple[int, int]) -> None:
    torch.set_num_threads(cores)
    together = threading.Barrier(2, timeout=10)  # passed only if both are there at once
    optimizers, model, actor = two_networks()
    for _ in range(2):
        seen: dict[str, int] = {}

        def note(name: str, seen: dict[str, int] = seen) -> None:
            together.wait()
            seen[name] = torch.get_num_threads()

        losses = {"model": probe(model, lambda: note("model")), "actor": probe(actor, lambda: note("actor"))}
        optimizers.begin({"model": losses["model"]})
        optimizers.step(losses)
        assert (seen["model"], seen["actor"]) == shares
        assert torch.get_num_threads() == cores


def test_one_gradient_follows_the_other_on_one_core() -> None:
    torch.set_num_threads(1)
    optimizers, model, actor = two_networks()
    threads: list[threading.Thread] = []
    losses = {
        "model": probe(model, lambda: threads.append(threading.current_thread())),
        "actor": probe(actor, lambda: threads.append(threading.current_thread())),
    }
    optimizers.begin({"model": losses["model"]})
    assert len(threads) == 1
    optimizers.step(losses)
    assert threads == [threading.current_thread()] * 2


def fail() -> None:
    raise ValueError("out of luck")


@HALF
@pytest.mark.parametrize("network", ["model", "actor"])
def test_error_of_either_is_raised_when_both_have_ended(network: str) -> None:
    torch.set_num_threads(2)
    optimizers, model, actor = two_networks()
    ended: list[int] = []
    functions = {"model": lambda: ended.append(1), "actor": lambda: ended.append(1), network: fail}
    losses = {"model": probe(model, functions["model"]), "actor": probe(actor, functions["actor"])}
    optimizers.begin({"model": losses["model"]})
    with pytest.raises(ValueError, match="out of luck"):
        optimizers.step(losses)
    assert ended == [1]
    assert torch.get_num_threads() == 2
    assert torch.equal(model, torch.ones(3))
    assert torch.equal(actor, torch.ones(3))


@HALF
@pytest.mark.parametrize("cores", [1, 2])
def test_gradients_and_metrics_equal_plain_ones_bit_for_bit(cores: int) -> None:
    torch.set_num_threads(cores)
    taken = []
    for kind in (Optimizers, FastOptimizers):
        torch.manual_seed(0)
        model, actor, x = nn.Linear(8, 8), nn.Linear(8, 1), torch.randn(16, 8)
        networks = {"model": list(model.parameters()), "actor": list(actor.parameters())}
        optimizers = kind(networks, OptimizerConfig(grad_clip=0.1))
        metrics = []
        for _ in range(3):
            features = torch.tanh(model(x))
            losses = {"model": features.square().mean(), "actor": actor(features.detach()).square().mean()}
            if isinstance(optimizers, FastOptimizers):
                optimizers.begin({"model": losses["model"]})
            metrics.append(optimizers.step(losses))
        taken.append((metrics, [*model.parameters(), *actor.parameters()]))
    (expected, weights), (ours, our_weights) = taken
    assert all(torch.equal(x[key], y[key]) for x, y in zip(ours, expected, strict=True) for key in y)
    assert all(torch.equal(x, y) for x, y in zip(our_weights, weights, strict=True))
