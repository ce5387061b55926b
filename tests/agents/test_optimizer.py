"""Clipping and Adam against the equations as Keras writes them."""

import pytest
import torch
from torch import nn

from dreamer.agents.optimizer import Optimizer, laid_out_as

LR, CLIP, EPS = 1e-2, 2.0, 1e-3


def test_steps_follow_the_equations() -> None:
    """The step is lr_t m / (sqrt(v) + eps), with lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t)."""
    weight = nn.Parameter(torch.randn(7))
    expected, m, v = weight.detach().clone(), torch.zeros(7), torch.zeros(7)
    optimizer = Optimizer([weight], LR, CLIP, EPS)
    for t in range(1, 6):
        gradient = torch.randn(7) * 10 ** (t - 3)
        norm = optimizer.apply((gradient,))
        torch.testing.assert_close(norm, gradient.norm())
        gradient = gradient * min(1.0, CLIP / float(norm))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        expected -= LR * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * m / (v.sqrt() + EPS)
        torch.testing.assert_close(weight.detach(), expected)


def test_the_norm_is_taken_over_all_parameters() -> None:
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    optimizer = Optimizer(weights, LR, CLIP, EPS)
    assert optimizer.apply((torch.tensor([3.0, 0.0]), torch.tensor([4.0]))) == 5


def test_it_goes_on_from_its_state() -> None:
    gradients = [torch.randn(3) for _ in range(4)]
    one, other = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    whole, first, second = (Optimizer([w], LR, CLIP, EPS) for w in (one, other, other))
    for gradient in gradients:
        whole.apply((gradient,))
    for gradient in gradients[:2]:
        first.apply((gradient,))
    second.load_state_dict(first.state_dict())
    for gradient in gradients[2:]:
        second.apply((gradient,))
    assert torch.equal(one, other)


def test_only_its_own_parameters_get_gradients() -> None:
    mine, other, unused = (nn.Parameter(torch.ones(2)) for _ in range(3))
    gradients = Optimizer([mine, unused], LR, CLIP, EPS).gradients((mine * other).sum())
    assert [g.tolist() for g in gradients] == [[1, 1], [0, 0]]
    assert other.grad is None


LAYOUTS = {
    "a picture's weights, channels last": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
    "one channel, whose stride says nothing": torch.randn(4, 1, 5, 5),
    "transposed": torch.randn(6, 4).t(),
}


@pytest.mark.parametrize("weight", LAYOUTS.values(), ids=LAYOUTS)
def test_a_gradient_may_lie_otherwise_than_its_parameter(weight: torch.Tensor) -> None:
    gradient = torch.randn_like(weight)
    spread = torch.stack([gradient, gradient], -1)[..., 0]
    one, other = (nn.Parameter(weight.clone()) for _ in range(2))
    for parameter, given in ((one, gradient), (other, spread)):
        Optimizer([parameter], LR, CLIP, EPS).apply((given,), norm=gradient.norm())
        assert torch.equal(parameter, one)
        assert parameter.stride() == laid_out_as(parameter, given).stride() == weight.stride()
        assert torch.equal(laid_out_as(parameter, given), gradient)
    assert spread.stride() != weight.stride()
    assert laid_out_as(one, gradient) is gradient
