"""A3C's equations against slow versions of them, and its shared optimizer against one process alone."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamer.baselines.a3c import A3C, DECAY, EPSILON, Policy, Rollout, SharedRMSProp, Worker, returns
from dreamer.envs.make import make_env
from dreamer.errors import UserError
from dreamer.types import EnvSpec
from helpers import BUTTONS, IMAGE, STATE, small_config


def a3c(spec: EnvSpec = STATE, **options: object) -> A3C:
    torch.manual_seed(0)
    return A3C(spec, small_config(agent="a3c", obs="state", **options))


def rollout(algorithm: A3C, steps: int = 5, terminated: bool = False) -> Rollout:
    obs, last = torch.randn(steps, 4), torch.randn(4)
    action = algorithm(obs)[0].sample(torch.Generator().manual_seed(1))
    return Rollout(obs, action, torch.randn(steps), last, terminated)


# -- the loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bootstrap", [0.0, 7.0])
def test_returns_equal_their_definition(bootstrap: float) -> None:
    reward = torch.randn(6, dtype=torch.float64)
    result = returns(reward, torch.tensor(bootstrap, dtype=torch.float64), 0.9)
    for t in range(6):
        expected = sum(0.9 ** (k - t) * reward[k].item() for k in range(t, 6)) + 0.9 ** (6 - t) * bootstrap
        assert result[t].item() == pytest.approx(expected)


def normal_log_density(x: float, mean: float, std: float) -> float:
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("terminated", [False, True])
def test_loss_equals_a_loop_over_its_steps(terminated: bool) -> None:
    algorithm = a3c(gamma=0.9, entropy=0.01)
    some = rollout(algorithm, terminated=terminated)
    outputs = algorithm.policy(
        torch.nn.functional.elu(algorithm.second(torch.nn.functional.elu(algorithm.first(some.obs))))
    )
    value = algorithm(some.obs)[1].tolist()
    after = 0.0 if terminated else algorithm(some.last)[1].item()
    expected = 0.0
    for t in range(5):
        rewards = some.reward[t:].tolist()
        estimate = sum(0.9**k * r for k, r in enumerate(rewards)) + 0.9 ** len(rewards) * after
        for a in range(2):
            mean = math.tanh(outputs[t, a].item())
            std = 0.01 + 2 / (1 + math.exp(-outputs[t, 2 + a].item()))
            expected -= normal_log_density(some.action[t, a].item(), mean, std) * (estimate - value[t])
            expected -= 0.01 * (0.5 * math.log(2 * math.pi * math.e) + math.log(std))
        expected += 0.5 * (estimate - value[t]) ** 2
    assert algorithm.loss(some)[0].item() == pytest.approx(expected, rel=1e-4)


def test_value_is_trained_by_its_own_error_alone() -> None:
    """The value head gets -(R - V) for every step, nothing of the policy's advantage, nothing of the bootstrap."""
    algorithm = a3c()
    some = rollout(algorithm)
    loss, _ = algorithm.loss(some)
    gradient = torch.autograd.grad(loss, algorithm.value.bias)[0]
    value = algorithm(some.obs)[1]
    error = returns(some.reward, algorithm(some.last)[1], algorithm.config.behavior.gamma) - value
    torch.testing.assert_close(gradient, -error.sum().detach().unsqueeze(0))


def test_the_policy_begins_alike_and_wide_everywhere() -> None:
    (normal,) = a3c()(10 * torch.randn(50, 4))[0].parts
    assert normal.mean.abs().max() < 0.5
    torch.testing.assert_close(normal.stddev, torch.full((50, 2), 1.01), rtol=0, atol=0.3)
    (buttons, *_) = a3c(BUTTONS)(10 * torch.randn(50, 4))[0].parts
    torch.testing.assert_close(buttons.mean, torch.full((50, 3), 1 / 3), rtol=0, atol=0.2)


