"""Exploration: the noise on continuous actions, and random discrete ones."""

import pytest
import torch

from dreamer.behavior.exploration import add_noise, epsilon, epsilon_greedy, explored, random_action
from dreamer.types import ActionSpec

BUTTONS = ActionSpec(5, (3, 2))


def test_noise_has_the_size_asked_for() -> None:
    action, noise = torch.zeros(1000, 2), torch.randn(1000, 2)
    torch.testing.assert_close(add_noise(action, noise, 0.1), 0.1 * noise)
    assert add_noise(torch.ones(1, 1), torch.ones(1, 1), 0.3) == 1


def test_noise_is_drawn_by_the_generator() -> None:
    action, drawn = torch.rand(1000, 2) - 0.5, torch.Generator().manual_seed(0)
    noise = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        explored(action, ActionSpec(2), 0.3, torch.tensor(0.0), drawn), add_noise(action, noise, 0.3)
    )


def test_epsilon_falls_linearly_over_updates() -> None:
    steps = {0: 0.4, 50_000: 0.325, 100_000: 0.25, 200_000: 0.1, 900_000: 0.1}
    for step, expected in steps.items():
        assert epsilon(torch.tensor(float(step))).item() == pytest.approx(expected)


def test_epsilon_greedy_replaces_whole_actions() -> None:
    action, random = torch.zeros(4, 5), torch.ones(4, 5)
    mixed = epsilon_greedy(action, random, torch.tensor([0.05, 0.2, 0.39, 0.41]), torch.tensor(0.4))
    assert mixed.sum(-1).tolist() == [5, 5, 5, 0]


@pytest.mark.parametrize(("steps", "share"), [(0.0, 0.4), (1e6, 0.1)])
def test_discrete_actions_are_random_with_epsilon(steps: float, share: float) -> None:
    action = torch.tensor([1.0, 0, 0, 1, 0]).expand(4000, 5)
    mixed = explored(action, BUTTONS, 0.3, torch.tensor(steps), torch.Generator().manual_seed(0))
    other = (mixed != action).any(-1).float().mean()
    assert other.item() == pytest.approx(share * (1 - 1 / 6), abs=0.03)


def test_random_actions_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    box = random_action(ActionSpec(2), 4000, generator)
    torch.testing.assert_close(box.mean(0), torch.zeros(2), rtol=0, atol=0.04)
    torch.testing.assert_close(box.std(0), torch.full((2,), 3**-0.5), rtol=0, atol=0.02)
    buttons = random_action(BUTTONS, 4000, generator)
    expected = torch.tensor([1 / 3] * 3 + [1 / 2] * 2)
    torch.testing.assert_close(buttons.mean(0), expected, rtol=0, atol=0.03)
    assert torch.equal(buttons.split((3, 2), -1)[0].sum(-1), torch.ones(4000))
