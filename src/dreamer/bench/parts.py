"""Measure the parts of a gradient step one by one, forward and backward, on inputs of the same shapes as in a step.

The rest of a step is losses and metrics. A step may run several parts at the same time.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.agents.precision import autocast
from dreamer.behavior.imagination import imagination_starts
from dreamer.bench.measurement import Measurement, Timer
from dreamer.bench.random_data import random_batch
from dreamer.bench.roofline import count_flops
from dreamer.config import ReplayConfig
from dreamer.types import Batch
from dreamer.world_model.rssm import State

GROUP = "parts of a gradient step"


class Part(NamedTuple):
    """One part. Its gradient is taken by the weights of `trained` modules and by `inputs`."""

    name: str
    forward: Callable[[], list[Tensor]]
    trained: list[nn.Module]
    inputs: list[Tensor]


def parts(timer: Timer, agent: Agent, config: ReplayConfig) -> Iterator[Measurement]:
    """Measure forward and backward of each network, and the step of the optimizers."""
    assert isinstance(agent.algorithm, Dreamer | NoValue | PlaNet)
    batch = random_batch(agent.spec, config.batch_size, config.batch_length, device=agent.device)
    for part in _parts(agent, agent.algorithm, batch):
        yield from _forward_and_backward(timer, agent, part)
    optimizers = agent.algorithm.optimizers
    adams = optimizers.optimizers.items()
    gradients = {name: tuple(map(torch.randn_like, adam.parameters)) for name, adam in adams}
    losses = {name: torch.zeros((), device=agent.device) for name in gradients}
    yield timer.measure(GROUP, "optimizers", lambda: optimizers.step(losses, gradients))


def _forward_and_backward(timer: Timer, agent: Agent, part: Part) -> Iterator[Measurement]:
    sources = [*part.inputs, *(weight for module in part.trained for weight in module.parameters())]

    def forward() -> list[Tensor]:
        with autocast(agent.device, agent.dtype):
            return part.forward()

    outputs = forward()
    gradients = [torch.ones_like(output) for output in outputs]

    def backward() -> None:
        torch.autograd.grad(outputs, sources, gradients, retain_graph=True, allow_unused=True)

    for name, call in (("forward", forward), ("backward", backward)):
        yield timer.measure(GROUP, f"{part.name} {name}", call, count_flops(call))


def _parts(agent: Agent, algorithm: Dreamer | NoValue | PlaNet, batch: Batch) -> Iterator[Part]:
    """Yield the networks in the order of a step."""
    model, rssm = algorithm.world_model, algorithm.world_model.rssm
    rows, length = batch["reward"].shape
    noise = algorithm.draw_noise(rows, length, agent.generator)

    def observe(embed: Tensor) -> tuple[State, State]:
        return rssm.observe(embed, batch["action"], batch["is_first"], noise["filter"])

    with torch.no_grad(), autocast(agent.device, agent.dtype):
        embed = model.encoder(batch)
        posterior, _ = observe(embed)
    embed, feat = embed.requires_grad_(), posterior.feat.requires_grad_()
    heads: list[nn.Module] = [head for head in (model.reward, model.pcont) if head is not None]

    yield Part("encoder", lambda: [model.encoder(batch)], [model.encoder], [])
    yield Part("observe", lambda: [x for state in observe(embed) for x in state], [rssm], [embed])
    if model.decoder.keys:
        log_probs = model.decoder.log_probs
        yield Part("decoder", lambda: [*log_probs(feat, batch).values()], [model.decoder], [feat])
    yield Part("heads", lambda: [head(feat) for head in heads], heads, [feat])
    if isinstance(algorithm, PlaNet):
        return

    start, _ = imagination_starts(model, posterior, batch)

    def imagine() -> Tensor:
        return rssm.imagine(algorithm.actor.sample, start, noise["action"], noise["state"]).feat

    with torch.no_grad(), autocast(agent.device, agent.dtype):
        imagined = imagine().requires_grad_()
    value: list[nn.Module] = [algorithm.value] if isinstance(algorithm, Dreamer) else []
    yield Part("imagine", lambda: [imagine()], [algorithm.actor], [])
    yield Part("imagined heads", lambda: [h(imagined) for h in (*heads, *value)], value, [imagined])
