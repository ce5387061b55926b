"""D4PG's equations against slow versions of them, and what its gradients may not touch."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamer.baselines.d4pg import D4PG, n_step_return, project, stacked
from dreamer.errors import UserError
from dreamer.types import ActionSpec, Batch, EnvSpec
from helpers import BUTTONS, IMAGE, STATE, random_batch, small_agent, small_config, trial_update, weights

OPTIONS = {"agent": "d4pg", "obs": "state"}


def d4pg(spec: EnvSpec = STATE, **options: object) -> D4PG:
    algorithm = small_agent(spec, agent="d4pg", **options).algorithm
    assert isinstance(algorithm, D4PG)
    return algorithm


def transitions(algorithm: D4PG, rows: int = 6, seed: int = 0) -> Batch:
    """Random transitions in the middle of episodes."""
    wanted = algorithm.transitions
    batch = random_batch(algorithm.spec, rows, wanted.before + 1 + wanted.after, seed)
    batch["is_first"][:] = False
    return batch | {"weight": torch.rand(rows) + 0.5}


# -- projection ------------------------------------------------------------------------------------------


def slow_projection(values: np.ndarray, probability: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Bellemare et al. 2017, Algorithm 1, in float64, one atom at a time."""
    low, high, n = atoms[0], atoms[-1], len(atoms)
    result = np.zeros_like(probability)
    for row in range(len(values)):
        for value, mass in zip(values[row], probability[row], strict=True):
            place = (min(max(value, low), high) - low) / ((high - low) / (n - 1))
            lower, upper = math.floor(place), math.ceil(place)
            if lower == upper:
                result[row, lower] += mass
            else:
                result[row, lower] += mass * (upper - place)
                result[row, upper] += mass * (place - lower)
    return result


def probabilities(rows: int, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(n), size=rows)


ATOMS = np.linspace(-10, 10, 21)


def check_projection(values: np.ndarray, probability: np.ndarray) -> np.ndarray:
    tensors = (torch.from_numpy(x).double() for x in (values, probability, ATOMS))
    result = project(*tensors).numpy()
    np.testing.assert_allclose(result, slow_projection(values, probability, ATOMS), rtol=0, atol=1e-13)
    np.testing.assert_allclose(result.sum(-1), probability.sum(-1), rtol=1e-13)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_projection_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reward, discount = rng.normal(0, 3, (7, 1)), rng.uniform(0, 1, (7, 1))
    check_projection(reward + discount * ATOMS, probabilities(7, 21, seed))


def test_projection_of_a_terminal_transition_puts_all_mass_beside_the_rewards() -> None:
    result = check_projection(np.full((1, 21), 2.25) + 0 * ATOMS, probabilities(1, 21))
    assert result[0, 12] == pytest.approx(0.75)  # the atom 2
    assert result[0, 13] == pytest.approx(0.25)  # the atom 3
    assert np.count_nonzero(result) == 2


def test_projection_of_values_on_atoms_on_edges_and_beyond_them() -> None:
    check_projection(ATOMS[None], probabilities(1, 21))
    for value, atom in ((-10, 0), (10, 20), (-99, 0), (99, 20), (0, 10)):
        result = check_projection(np.full((1, 21), float(value)), probabilities(1, 21))
        assert result[0, atom] == pytest.approx(1, abs=1e-13)


def test_projection_keeps_the_mean_within_the_support() -> None:
    probability = probabilities(5, 21)
    values = 0.3 + 0.9 * np.broadcast_to(ATOMS, (5, 21))
    result = check_projection(values, probability)
    np.testing.assert_allclose((result * ATOMS).sum(-1), (probability * values).sum(-1), atol=1e-12)


