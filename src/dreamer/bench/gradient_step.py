"""A gradient step, in total and in the stages in which it happens, which add up to about the total."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.precision import autocast
from dreamer.behavior.behavior import imagination_starts
from dreamer.bench.figure import Figure, Stopwatch
from dreamer.bench.paths import UpdatePath
from dreamer.bench.work import Work, bytes_of, count_flops
from dreamer.world_model.state import State

Batch = dict[str, Tensor]
TOTAL, STAGES = "gradient step", "gradient step by stage"
ADAM_PASSES = 7
"""How often Adam moves each number: it reads weight, gradient and both moments, and writes three of them."""


def total(watch: Stopwatch, agent: ModelBasedAgent, path: UpdatePath, batch: Batch) -> Figure:
    """The whole step as a run takes it. Its work is counted on the reference path, whatever `path` is."""
    weights = [p for optimizer in agent.optimizers.values() for p in optimizer.parameters]
    work = Work(count_flops(lambda: agent.update(batch)), _step_bytes(batch, weights))
    update = path.make(agent)
    return watch.measure(TOTAL, "total", lambda: update(batch), work=work)


def _step_bytes(batch: Batch, weights: list[nn.Parameter]) -> int:
    """The batch once; each weight for the forward pass, each gradient written, and Adam."""
    return bytes_of(batch.values()) + (2 + ADAM_PASSES) * bytes_of(weights)


def stages(watch: Stopwatch, agent: ModelBasedAgent, batch: Batch) -> Iterator[Figure]:
    """Losses of model and behaviour, the backward pass of each loss, and all optimisers."""

    def model_losses() -> dict[str, Tensor]:
        return _model_losses(agent, batch)[0]

    start = _model_losses(agent, batch)[1]

    def behavior_losses() -> dict[str, Tensor]:
        with autocast(agent.device, agent.dtype):
            return agent.behavior_losses(start, 1.0)[0]

    gradients: dict[str, tuple[Tensor, ...]] = {}
    for stage, losses_of in {"model": model_losses, "behaviour": behavior_losses}.items():
        names = list(losses_of())
        if not names:  # an agent that plans learns no behaviour
            continue
        work = Work(count_flops(losses_of))
        yield watch.measure(STAGES, f"{stage}: losses", losses_of, work=work)
        for name in names:
            yield _backward(watch, agent, name, losses_of)
            gradients[name] = _gradients(agent, name, losses_of()[name])
    work = Work(bytes=ADAM_PASSES * sum(bytes_of(g) for g in gradients.values()))
    yield watch.measure(STAGES, "clipping and optimisers", lambda: _apply(agent, gradients), work=work)


def _backward(
    watch: Stopwatch, agent: ModelBasedAgent, name: str, losses_of: Callable[[], dict[str, Tensor]]
) -> Figure:
    loss = losses_of()[name]
    work = Work(count_flops(lambda: _gradients(agent, name, loss)))
    return watch.measure(
        STAGES,
        f"{name}: backward",
        lambda loss: _gradients(agent, name, loss),
        prepare=lambda: (losses_of()[name],),
        work=work,
    )


def _model_losses(agent: ModelBasedAgent, batch: Batch) -> tuple[dict[str, Tensor], State]:
    """The world model's losses by optimiser, and the states in which dreams begin."""
    model = agent.world_model
    noise = torch.randn(*batch["action"].shape[:2], agent.config.model.stoch, device=agent.device)
    with autocast(agent.device, agent.dtype):
        loss, _, posterior = model.loss(batch, noise)
        losses = {"model": loss}
        if model.diagnoses:
            losses["decoder"] = model.diagnostic_loss(posterior, batch)[0]
    return losses, imagination_starts(posterior, drop_last=model.pcont is not None)


def _gradients(agent: ModelBasedAgent, name: str, loss: Tensor) -> tuple[Tensor, ...]:
    return agent.optimizers[name].gradients(loss)


def _apply(agent: ModelBasedAgent, gradients: dict[str, tuple[Tensor, ...]]) -> None:
    for name, gradient in gradients.items():
        agent.optimizers[name].apply(gradient)
