"""The networks of a gradient step alone, forward and backward, on inputs of the shapes they meet in a step.

What they leave of the step's total is losses, optimisers and glue.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.precision import autocast
from dreamer.behavior.behavior import Behavior, imagination_starts
from dreamer.behavior.imagine import imagine
from dreamer.behavior.no_value import NoValueBehavior
from dreamer.bench.figure import Figure, Stopwatch
from dreamer.bench.work import Work, bytes_of, count_flops
from dreamer.world_model.contrastive import CONTRASTS
from dreamer.world_model.gaussian import unit_log_prob_sum
from dreamer.world_model.state import State

Batch = dict[str, Tensor]
NETWORKS = "networks of a gradient step alone"


@dataclass(frozen=True)
class Network:
    """A network with its inputs; gradients are taken by `inputs` and by `weights`."""

    name: str
    forward: Callable[[], list[Tensor]]
    weights: list[nn.Parameter]
    inputs: list[Tensor] = field(default_factory=list)
    reads: list[Tensor] = field(default_factory=list)
    """What it reads besides, without a gradient."""


def networks(watch: Stopwatch, agent: ModelBasedAgent, batch: Batch) -> Iterator[Figure]:
    """Forward and backward of each network."""
    for network in _networks(agent, batch):
        yield from _forward_and_backward(watch, agent, network)


def _forward_and_backward(watch: Stopwatch, agent: ModelBasedAgent, network: Network) -> Iterator[Figure]:
    sources = [*network.inputs, *network.weights]

    def forward() -> list[Tensor]:
        with autocast(agent.device, agent.dtype):
            return network.forward()

    def backward(outputs: list[Tensor], gradients: list[Tensor]) -> None:
        torch.autograd.grad(outputs, sources, gradients, allow_unused=True)

    def passed() -> tuple[list[Tensor], list[Tensor]]:
        outputs = forward()
        return outputs, [torch.ones_like(output) for output in outputs]

    # Every number once: inputs, weights and outputs; backward, their gradients, and the weights again.
    moved = bytes_of(sources) + bytes_of(forward())
    forward_work = Work(count_flops(forward), moved + bytes_of(network.reads))
    outputs, gradients = passed()
    backward_work = Work(count_flops(lambda: backward(outputs, gradients)), moved + bytes_of(network.weights))
    yield watch.measure(NETWORKS, f"{network.name}: forward", forward, work=forward_work)
    yield watch.measure(NETWORKS, f"{network.name}: backward", backward, passed, backward_work)


def _networks(agent: ModelBasedAgent, batch: Batch) -> Iterator[Network]:
    """All networks of the agent, in the order of a step."""
    model = agent.world_model
    noise = torch.randn(*batch["action"].shape[:2], agent.config.model.stoch, device=agent.device)
    with torch.no_grad(), autocast(agent.device, agent.dtype):
        embed = model.encoder(batch)
        posterior, _ = model.rssm.observe(embed, batch["action"], noise, is_first=batch["is_first"])
    embed, feat = _leaf(embed), _leaf(posterior.feat)
    seen = [batch[key] for key in model.encoder.parts]
    yield Network("encoder", lambda: [model.encoder(batch)], list(model.encoder.parameters()), reads=seen)

    def observe() -> list[Tensor]:
        posterior, prior = model.rssm.observe(embed, batch["action"], noise, is_first=batch["is_first"])
        return [posterior.feat, posterior.mean, posterior.std, prior.mean, prior.std]

    reads = [batch["action"], noise]
    yield Network("observe", observe, list(model.rssm.parameters()), [embed], reads)
    if model.decoder.draws:
        yield _decoder(agent, feat, batch)
    if model.state_model is not None:
        yield _contrast(agent, feat, embed)
    heads = _present(model.reward, model.pcont)
    yield _heads("heads", heads, feat, trained=heads)
    if isinstance(agent.behavior, Behavior | NoValueBehavior):
        yield from _dreams(agent, posterior)


def _decoder(agent: ModelBasedAgent, feat: Tensor, batch: Batch) -> Network:
    """The decoder with the densities of what it draws, which pass over as many numbers again."""
    decoder = agent.world_model.decoder

    def decode() -> list[Tensor]:
        return [unit_log_prob_sum(mean, batch[key]) for key, mean in decoder(feat).items()]

    return Network("decoder", decode, list(decoder.parameters()), [feat], [batch[k] for k in decoder.parts])


def _contrast(agent: ModelBasedAgent, feat: Tensor, embed: Tensor) -> Network:
    state_model, contrast = agent.world_model.state_model, CONTRASTS[agent.config.model.objective]
    assert state_model is not None
    weights = list(state_model.parameters())
    return Network("contrast", lambda: [contrast(feat, *state_model(embed))], weights, [feat, embed])


def _heads(name: str, heads: list[nn.Module], feat: Tensor, trained: list[nn.Module]) -> Network:
    """Heads over `(..., F)`: the gradient passes through all of them, `trained` ones get their own too."""
    weights = [weight for head in trained for weight in head.parameters()]
    return Network(name, lambda: [head(feat) for head in heads], weights, [feat])


def _present(*heads: nn.Module | None) -> list[nn.Module]:
    return [head for head in heads if head is not None]


def _dreams(agent: ModelBasedAgent, posterior: State) -> Iterator[Network]:
    """Imagination, and the heads that judge what was imagined."""
    model, behavior = agent.world_model, agent.behavior
    assert isinstance(behavior, Behavior | NoValueBehavior)
    start = imagination_starts(posterior, drop_last=model.pcont is not None)
    noise = behavior.draw_noise(len(start.stoch), agent.config.model.stoch, agent.generator)
    weights = list(behavior.actor.parameters())
    yield Network(
        "imagine", lambda: [imagine(model.rssm, behavior.actor, start, *noise).feat], weights, reads=[*noise]
    )
    with torch.no_grad(), autocast(agent.device, agent.dtype):
        feat = _leaf(imagine(model.rssm, behavior.actor, start, *noise).feat)
    value = _present(behavior.value if isinstance(behavior, Behavior) else None)
    yield _heads("imagined heads", [*_present(model.reward, model.pcont), *value], feat, trained=value)


def _leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()