def test_projection_in_float32_is_as_exact_as_its_inputs() -> None:
    atoms = torch.linspace(-150, 150, 51)
    values = 1.7 + 0.95 * atoms.expand(64, 51)
    probability = torch.from_numpy(probabilities(64, 51)).float()
    expected = slow_projection(*(x.double().numpy() for x in (values, probability, atoms)))
    # A place is 50 at most, with a relative error of some roundings: 50 * 4 * 2^-24 of a neighbor's mass.
    np.testing.assert_allclose(project(values, probability, atoms), expected, atol=50 * 4 * 2**-24)


# -- N-step return ---------------------------------------------------------------------------------------


def slow_return(reward: list[float], discount: list[float], gamma: float) -> tuple[float, float]:
    """Discounted rewards up to the end of a list, and the factor of what comes after it."""
    total, factor = 0.0, 1.0
    for r, d in zip(reward, discount, strict=True):
        total += factor * r
        factor *= gamma * d
    return total, factor


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("terminal", [False, True])
def test_n_step_return_equals_its_definition(length: int, terminal: bool) -> None:
    """An episode of `length` more steps; then the row goes on with another, whose numbers must not count."""
    rng = np.random.default_rng(length)
    reward, discount = rng.normal(size=8), np.ones(8)
    begin, n, gamma = 2, 5, 0.9
    is_first = np.zeros(8, bool)
    is_first[begin + 1 + length :] = True
    if terminal:
        discount[begin + length] = 0
    arrays = {"reward": reward, "discount": discount, "is_first": is_first}
    batch = {key: torch.from_numpy(array)[None] for key, array in arrays.items()}
    returns, factor, steps = n_step_return(batch, begin, gamma)
    within = slice(begin + 1, begin + 1 + min(length, n))
    expected = slow_return(reward[within].tolist(), discount[within].tolist(), gamma)
    assert (returns.item(), factor.item()) == pytest.approx(expected)
    assert steps.item() == min(length, n)
    assert factor.item() == (0 if terminal else pytest.approx(gamma ** min(length, n)))


# -- images ----------------------------------------------------------------------------------------------


def test_stacked_images_never_reach_into_another_episode() -> None:
    numbers = torch.arange(6, dtype=torch.uint8).view(1, 6, 1, 1, 1).expand(4, 6, 1, 1, 1)
    is_first = torch.zeros(4, 6, dtype=torch.bool)
    is_first[1, 3] = True
    is_first[2, 4] = True
    is_first[3, [0, 1, 2]] = True
    result = stacked(numbers, is_first, torch.tensor([4, 4, 4, 3]), 3)
    assert result.flatten(1).tolist() == [[2, 3, 4], [3, 3, 4], [4, 4, 4], [2, 2, 3]]


def test_acting_sees_the_images_that_learning_sees() -> None:
    algorithm = d4pg(IMAGE)
    episode = random_batch(IMAGE, 1, 6)
    state, generator = algorithm.initial_state(1), torch.Generator()
    for t in range(6):
        state = algorithm.act({"image": episode["image"][:, t]}, state, False, generator)
        images = stacked(episode["image"], episode["is_first"], torch.tensor([t]), 3)
        action = algorithm.networks.act(algorithm.networks.encoder({"image": images}))
        torch.testing.assert_close(state.action, action.detach())


def test_acting_after_a_reset_forgets_the_images_before() -> None:
    algorithm, generator = d4pg(IMAGE), torch.Generator()
    episode = random_batch(IMAGE, 2, 4)
    state = algorithm.initial_state(2)
    for t in range(3):
        state = algorithm.act({"image": episode["image"][:, t]}, state, False, generator)
    last = {"image": episode["image"][:, 3]}
    after = algorithm.act(last, state.reset(1), False, generator).action
    fresh = algorithm.act(last, algorithm.initial_state(2), False, generator).action
    torch.testing.assert_close(after[1], fresh[1])
    assert not torch.allclose(after[0], fresh[0])


# -- the update ------------------------------------------------------------------------------------------


