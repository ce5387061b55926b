"""One of several processes that update the same agents, each on its rows: started by `test_ranks.py`."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dreamer.agents.make import make_agent
from dreamer.distributed.launch import RankAgent
from dreamer.distributed.ranks import Ranks
from dreamer.types import ActionSpec, EnvSpec, Metrics
from helpers import IMAGE, first_gradients, learner, random_batch, small_config, small_dreamer

DISCRETE = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(4, (4,)))

CASES: dict[str, tuple[EnvSpec, dict[str, Any]]] = {
    "dreamer": (IMAGE, {"free_nats": 0.0}),
    "fast": (IMAGE, {"free_nats": 0.0, "fast": True}),
    "no-value": (IMAGE, {"agent": "no-value"}),
    "planet": (IMAGE, {"agent": "planet"}),
    "discrete, with ends": (DISCRETE, {"pcont": True, "free_nats": 0.0}),
    "reward only": (IMAGE, {"objective": "reward-only"}),
    "free nats of every step": (IMAGE, {"free_avg": False, "free_nats": 0.1}),
    "above the free nats, but half of the batch is below": (IMAGE, {"free_nats": "above"}),
    "below the free nats, but half of the batch is above": (IMAGE, {"free_nats": "below"}),
    "scaled gradient of the posterior": (IMAGE, {"free_nats": "below", "rep_scale": 0.1}),
}
ROWS = 4


def kl_of_halves_and_whole() -> tuple[float, float, float]:
    """The mean KL at the first update, of both halves of the batch and of all of it."""
    fresh, batch = small_dreamer(), random_batch(rows=ROWS)
    rows, length = batch["reward"].shape
    noise = fresh.draw_noise(rows, length, torch.Generator().manual_seed(0))["filter"]
    parts = [slice(0, ROWS // 2), slice(ROWS // 2, ROWS), slice(0, ROWS)]
    first, second, whole = (
        float(fresh.world_model.losses({k: x[part] for k, x in batch.items()}, noise[part])[2]["model/kl"])
        for part in parts
    )
    return first, second, whole


def options_of(case: str) -> dict[str, Any]:
    """The options of a case; `free_nats` between the KL of the batch and that of one of its halves."""
    options = CASES[case][1]
    if isinstance(where := options.get("free_nats", 0.0), str):
        first, second, whole = kl_of_halves_and_whole()
        options = options | {"free_nats": (whole + (min if where == "above" else max)(first, second)) / 2}
    return options


def updates(case: str, ranks: Ranks | None = None) -> dict[str, Any]:
    """Metrics and gradients of a first update, and the weights after two more; alone without `ranks`."""
    spec, config = CASES[case][0], small_config(**options_of(case))
    agent = make_agent(spec, config) if ranks is None else RankAgent(spec, config, ranks)

    def take(number: int) -> Metrics:
        batch = random_batch(spec, rows=ROWS, seed=number)
        if ranks is None:
            return agent.update(batch)
        rows = {key: x.chunk(ranks.size)[ranks.rank] for key, x in batch.items()}
        return agent.update(rows)

    metrics = take(1)
    gradients = first_gradients(learner(agent), metrics)
    gradients = {name: [x.clone() for x in each] for name, each in gradients.items()}
    for number in (2, 3):
        take(number)
    return {"metrics": metrics, "gradients": gradients, "weights": agent.algorithm.state_dict()}


def main(rank: int, size: int, meeting_point: Path, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=size)
    torch.save({case: updates(case, Ranks(rank, size)) for case in CASES}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
