"""Starting points for the agents that have options of their own: as published, for a CPU, and for a trial."""

from collections.abc import Callable

from dreamer.config import Config, with_options


def d4pg_paper() -> Config:
    """D4PG from pixels as in the Control Suite's report: its lines in the paper's figures (Tassa et al. 2018).

    The report leaves open how many updates its learner took in an environment step. Here they are 1/8, as in Acme.
    Not yet run to the end by us.
    """
    return with_options(
        Config(),
        {
            "agent": "d4pg",
            "steps": 100_000_000,
            "image_size": 84,
            "action_repeat": 1,
            "num_envs": 32,
            "expl_noise": 1.0,
            "batch_size": 256,
            "replay_size": 1_000_000,
            "atoms": 101,
            "prefill": 1000,
            "train_every": 3200,
            "train_steps": 400,
            "actor_lr": 1e-4,
            "value_lr": 1e-4,
            "grad_clip": 40.0,
            "eval_every": 100_000,
            "checkpoint_every": 100_000,
            "video_every": 1_000_000,
        },
    )


def d4pg_laptop() -> Config:
    """D4PG from state vectors as in Acme, for a CPU core.

    With `--obs image` it sees pixels, takes far longer, and needs other settings to learn anything in as many frames
    (docs/baselines.md).
    """
    return with_options(
        d4pg_paper(),
        {
            "env": "dmc:cartpole_balance",
            "steps": 100_000,
            "obs": "state",
            "num_envs": 1,
            "expl_noise": 0.3,
            "atoms": 51,
            "train_every": 80,
            "train_steps": 10,
            "eval_every": 10_000,
            "checkpoint_every": 10_000,
            "video_every": 50_000,
            "replay_device": "device",
            "precision": "float32",
        },
    )


def d4pg_debug() -> Config:
    """Seconds: a run that goes through everything and learns nothing."""
    sizes = {"env": "toy:dot", "steps": 1000, "batch_size": 4, "prefill": 200, "train_every": 100}
    schedule = {"train_steps": 2, "eval_every": 500, "checkpoint_every": 500, "video_every": 500}
    return with_options(d4pg_laptop(), sizes | schedule)


def a3c_paper() -> Config:
    """A3C from state vectors as in the Control Suite's report, and in the paper's table (Tassa et al. 2018).

    Of the numbers that the report searched over, this takes the rate 5e-5 and rollouts of 20. Not yet run to the end
    by us.
    """
    return with_options(
        Config(),
        {
            "agent": "a3c",
            "env": "dmc:cartpole_balance",
            "steps": 100_000_000,
            "obs": "state",
            "action_repeat": 1,
            "eval_every": 100_000,
            "checkpoint_every": 1_000_000,
            "video_every": 0,
            "device": "cpu",
            "precision": "float32",
        },
    )


def a3c_laptop() -> Config:
    """A3C for two CPU cores: fewer workers, and a learning rate that falls sooner."""
    return with_options(
        a3c_paper(),
        {"steps": 5_000_000, "anneal": 10_000_000, "workers": 8, "checkpoint_every": 500_000},
    )


def a3c_debug() -> Config:
    """Seconds: a run that goes through everything and learns nothing."""
    options = {"env": "toy:dot", "steps": 2000, "workers": 2, "eval_every": 1000, "checkpoint_every": 1000}
    return with_options(a3c_laptop(), options)


PRESETS: dict[str, dict[str, Callable[[], Config]]] = {
    "d4pg": {"paper": d4pg_paper, "laptop": d4pg_laptop, "debug": d4pg_debug},
    "a3c": {"paper": a3c_paper, "laptop": a3c_laptop, "debug": a3c_debug},
}
"""By agent, then by name."""