def slow_losses(algorithm: D4PG, batch: Batch) -> tuple[Tensor, Tensor]:
    """Both losses row by row, from states, with the online networks for targets (as in the first update)."""
    nets, gamma, n = algorithm.networks, algorithm.config.behavior.gamma, algorithm.options.n_step
    atoms = algorithm.atoms.double().numpy()
    critic_loss, value = torch.zeros(()), torch.zeros(())
    rows = len(batch["reward"])
    for row in range(rows):
        now, later = batch["state"][row, :1], batch["state"][row, n : n + 1]
        total, factor = slow_return(
            batch["reward"][row, 1:].tolist(), batch["discount"][row, 1:].tolist(), gamma
        )
        probability = nets.critic(later, nets.act(later)).softmax(-1).detach().double().numpy()
        target = torch.from_numpy(slow_projection((total + factor * atoms)[None], probability, atoms))
        log = nets.critic(now, batch["action"][row, 1:2]).log_softmax(-1)
        critic_loss = critic_loss - batch["weight"][row] * (target * log).sum() / rows
        value = value + (nets.critic(now, nets.act(now)).softmax(-1) * algorithm.atoms).sum() / rows
    return critic_loss, value


def assert_same_gradients(actual: list[Tensor], expected: list[Tensor]) -> None:
    """Sums of some hundred float32 products differ by some roundings (2^-24) of the largest."""
    largest = max(float(x.abs().max()) for x in expected)
    assert largest > 0
    torch.testing.assert_close(actual, expected, rtol=0, atol=100 * 2**-24 * largest)


def test_update_takes_the_gradients_of_its_equations() -> None:
    algorithm = d4pg(v_max=20.0)
    batch = transitions(algorithm)
    batch["discount"][0, 3] = 0
    critic_loss, value = slow_losses(algorithm, batch)
    metrics, gradients = trial_update(algorithm, batch, {})
    torch.testing.assert_close(
        metrics["value/loss"].double(), critic_loss.detach().double(), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(metrics["value/mean"], value.detach())
    nets = algorithm.networks
    expected = torch.autograd.grad(critic_loss, list(nets.critic.parameters()), retain_graph=True)
    assert_same_gradients(gradients["value"], [x.float() for x in expected])
    expected = torch.autograd.grad(-value, list(nets.actor.parameters()))  # slopes are within [-1, 1] here
    assert_same_gradients(gradients["actor"], list(expected))


def test_slope_of_the_critic_is_clipped() -> None:
    algorithm = d4pg(v_max=1000.0)
    batch = transitions(algorithm)
    steep = algorithm.networks.critic
    with torch.no_grad():
        steep.out.weight.mul_(10)
    state = batch["state"][:, 0]
    action = algorithm.networks.act(state)
    mean = (steep(state, action).softmax(-1) * algorithm.atoms).sum()
    slope = torch.autograd.grad(mean, action, retain_graph=True)[0]
    assert (slope.abs() > 1).any()
    loss = -(slope.clamp(-1, 1) * action).sum() / len(action)
    expected = torch.autograd.grad(loss, list(algorithm.networks.actor.parameters()))
    _, gradients = trial_update(algorithm, batch, {})
    assert_same_gradients(gradients["actor"], list(expected))


def test_actor_does_not_train_convolutions_nor_critic() -> None:
    """With the critic's loss weighted by nothing, only what the actor trains moves."""
    algorithm = d4pg(IMAGE)
    batch = transitions(algorithm)
    batch["weight"].zero_()
    before = weights(algorithm.networks)
    metrics = algorithm.update(batch, {})
    after = weights(algorithm.networks)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"actor"}
    assert metrics["actor/grad_norm"] > 0


def test_critic_trains_convolutions() -> None:
    algorithm = d4pg(IMAGE)
    before = weights(algorithm.networks)
    algorithm.update(transitions(algorithm), {})
    after = weights(algorithm.networks)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "encoder",
        "actor",
        "critic",
    }


