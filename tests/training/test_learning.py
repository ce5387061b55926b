"""The whole agent learns: from pictures alone it pushes the dot into the middle, in under a minute."""

from pathlib import Path

from training.runs import config, metrics, run

RANDOM = 9.0
"""Mean return of random actions, over 60 episodes, with this action repeat."""

SIZES = {"cnn_depth": 8, "units": 64, "deter": 64, "hidden": 64, "stoch": 8, "horizon": 6}
BATCH = {
    "batch_size": 8,
    "batch_length": 12,
    "train_every": 100,
    "train_steps": 15,
    "pretrain_model": 100,
    "pretrain_value": 60,
}
RATES = {"model_lr": 2e-3, "actor_lr": 2e-4, "value_lr": 1e-3, "gamma": 0.9}
WEIGHTS = {"free_nats": 1.0}
EPISODES = {"time_limit": 100, "action_repeat": 4, "prefill": 1000}
EVALUATION = {"eval_every": 0, "eval_episodes": 10}
RUN = {**SIZES, **BATCH, **RATES, **WEIGHTS, **EPISODES, **EVALUATION}


def test_a_toy_is_learned(tmp_path: Path) -> None:
    settings = config(env="toy:dot", steps=5000, **RUN)
    run(settings, tmp_path)
    assert metrics(tmp_path)[-1]["eval/return"] > 3 * RANDOM  # seeds 0 to 3: 56, 55, 59, 34
