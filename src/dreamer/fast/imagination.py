"""Imagined trajectories with a backward pass written by hand.

Autograd would record some fifty operations for each imagined step, and its backward pass would compute the gradient of
every weight of the actor at every step. But the features that the actor reads are detached, so no gradient flows
through it from one step to the one before. Here the backward loop goes through the dynamics alone. Then the actor's
gradients are computed for all H steps at once, by one matrix product per layer.

Dynamics and start states get no gradient, because behavior learning trains neither.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.behavior import actor as actors
from dreamer.behavior.actor import Actor
from dreamer.world_model.rssm import MIN_STD, RSSM, State

_elu_backward = torch.ops.aten.elu_backward.default
_softplus_backward = torch.ops.aten.softplus_backward.default
_Layer = tuple[Tensor, Tensor]


class _Weights(NamedTuple):
    """Weights and biases of the dynamics, in the precision of the products."""

    gru_input: _Layer
    gru_ih: _Layer
    gru_hh: _Layer
    prior_hidden: _Layer
    prior_out: _Layer


class _Step(NamedTuple):
    """What the backward pass needs to know of one step; shapes `(N, .)`."""

    deter: Tensor  # before the step
    x: Tensor  # input of the GRU
    gates: Tensor  # reset and update gate
    hidden_n: Tensor  # part of the candidate that comes from `deter`
    candidate: Tensor
    prior: Tensor  # hidden layer of the prior
    raw_std: Tensor
    squashed: Tensor  # tanh(m / 5), with m the actor's output
    raw_action_std: Tensor
    action: Tensor


def imagine(rssm: RSSM, actor: Actor, start: State, action_noise: Tensor, state_noise: Tensor) -> State:
    """`RSSM.imagine` with the policy `actor.sample`, for continuous actions."""
    device = start.deter.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else start.deter.dtype
    weights = _Weights(
        *(
            (weight.detach().to(dtype), bias.detach().to(dtype))
            for weight, bias in (
                (rssm.gru_input.weight, rssm.gru_input.bias),
                (rssm.gru.weight_ih, rssm.gru.bias_ih),
                (rssm.gru.weight_hh, rssm.gru.bias_hh),
                (rssm.prior_hidden.weight, rssm.prior_hidden.bias),
                (rssm.prior_out.weight, rssm.prior_out.bias),
            )
        )
    )
    layers = [layer for layer in (*actor.mlp.hidden, actor.mlp.out) if isinstance(layer, nn.Linear)]
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    noise = (action_noise, state_noise)
    return State(*_Imagine.apply(weights, dtype, start.stoch, start.deter, *noise, *parameters))


class _Imagine(torch.autograd.Function):
    """Mean, std, stoch and deter of imagined states, `(H, N, .)`, as a function of the actor's parameters."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        weights: _Weights,
        dtype: torch.dtype,
        stoch: Tensor,
        deter: Tensor,
        action_noise: Tensor,
        state_noise: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        layers = [x.to(dtype) for x in parameters]
        layers = list(zip(layers[::2], layers[1::2], strict=True))
        steps, activations, states = [], [], []
        with torch.autocast(deter.device.type, enabled=False):
            for noise_a, noise_s in zip(action_noise, state_noise, strict=True):
                read = [torch.cat([stoch, deter], -1).to(dtype)]
                for weight, bias in layers[:-1]:
                    read.append(F.elu_(F.linear(read[-1], weight, bias)))
                mean, raw = F.linear(read[-1], *layers[-1]).float().chunk(2, -1)
                squashed, raw = torch.tanh(mean / actors.MEAN_SCALE), raw + actors.RAW_INITIAL_STD
                std = F.softplus(raw) + actors.MIN_STD
                action = torch.tanh(actors.MEAN_SCALE * squashed + std * noise_a)
                state, step = _transition(weights, dtype, stoch, deter, action, noise_s, (squashed, raw))
                _, _, stoch, deter = state
                activations.append(read)
                steps.append(step)
                states.append(state)
        ctx.weights, ctx.layers, ctx.steps, ctx.activations = weights, layers, steps, activations
        ctx.noise = action_noise, state_noise
        ctx.dtypes = [parameter.dtype for parameter in parameters]
        ctx.set_materialize_grads(False)
        return tuple(torch.stack(x) for x in zip(*states, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):  # pyright: ignore[reportIncompatibleMethodOverride]
        weights, dtype = ctx.weights, ctx.layers[0][0].dtype
        action_noise, state_noise = ctx.noise
        n, size = state_noise.shape[1:]
        horizon, actions = len(ctx.steps), action_noise.shape[-1]
        grad_outs = torch.empty(horizon, n, 2 * actions, dtype=dtype)
        grad_stoch, grad_deter = state_noise.new_zeros(n, size), None
        for t in reversed(range(horizon)):
            step = ctx.steps[t]
            of_mean, of_std, of_stoch, of_deter = (None if g is None else g[t] for g in grads)
            grad_stoch = _sum(grad_stoch, of_stoch)
            grad_std = _sum(grad_stoch * state_noise[t], of_std)
            grad_raw = _softplus_backward(grad_std, step.raw_std, 1, 20)
            grad_prior = torch.cat([_sum(grad_stoch, of_mean), grad_raw], -1).to(dtype) @ weights.prior_out[0]
            grad_prior = _elu_backward(grad_prior, 1, 1, 1, True, step.prior)
            grad_deter = _sum(_sum((grad_prior @ weights.prior_hidden[0]).float(), of_deter), grad_deter)
            grad_x, grad_deter = _gru_backward(weights, step, grad_deter)
            grad_x = _elu_backward(grad_x, 1, 1, 1, True, step.x) @ weights.gru_input[0]
            grad_stoch, grad_action = grad_x.float().split([size, actions], -1)
            grad_u = grad_action * (1 - step.action.square())
            grad_outs[t, :, :actions] = grad_u * (1 - step.squashed.square())
            grad_outs[t, :, actions:] = _softplus_backward(
                grad_u * action_noise[t], step.raw_action_std, 1, 20
            )
        return None, None, None, None, None, None, *_mlp_gradients(ctx, grad_outs.flatten(0, 1))


def _transition(
    weights: _Weights,
    dtype: torch.dtype,
    stoch: Tensor,
    deter: Tensor,
    action: Tensor,
    noise: Tensor,
    policy: tuple[Tensor, Tensor],
) -> tuple[tuple[Tensor, ...], _Step]:
    """Take `RSSM.imagine_step`; return the state, and what the backward pass needs."""
    size = deter.shape[-1]
    x = F.elu_(F.linear(torch.cat([stoch, action], -1).to(dtype), *weights.gru_input))
    from_x, from_deter = F.linear(x, *weights.gru_ih), F.linear(deter.to(dtype), *weights.gru_hh)
    gates = torch.sigmoid_(from_x[:, : 2 * size] + from_deter[:, : 2 * size])
    reset, update = gates.chunk(2, -1)
    hidden_n = from_deter[:, 2 * size :]
    candidate = torch.tanh_(torch.addcmul(from_x[:, 2 * size :], reset, hidden_n))
    new = candidate + update * (deter - candidate)
    prior = F.elu_(F.linear(new.to(dtype), *weights.prior_hidden))
    mean, raw = F.linear(prior, *weights.prior_out).float().chunk(2, -1)
    std = F.softplus(raw) + MIN_STD
    step = _Step(deter, x, gates, hidden_n, candidate, prior, raw, policy[0], policy[1], action)
    return (mean, std, mean + std * noise, new), step


def _gru_backward(weights: _Weights, step: _Step, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the GRU's input and old state, given that of its new state, `(N, D)`."""
    size = grad.shape[-1]
    reset, update = step.gates.chunk(2, -1)
    # Columns: reset gate, update gate, candidate.
    of_gates = torch.empty(len(grad), 3 * size, dtype=step.x.dtype)
    of_candidate = grad * (1 - update) * (1 - step.candidate.square())
    of_gates[:, :size] = of_candidate * step.hidden_n * reset * (1 - reset)
    of_gates[:, size : 2 * size] = grad * (step.deter - step.candidate) * update * (1 - update)
    of_gates[:, 2 * size :] = of_candidate
    of_hidden = torch.cat([of_gates[:, : 2 * size], (of_candidate * reset).to(step.x.dtype)], -1)
    grad_deter = (of_hidden @ weights.gru_hh[0]).float() + grad * update
    return of_gates @ weights.gru_ih[0], grad_deter


def _mlp_gradients(ctx: Any, grad: Tensor) -> list[Tensor]:
    """Return the gradients of the actor's weights and biases, given those of its outputs `(H N, 2 A)`."""
    result: list[Tensor] = []
    for number in reversed(range(len(ctx.layers))):
        inputs = torch.cat([read[number] for read in ctx.activations])  # (H N, inputs)
        result = [grad.t() @ inputs, grad.sum(0), *result]
        if number:
            grad = _elu_backward(grad @ ctx.layers[number][0], 1, 1, 1, True, inputs)
    return [x.to(dtype) for x, dtype in zip(result, ctx.dtypes, strict=True)]


def _sum(x: Tensor, y: Tensor | None) -> Tensor:
    return x if y is None else x + y