def test_targets_are_renewed_every_so_many_updates() -> None:
    algorithm = d4pg(target_every=3)
    batch = transitions(algorithm)
    online = []
    for number in range(7):
        online.append(weights(algorithm)["networks"])
        algorithm.update(batch, {})
        torch.testing.assert_close(weights(algorithm)["target"], online[number - number % 3], rtol=0, atol=0)


def test_targets_decide_the_estimate_and_nothing_else_of_them_moves() -> None:
    algorithm = d4pg()
    batch = transitions(algorithm)
    algorithm.update(batch, {})
    before = algorithm.update(batch, {})
    assert not any(p.requires_grad for p in algorithm.target.parameters())
    with torch.no_grad():
        algorithm.target.critic.out.bias[0] += 9  # it expects the lowest return of all
    assert algorithm.update(batch, {})["value/kl"] > before["value/kl"] + 1


def test_a_time_limit_bootstraps_and_a_termination_does_not() -> None:
    """Only the observation that an episode ends with differs: it matters at a time limit alone."""
    algorithm = d4pg()
    for discount, matters in ((1.0, True), (0.0, False)):
        batch = transitions(algorithm)
        batch["is_first"][:, 3:] = True  # two steps are left
        batch["discount"][:, 2] = discount
        other = {key: x.clone() for key, x in batch.items()}
        other["state"][:, 2] += 5
        losses = [trial_update(algorithm, x, {})[0]["value/loss"] for x in (batch, other)]
        # Without a bootstrap all mass lies beside the rewards; only the rounding of its sum differs.
        assert (
            abs(losses[0] - losses[1]).item() > 1e-3 if matters else losses[0].isclose(losses[1], rtol=1e-6)
        )
        other["state"][:, 3:] += 5  # another episode: never
        assert trial_update(algorithm, other, {})[0]["value/loss"] == losses[1]


def test_priority_is_the_divergence_from_the_target() -> None:
    algorithm = d4pg(v_max=20.0)
    batch = transitions(algorithm) | {"weight": torch.ones(6)}
    metrics = algorithm.update(batch, {})
    assert metrics["priority"].shape == (6,)
    assert (metrics["priority"] > 0).all()
    torch.testing.assert_close(metrics["priority"].mean(), metrics["value/kl"])
    assert metrics["value/kl"] < metrics["value/loss"]


# -- acting ----------------------------------------------------------------------------------------------


def test_noise_grows_from_the_first_environment_to_the_last() -> None:
    algorithm = d4pg(expl_noise=0.4)
    generator = torch.Generator().manual_seed(0)
    obs = {"state": torch.zeros(4, 4)}
    still = algorithm.act(obs, algorithm.initial_state(4), False, generator).action
    drawn = [algorithm.act(obs, algorithm.initial_state(4), True, generator).action for _ in range(4000)]
    std = (torch.stack(drawn) - still).std(0).mean(-1)
    # The standard error of a deviation from 8000 draws is 0.8 %; clipping at 1 takes 2 % of the largest.
    torch.testing.assert_close(std, torch.tensor([0.1, 0.2, 0.3, 0.4]), rtol=0.05, atol=0)


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(UserError, match="continuous actions only"):
        d4pg(BUTTONS)


def test_sizes_of_the_networks_from_pixels() -> None:
    """84x84: 41, then 39 along a side, and 32 maps of them."""
    spec = EnvSpec({"image": (84, 84, 3)}, {}, ActionSpec(1))
    algorithm = D4PG(spec, small_config(agent="d4pg"))
    assert algorithm.networks.encoder.size == 32 * 39 * 39
    assert dict(algorithm.named_parameters())["networks.encoder.convolutions.0.0.weight"].shape == (
        32,
        9,
        3,
        3,
    )
    algorithm.networks.encoder({"image": torch.zeros(1, 84, 84, 9, dtype=torch.uint8)})