def test_log_probability_of_buttons() -> None:
    outputs = torch.randn(7, 5)
    policy = Policy(outputs, (3, 2))
    action = policy.sample(torch.Generator().manual_seed(0))
    assert ((action == 0) | (action == 1)).all()
    assert action[:, :3].sum(-1).eq(1).all()
    expected = (outputs[:, :3].log_softmax(-1) * action[:, :3]).sum(-1)
    expected += (outputs[:, 3:].log_softmax(-1) * action[:, 3:]).sum(-1)
    torch.testing.assert_close(policy.log_prob(action), expected)


def test_gradient_of_buttons_raises_what_did_better_than_expected() -> None:
    algorithm = a3c(BUTTONS)
    some = rollout(algorithm)._replace(reward=torch.full((5,), 10.0))
    before = algorithm(some.obs)[0].log_prob(some.action).sum()
    loss, _ = algorithm.loss(some)
    algorithm.optimizers.step(torch.autograd.grad(loss, list(algorithm.parameters())), 1e-3)
    assert algorithm(some.obs)[0].log_prob(some.action).sum() > before


def test_actions_are_clipped_for_the_environment_alone() -> None:
    """With a wide policy most draws lie outside: what is learned from is what was drawn."""
    algorithm = a3c(spec_of_dot())
    with torch.no_grad():
        algorithm.policy.bias[2:] = 9.0  # std near 2
    acted: list[np.ndarray] = []
    env = make_env(algorithm.config.environment.__class__(env="toy:dot", obs="state", action_repeat=1))
    step = env.step
    env.step = lambda action: acted.append(action) or step(action)
    some, _, _ = Worker(algorithm, env, seed=0)._act()
    assert (some.action.abs() > 1).any()
    np.testing.assert_array_equal(np.stack(acted), some.action.clamp(-1, 1).numpy())


def spec_of_dot() -> EnvSpec:
    return EnvSpec({}, {"state": 2}, STATE.action)


# -- the shared optimizer --------------------------------------------------------------------------------


