"""The RSSM: a filter that can be run step by step, and forgets where an episode begins."""

import torch
from torch import Tensor

from dreamer.world_model.rssm import RSSM, State, given, stack

B, T, A, E, S, D = 3, 6, 2, 4, 3, 5


def small_rssm() -> RSSM:
    return RSSM(action=A, embed=E, stoch=S, deter=D, hidden=7)


def random_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings, actions, `is_first` (nowhere), and noise."""
    nowhere = torch.zeros(B, T, dtype=torch.bool)
    return torch.randn(B, T, E), torch.randn(B, T, A), nowhere, torch.randn(B, T, S)


def random_state() -> State:
    return State(*(torch.randn(B, n) for n in (S, S, S, D)))


def assert_same(ours: State, expected: State) -> None:
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_observe_equals_filter_step_by_step() -> None:
    rssm, (embed, action, is_first, noise) = small_rssm(), random_inputs()
    posterior, prior = rssm.observe(embed, action, is_first, noise)
    state, posteriors, priors = rssm.initial(B), [], []
    for t in range(T):
        prior_t = rssm.imagine_step(state, action[:, t])
        state, _ = rssm.observe_step(state, action[:, t], embed[:, t], noise[:, t])
        posteriors.append(state)
        priors.append(prior_t)
    assert_same(posterior, stack(posteriors, dim=1))
    assert_same(prior, stack(priors, dim=1))


def test_observe_goes_on_from_a_state() -> None:
    rssm, inputs = small_rssm(), random_inputs()
    whole, _ = rssm.observe(*inputs)
    embed, action, is_first, noise = (x[:, :2] for x in inputs)
    first, _ = rssm.observe(embed, action, is_first, noise)
    embed, action, is_first, noise = (x[:, 2:] for x in inputs)
    last = State(*(x[:, -1] for x in first))
    rest, _ = rssm.observe(embed, action, is_first, noise, last)
    assert_same(rest, whole.map(lambda x: x[:, 2:]))


def test_first_step_begins_a_sequence_of_its_own() -> None:
    rssm, (embed, action, is_first, noise) = small_rssm(), random_inputs()
    plain, _ = rssm.observe(embed, action, is_first, noise)
    is_first[:, 0] = is_first[1, 3] = True
    joined, _ = rssm.observe(embed, action, is_first, noise)
    alone, _ = rssm.observe(embed[1:2, 3:], action[1:2, 3:], is_first[1:2, 3:], noise[1:2, 3:])
    assert_same(joined.map(lambda x: x[1:2, 3:]), alone)
    assert_same(joined.map(lambda x: x[::2]), plain.map(lambda x: x[::2]))
    assert not torch.allclose(joined.deter[1, 3:], plain.deter[1, 3:])


def test_gradient_stops_at_the_beginning_of_an_episode() -> None:
    rssm, (embed, action, is_first, noise) = small_rssm(), random_inputs()
    embed.requires_grad_()
    is_first[:, 3] = True
    posterior, _ = rssm.observe(embed, action, is_first, noise)
    (grad,) = torch.autograd.grad(posterior.feat[:, 3:].sum(), embed)
    assert not grad[:, :3].any()
    assert grad[:, 3:].all(-1).any()


def test_imagine_equals_prior_step_by_step() -> None:
    rssm, start = small_rssm(), random_state()
    action, noise = torch.randn(T, B, A), torch.randn(T, B, S)
    imagined, state = rssm.imagine(given, start, action, noise), start
    for t in range(T):
        state = rssm.imagine_step(state, action[t], noise[t])
        assert_same(imagined.map(lambda x, t=t: x[t]), state)


def test_imagined_policy_reads_the_state_before_its_action() -> None:
    rssm, start = small_rssm(), random_state()
    seen: list[Tensor] = []

    def policy(feat: Tensor, noise: Tensor) -> Tensor:
        seen.append(feat)
        return noise + feat[:, :A]

    action_noise, noise = torch.randn(T, B, A), torch.randn(T, B, S)
    states = rssm.imagine(policy, start, action_noise, noise)
    assert torch.equal(torch.stack(seen), torch.cat([start.feat[None], states.feat[:-1]]))
    first = rssm.imagine_step(start, action_noise[0] + start.feat[:, :A], noise[0])
    assert_same(states.map(lambda x: x[0]), first)


def test_imagined_policy_passes_no_gradient_to_what_it_reads() -> None:
    rssm, start = small_rssm(), random_state().map(Tensor.requires_grad_)
    noise = torch.randn(1, B, S)
    read = rssm.imagine(lambda feat, _: feat[:, :A], start, torch.zeros(1, B, A), noise)
    known = rssm.imagine(given, start, start.feat[None, :, :A].detach(), noise)
    sources = (start.stoch, start.deter)
    ours, expected = (torch.autograd.grad(states.feat.sum(), sources) for states in (read, known))
    torch.testing.assert_close(ours, expected)
    assert all(gradient.any() for gradient in ours)


def test_sample_equals_mean_plus_std_times_noise() -> None:
    rssm, (embed, action, is_first, noise) = small_rssm(), random_inputs()
    posterior, prior = rssm.observe(embed, action, is_first, noise)
    torch.testing.assert_close(posterior.stoch, posterior.mean + posterior.std * noise)
    assert torch.equal(prior.stoch, prior.mean)
    assert min(posterior.std.min(), prior.std.min()) > 0.1
    assert torch.equal(posterior.feat, torch.cat([posterior.stoch, posterior.deter], -1))


def test_initial_weights_are_those_of_keras() -> None:
    """Glorot-uniform kernels over all three gates together, an orthogonal recurrent kernel, zero biases."""
    rssm = RSSM(action=A, embed=E, stoch=S, deter=40, hidden=50)
    limit = (6 / (50 + 3 * 40)) ** 0.5
    assert 0.95 * limit < rssm.gru.weight_ih.abs().max() <= limit
    recurrent = rssm.gru.weight_hh
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(40), rtol=0, atol=1e-5)
    biases = [x for name, x in rssm.named_parameters() if "bias" in name]
    assert len(biases) == 7
    assert not any(bias.any() for bias in biases)
