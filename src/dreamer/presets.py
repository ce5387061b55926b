"""Starting points: whole configurations by name."""

from pathlib import Path

from dreamer.baselines import presets as baselines
from dreamer.config import Config, with_options
from dreamer.errors import UserError


def paper() -> Config:
    """The published hyperparameters (paper, Appendix A), for a GPU.

    Not yet run to the end by us: a score and a time will stand here when it has been. To expect is the
    official code's curve, which `dreamer plot` draws. On two CPU cores an update takes 3.3 s, its 100,000
    four days.
    """
    return Config()


def laptop() -> Config:
    """For two CPU cores and no GPU: smaller networks and batches, simpler images, a pretrained world model.

    Agent steps are 40 ms apart: four frames of a cartpole, where two show too little of a swing, and two of a
    walker.

    Measured after 100,000 frames on one core of a busy machine, seeds 0 and 1 (official code at the same frames):
    `walker_stand` 580 and 560 (478), `cartpole_swingup` 443 and 491 (221), `cartpole_balance` 679 and 622 (614). With
    the core to itself a run takes about 40 minutes.
    """
    return with_options(
        paper(),
        {
            "env": "dmc:walker_stand",
            "steps": 100_000,
            "action_repeat": "auto",
            "render": "fast",
            "batch_size": 10,
            "batch_length": 20,
            "prioritize_ends": True,
            "cnn_depth": 16,
            "units": 200,
            "reward_scale": 10.0,
            "free_nats": 5.0,
            "rep_scale": 0.1,
            "prefill": 10_000,
            "pretrain_model": 1000,
            "pretrain_value": 300,
            "train_steps": 75,
            "model_lr": 1e-3,
            "actor_lr": 8e-5,
            "value_lr": 1.5e-4,
        },
    )


def debug() -> Config:
    """Seconds: tiny networks that run through everything and learn nothing (random scores)."""
    return with_options(
        paper(),
        {
            "env": "toy:dot",
            "steps": 1000,
            "render": "fast",
            "batch_size": 4,
            "batch_length": 10,
            "cnn_depth": 2,
            "units": 16,
            "deter": 16,
            "hidden": 16,
            "stoch": 4,
            "horizon": 5,
            "prefill": 200,
            "train_every": 100,
            "train_steps": 2,
            "eval_every": 500,
            "checkpoint_every": 500,
            "video_every": 500,
        },
    )


GAMES = {
    "env": "atari:pong",
    "action_repeat": 4,
    "time_limit": 108_000,
    "horizon": 10,
    "kl_scale": 0.1,
    "clip_rewards": "tanh",
    "pcont": True,
}
"""What the paper changes for Atari games (Appendix A)."""


def atari() -> Config:
    """The paper's settings for Atari games, `--env atari:pong` and others (Appendix A); for a GPU.

    Not yet run to the end by us: a score and a time will stand here when it has been.
    """
    lengths = {
        "steps": 20_000_000,
        "eval_every": 100_000,
        "checkpoint_every": 100_000,
        "video_every": 500_000,
    }
    return with_options(paper(), GAMES | lengths)


def laptop_atari() -> Config:
    """What `laptop` is for an Atari game; whole games are long, so fewer frames are random."""
    return with_options(laptop(), GAMES | {"rep_scale": 1.0, "prefill": 5000})


PRESETS = {"paper": paper, "laptop": laptop, "atari": atari, "debug": debug}


OF_GAMES = {"paper": atari, "laptop": laptop_atari}


def resolve_name(name: str) -> str:
    """Return the preset that `auto` stands for here, or the name itself."""
    return name if name != "auto" else "paper" if has_gpu() else "laptop"


def preset(name: str, env: str = "", agent: str = "") -> Config:
    """A preset by name; `auto` is `paper` with a GPU and `laptop` without.

    Told of an Atari game `env`, both have the paper's settings for games; `--agent d4pg` and `a3c` have presets of
    their own. Raises `UserError` if there is none of this name.
    """
    name = resolve_name(name)
    presets = baselines.PRESETS.get(agent) or PRESETS | (OF_GAMES if env.startswith("atari:") else {})
    if name not in presets:
        of_agent = f" of --agent {agent}" if agent in baselines.PRESETS else ""
        raise UserError(f"There is no preset {name!r}{of_agent}: take auto, {', '.join(presets)}.")
    return presets[name]()


def has_gpu() -> bool:
    """Whether PyTorch can use a GPU; without a driver, PyTorch is not loaded to find out."""
    if not any(any(Path("/dev").glob(name)) for name in GPU_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()


GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "dxg", "kfd")
"""Files in `/dev` of which there is one wherever a GPU has a driver: NVIDIA, Jetson, WSL, AMD."""
