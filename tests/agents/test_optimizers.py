"""Clipping and Adam against the equations as Keras writes them, and one step for all networks."""

import pytest
import torch
from torch import Tensor, nn

from dreamer.agents.optimizers import EPSILON, Adam, Optimizers
from dreamer.config import OptimizerConfig

LR, CLIP = 1e-2, 2.0
CONFIG = OptimizerConfig(model_lr=LR, actor_lr=LR, value_lr=LR, grad_clip=CLIP)


def loss_of(parameters: list[nn.Parameter], gradients: list[Tensor]) -> Tensor:
    """A loss that has these gradients."""
    return torch.stack([(p * g).sum() for p, g in zip(parameters, gradients, strict=True)]).sum()


def test_steps_equal_equations() -> None:
    """The step is lr_t m / (sqrt(v) + eps), with lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t)."""
    weight = nn.Parameter(torch.randn(7))
    expected, m, v = weight.detach().clone(), torch.zeros(7), torch.zeros(7)
    optimizers = Optimizers({"model": [weight]}, CONFIG)
    for t in range(1, 6):
        gradient = torch.randn(7) * 10 ** (t - 3)
        norm = optimizers.step({"model": loss_of([weight], [gradient])})["model/grad_norm"]
        torch.testing.assert_close(norm, gradient.norm())
        gradient = gradient * min(1.0, CLIP / float(norm))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        expected -= LR * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * m / (v.sqrt() + EPSILON)
        torch.testing.assert_close(weight.detach(), expected)
    assert optimizers.grad_step == 5


def test_norm_is_taken_over_all_parameters_of_a_network() -> None:
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    other = nn.Parameter(torch.zeros(1))
    optimizers = Optimizers({"model": weights, "value": [other]}, CONFIG)
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])]
    losses = {"model": loss_of(weights, gradients), "value": loss_of([other], [torch.tensor([7.0])])}
    metrics = optimizers.step(losses)
    assert metrics["model/grad_norm"] == 5
    assert metrics["value/grad_norm"] == 7


def test_state_round_trip_goes_on_exactly() -> None:
    gradients = [torch.randn(3) for _ in range(4)]
    one, other = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    whole, first, second = (Optimizers({"model": [w]}, CONFIG) for w in (one, other, other))
    for gradient in gradients:
        whole.step({"model": loss_of([one], [gradient])})
    for gradient in gradients[:2]:
        first.step({"model": loss_of([other], [gradient])})
    second.load_state_dict(first.state_dict())
    for gradient in gradients[2:]:
        second.step({"model": loss_of([other], [gradient])})
    assert torch.equal(one, other)
    assert second.grad_step == whole.grad_step == 4


def test_state_is_loaded_in_place() -> None:
    """A CUDA graph may hold the tensors already."""
    ours, theirs = (Adam([nn.Parameter(torch.zeros(3))], LR) for _ in range(2))
    held = [*ours.m, *ours.v, ours.steps]
    with torch.no_grad():
        theirs.step((torch.ones(3),), torch.ones(()), torch.tensor(True))
    ours.load_state_dict(theirs.state_dict())
    for before, now in zip(held, [*ours.m, *ours.v, ours.steps], strict=True):
        assert before is now
        assert now.any()


def test_each_loss_gives_gradients_to_its_own_parameters_only() -> None:
    mine, other, unused = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizers = Optimizers({"model": [mine, unused], "value": [other]}, CONFIG)
    metrics = optimizers.step({"model": (mine * other).sum()})
    moments = [m.tolist() for m in optimizers.optimizers["model"].m]
    assert moments == [pytest.approx([0.1] * 2), [0, 0]]
    assert set(metrics) == {"model/grad_norm", "skipped"}
    assert torch.equal(other, torch.ones(2))
    assert mine.grad is other.grad is None


def test_all_gradients_are_taken_at_the_same_parameters() -> None:
    """Losses that share a graph: none is differentiated after another one's step."""
    model, value = nn.Parameter(torch.ones(2)), nn.Parameter(torch.full((2,), 3.0))
    optimizers = Optimizers({"model": [model], "value": [value]}, CONFIG)
    product = model * value
    optimizers.step({"model": product.sum(), "value": product.sum()})
    adams = optimizers.optimizers
    torch.testing.assert_close(adams["value"].m[0], 0.1 * torch.ones(2))
    torch.testing.assert_close(adams["model"].m[0], 0.1 * torch.full((2,), 3.0) * CLIP / 18**0.5)


@pytest.mark.parametrize("poison", ["loss", "gradient"])
@pytest.mark.parametrize("network", ["model", "value"])
def test_networks_change_together_or_not_at_all(network: str, poison: str) -> None:
    weights = {name: nn.Parameter(torch.ones(2)) for name in ("model", "value")}
    optimizers = Optimizers({name: [weight] for name, weight in weights.items()}, CONFIG)
    losses = {name: weight.sum() for name, weight in weights.items()}
    if poison == "loss":
        losses[network] = losses[network] + torch.inf
    else:
        losses[network] = losses[network] + (weights[network] * 0).sqrt().sum() * 0  # 0 * inf = nan
    metrics = optimizers.step(losses)
    assert metrics["skipped"] == 1
    assert all(torch.equal(weight, torch.ones(2)) for weight in weights.values())
    assert optimizers.grad_step == 0
    assert not any(adam.m[0].any() for adam in optimizers.optimizers.values())
    metrics = optimizers.step({name: weight.sum() for name, weight in weights.items()})
    assert metrics["skipped"] == 0
    assert not any(torch.equal(weight, torch.ones(2)) for weight in weights.values())


def test_step_takes_the_average_of_all_processes() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizers = Optimizers({"model": [weight]}, CONFIG)
    optimizers.average = lambda tensors: tuple(x + 1 for x in tensors)
    metrics = optimizers.step({"model": loss_of([weight], [torch.tensor([-1.0, 0.0])])})
    assert metrics["model/grad_norm"] == 1
    assert optimizers.optimizers["model"].m[0].tolist() == pytest.approx([0, 0.1])
    optimizers.average = lambda tensors: tuple(x * torch.inf for x in tensors)  # elsewhere it is not finite
    assert optimizers.step({"model": weight.sum() + 1})["skipped"] == 1
