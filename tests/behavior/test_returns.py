"""The lambda-return against its definition, a mixture of k-step returns (paper, Eq. 4-6)."""

import pytest
import torch
from torch import Tensor

from dreamer.behavior.imagination import discount_weights, lambda_return

T, N = 5, 3


def k_step_return(reward: Tensor, value: Tensor, discount: Tensor, t: int, k: int) -> Tensor:
    """Rewards of k steps from t, then the value of the state reached; `value` has T + 1 entries."""
    k = min(k, T - t)
    total, factor = torch.zeros(N, dtype=torch.float64), torch.ones(N, dtype=torch.float64)
    for n in range(t, t + k):
        total = total + factor * reward[n]
        factor = factor * discount[n]
    return total + factor * value[t + k]


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
def test_lambda_return_equals_definition(lambda_: float) -> None:
    reward = torch.randn(T, N, dtype=torch.float64)
    discount = torch.rand(T, N, dtype=torch.float64)
    value = torch.randn(T + 1, N, dtype=torch.float64)
    ours = lambda_return(reward, value[:-1], discount, value[-1], lambda_)
    for t in range(T):
        last = T - t
        mixture = lambda_ ** (last - 1) * k_step_return(reward, value, discount, t, last)
        for k in range(1, last):
            mixture = mixture + (1 - lambda_) * lambda_ ** (k - 1) * k_step_return(
                reward, value, discount, t, k
            )
        torch.testing.assert_close(ours[t], mixture)


def test_lambda_return_equals_a_table_by_hand() -> None:
    reward, value = torch.tensor([1.0, 2.0]), torch.tensor([100.0, 4.0])
    returns = lambda_return(reward, value, torch.full((2,), 0.5), torch.tensor(8.0), 0.5)
    # R_1 = 2 + 0.5 * 8 = 6;  R_0 = 1 + 0.5 * (0.5 * 4 + 0.5 * 6) = 3.5
    assert returns.tolist() == [3.5, 6.0]


def test_lambda_return_counts_nothing_after_the_end() -> None:
    reward, value = torch.randn(T, N), torch.randn(T, N)
    discount = torch.ones(T, N)
    discount[2] = 0
    returns = lambda_return(reward, value, discount, torch.full((N,), 1e6), 1.0)
    torch.testing.assert_close(returns[0], reward[:3].sum(0))


def test_discount_weights_are_the_discounts_before_a_state() -> None:
    discount = torch.tensor([0.5, 0.25, 0.0, 0.9], requires_grad=True)
    weights = discount_weights(discount)
    assert weights.tolist() == [1.0, 0.5, 0.125, 0.0]
    assert not weights.requires_grad


def test_lambda_return_without_values_is_the_discounted_sum_of_rewards() -> None:
    reward, zeros = torch.randn(T, N, dtype=torch.float64), torch.zeros(T, N, dtype=torch.float64)
    returns = lambda_return(reward, zeros, torch.full_like(zeros, 0.9), zeros[0], 1.0)
    for t in range(T):
        torch.testing.assert_close(returns[t], sum(0.9 ** (k - t) * reward[k] for k in range(t, T)))
