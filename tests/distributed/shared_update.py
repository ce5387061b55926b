"""One of several processes that update the same agents, each on its rows: started by `test_ranks.py`."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.ranks import Ranks
from torch import Tensor
from world_model.small import SIZES, SPEC, batch

from dreamer.agents.make import make_agent
from dreamer.config import Config, with_options
from dreamer.types import ActionSpec, EnvSpec

DISCRETE = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(4, (4,)))

CASES: dict[str, tuple[EnvSpec, dict[str, Any]]] = {
    "dreamer": (SPEC, {"free_nats": 0.0}),
    "no-value": (SPEC, {"agent": "no-value"}),
    "planet": (SPEC, {"agent": "planet"}),
    "discrete, with ends": (DISCRETE, {"pcont": True, "free_nats": 0.0}),
    "reward only": (SPEC, {"objective": "reward-only"}),
    "free nats of every step": (SPEC, {"free_avg": False, "free_nats": 0.1}),
    "above the free nats, but half of the batch is below": (SPEC, {"free_nats": "above"}),
    "below the free nats, but half of the batch is above": (SPEC, {"free_nats": "below"}),
    "scaled gradient of the posterior": (SPEC, {"free_nats": 0.0, "rep_scale": 0.1}),
}
ROWS = 4


def agent(case: str) -> ModelBasedAgent:
    """The agent of a case, new; `free_nats` between the KL of the batch and that of one of its halves."""
    spec, options = CASES[case]
    if isinstance(where := options.get("free_nats", 0.0), str):
        first, second, whole = kl_of_halves_and_whole()
        options = options | {"free_nats": (whole + (min if where == "above" else max)(first, second)) / 2}
    return _make(spec, options)


def kl_of_halves_and_whole() -> tuple[float, float, float]:
    """The mean KL at the first update."""
    fresh, data = _make(SPEC, {}), batch(size=ROWS)
    noise = torch.randn(*data["action"].shape[:2], SIZES["stoch"], generator=fresh.generator)
    parts = [slice(0, ROWS // 2), slice(ROWS // 2, ROWS), slice(0, ROWS)]
    losses = [fresh.world_model.loss({k: x[rows] for k, x in data.items()}, noise[rows]) for rows in parts]
    first, second, whole = (float(metrics["model/kl"]) for _, metrics, _ in losses)
    return first, second, whole


def _make(spec: EnvSpec, options: dict[str, Any]) -> ModelBasedAgent:
    fixed = {"device": "cpu", "precision": "float32", "horizon": 4}
    made = make_agent(spec, with_options(Config(), SIZES | fixed | options))
    assert isinstance(made, ModelBasedAgent)
    return made


def updates(case: str, ranks: Ranks) -> dict[str, Any]:
    """Metrics and clipped gradients of a first update, and the weights after two more."""
    learner = agent(case)
    learner.ranks = ranks
    spec = learner.spec
    metrics = learner.update(_rows(spec, 0, ranks))
    moments = {name: optimizer.state_dict()["exp_avg"] for name, optimizer in learner.optimizers.items()}
    gradients = {name: [10 * moment.clone() for moment in each] for name, each in moments.items()}
    for seed in (1, 2):
        learner.update(_rows(spec, seed, ranks))
    weights = {"world_model": learner.world_model.state_dict(), "behavior": learner.behavior.state_dict()}
    return {"metrics": metrics, "gradients": gradients, "weights": weights}


def _rows(spec: EnvSpec, seed: int, ranks: Ranks) -> dict[str, Tensor]:
    return {key: ranks.own(x) for key, x in batch(spec, size=ROWS, seed=seed).items()}


def main(rank: int, size: int, meeting_point: Path, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=size)
    torch.save({case: updates(case, Ranks(rank, size)) for case in CASES}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