def test_shared_rmsprop_equals_its_closed_form() -> None:
    """After n gradients, g is the sum of (1 - alpha) alpha^(n - i) d_i^2."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = SharedRMSProp([parameter])
    gradients = torch.randn(4, 2, dtype=torch.float64)
    expected = parameter.detach().clone()
    for n in range(4):
        optimizer.step((gradients[n],), rate=0.1)
        ages = torch.arange(n, -1, -1, dtype=torch.float64).unsqueeze(-1)
        square = ((1 - DECAY) * DECAY**ages * gradients[: n + 1] ** 2).sum(0)
        expected -= 0.1 * gradients[n] / (square + EPSILON).sqrt()
        torch.testing.assert_close(parameter.detach(), expected)


def _apply(algorithm: A3C, gradients: list[Tensor], times: int) -> None:
    for _ in range(times):
        algorithm.optimizers.step(tuple(gradients), rate=0.01)


def test_processes_share_weights_and_statistics() -> None:
    """What two processes do one after the other is what one does alone."""
    alone, shared = a3c(), a3c()
    gradients = [torch.randn_like(x) for x in shared.parameters()]
    _apply(alone, gradients, 6)
    shared.optimizers.share_memory()
    process = torch.multiprocessing.get_context("spawn").Process(target=_apply, args=(shared, gradients, 3))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    _apply(shared, gradients, 3)
    torch.testing.assert_close(list(shared.parameters()), list(alone.parameters()), rtol=0, atol=0)
    torch.testing.assert_close(shared.optimizers.squares, alone.optimizers.squares, rtol=0, atol=0)


def test_rate_falls_linearly_to_zero() -> None:
    algorithm = a3c(lr=1e-3, anneal=1000)
    assert [algorithm.rate(x) for x in (0, 500, 1000, 2000)] == pytest.approx([1e-3, 5e-4, 0, 0])


# -- a worker --------------------------------------------------------------------------------------------


def worker(algorithm: A3C, env: str, seed: int = 0, **options: object) -> Worker:
    settings = small_config(env=env, obs="state", action_repeat=1, **options).environment
    return Worker(algorithm, make_env(settings, seed), seed)


COUNTING = EnvSpec({}, {"state": 3}, type(STATE.action)(1))


def test_rollouts_never_run_over_the_end_of_an_episode() -> None:
    """The counting environment shows its frame: within a rollout it always goes up by one."""
    some = worker(a3c(COUNTING, rollout=4), "toy:terminating")
    ended, lengths = 0, []
    for _ in range(60):
        taken, frames, finished = some._act()
        counts = torch.cat([taken.obs, taken.last[None]])[:, 0]
        assert (counts.diff() == 1).all()
        assert frames == len(taken.reward)
        assert taken.terminated == (finished is not None)
        ended += taken.terminated
        lengths += [finished] if finished else []
    assert ended > 10
    assert all(total == length * (length + 1) / 2 for total, length in lengths)


def test_a_time_limit_is_no_termination() -> None:
    some = worker(a3c(COUNTING, rollout=10), "toy:counting", time_limit=7)
    taken, _, finished = some._act()
    assert (len(taken.reward), taken.terminated, finished) == (7, False, (28.0, 7))
    assert taken.last[0] == 7  # what the bootstrap is the value of


def test_a_round_changes_the_shared_weights_by_the_gradient_at_the_copied_ones() -> None:
    algorithm = a3c(COUNTING, rollout=4, lr=1e-2)
    some, again = worker(algorithm, "toy:counting"), worker(a3c(COUNTING, rollout=4), "toy:counting")
    loss, _ = again.local.load_state_dict(algorithm.state_dict()) and again.local.loss(again._act()[0])
    expected = a3c(COUNTING, lr=1e-2)
    gradients = torch.autograd.grad(loss, list(again.local.parameters()))
    expected.optimizers.step(gradients, algorithm.rate(0))
    copied = [x.clone() for x in algorithm.parameters()]
    result = some.round(env_step=0)
    torch.testing.assert_close(list(algorithm.parameters()), list(expected.parameters()))
    torch.testing.assert_close(list(some.local.parameters()), copied)
    assert (result.frames, result.agent_steps, result.finished) == (4, 4, None)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    algorithm = a3c(COUNTING, rollout=4)
    some = worker(algorithm, "toy:counting")
    loss = some.local.loss
    some.local.loss = lambda rollout: (loss(rollout)[0] * float("inf"), loss(rollout)[1])  # type: ignore[method-assign]
    before = [x.clone() for x in (*algorithm.parameters(), *algorithm.optimizers.squares)]
    result = some.round(env_step=0)
    assert (result.frames, result.metrics["skipped"]) == (4, 1)
    after = [*algorithm.parameters(), *algorithm.optimizers.squares]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    some.local.loss = loss  # type: ignore[method-assign]
    assert some.round(env_step=4).metrics["skipped"] == 0
    assert not torch.equal(next(algorithm.parameters()), before[0])


def test_weights_that_have_grown_too_large_end_the_worker_with_a_sentence() -> None:
    algorithm = a3c(COUNTING, rollout=4, lr=1e30)
    some = worker(algorithm, "toy:counting")
    some.round(env_step=0)
    with pytest.raises(UserError, match="not finite: go on from the last checkpoint with a lower --lr"):
        some.round(env_step=4)


def test_images_are_refused() -> None:
    with pytest.raises(UserError, match="--obs state"):
        a3c(IMAGE)


def test_one_worker_learns_a_toy() -> None:
    """The disc is pushed into the middle: about 20 in a hundred frames at random."""
    algorithm = a3c(spec_of_dot(), rollout=20, lr=5e-4, gamma=0.9, anneal=60_000)
    some = worker(algorithm, "toy:dot")
    done, finished = 0, []
    while done < 20_000:
        result = some.round(done)
        done += result.frames
        finished += [result.finished[0]] if result.finished else []
    assert np.mean(finished[-20:]) > 60
