"""Every setting of a run: frozen dataclasses, one per part, and the presets.

Option names are flat on the command line (`--horizon 15`), so a field name is unique over all parts.
Defaults are the published hyperparameters (paper, Appendix A) in the reading of the official TF2 code.
"""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

import tyro

from dreamer.errors import UserError


@dataclass(frozen=True)
class EnvConfig:
    """The environment and what the agent sees of it (paper, Section 6)."""

    env: str = "dmc:walker_walk"
    """Task: `dmc:<domain>_<task>` (Control Suite), `gym:<id>` (any registered id), `atari:<game>`."""
    obs: Literal["image", "state"] = "image"
    """What the agent sees: camera images, or the environment's state vector."""
    image_size: int = 64
    """Height and width of the images, in pixels."""
    action_repeat: int = 2
    """Simulator frames per decision; rewards are summed, one image is rendered. 0: what makes about 40 ms
    of a Control Suite task, 4 for Atari, else 2."""
    time_limit: int = 1000
    """Frames after which an episode is cut off (with discount 1)."""
    render: Literal["canonical", "fast"] = "canonical"
    """`canonical`: the suite's own pictures. `fast`: no shadows, reflections and multisampling."""
    camera: int = -1
    """Camera of a Control Suite task; -1 takes 0, and 2 for the quadruped."""
    grey: bool = False
    """Atari: grey pictures instead of colour."""
    sticky_actions: float = 0.25
    """Atari: probability that the console repeats the previous action for a frame; 0 switches it off."""
    noops: int = 30
    """Atari: most idle frames at the start of an episode; their number is drawn from 1 up."""
    life_loss: bool = True
    """Atari: in training an episode ends with a lost life; evaluation plays to the end of the game."""
    num_envs: int = 1
    """Environments that collect side by side, each in its own process when more than one, or with `async`."""
    worker_timeout: float = 120.0
    """Seconds after which a silent environment process counts as hung."""


def evaluated(environment: EnvConfig) -> EnvConfig:
    """The same environment for evaluation, where an episode is a whole game."""
    return replace(environment, life_loss=False)


@dataclass(frozen=True)
class ReplayConfig:
    """The dataset of past episodes."""

    batch_size: int = 50
    """Sequences per batch (B)."""
    batch_length: int = 50
    """Steps per sequence (L)."""
    edges: Literal["rare", "even"] = "rare"
    """How often the first and last steps of episodes are drawn: `rare`, as published, where all windows are
    equally likely; `even`, no less often than those in between."""
    capacity: int = 0
    """Most decisions kept on disk, oldest episodes out first; 0 keeps all."""
    replay_device: Literal["auto", "device", "disk"] = "auto"
    """Where batches are gathered: `device` keeps the episodes in the memory of the GPU that learns as well,
    `disk` reads their files; `auto`: on the GPU if they take at most a third of its free memory."""


@dataclass(frozen=True)
class ModelConfig:
    """The world model (paper, Section 4 and Appendix A)."""

    objective: Literal["reconstruction", "contrastive", "reward-only"] = "reconstruction"
    """What makes the latent states informative about the observations."""
    contrast: Literal["paper", "window"] = "paper"
    """With `--objective contrastive`: against all observations of the batch, or the TF1 code's 300 states."""
    diagnostic_decoder: bool = True
    """Without reconstruction: train a decoder all the same, to look at; nothing else learns from it."""
    stoch: int = 30
    """Size of the stochastic state (S)."""
    deter: int = 200
    """Size of the deterministic state, the GRU (D)."""
    hidden: int = 200
    """Width of the dense layers inside the RSSM."""
    min_std: float = 0.1
    """Smallest standard deviation of prior and posterior."""
    cnn_depth: int = 32
    """Channels of the first convolution; each further one doubles them."""
    units: int = 400
    """Width of the dense layers of every head, of actor and of value."""
    reward_layers: int = 2
    """Hidden layers of the reward head."""
    reward_scale: float = 1.0
    """Weight of the reward head's loss; PlaNet's code has 10."""
    free_nats: float = 3.0
    """The KL term is not pushed below this many nats."""
    free_nats_per: Literal["batch", "element"] = "batch"
    """Compare the mean KL of the batch with the free nats (TF2), or that of every step (paper, TF1)."""
    kl_scale: float = 1.0
    """Weight of the KL term."""
    rep_scale: float = 1.0
    """Share of the KL's gradient that reaches the posterior; the prior always gets all of it (DreamerV3)."""
    pcont: bool = False
    """Learn a discount head, for tasks that end early: dreams, and plans of `planet`, count up to an end."""
    pcont_layers: int = 3
    """Hidden layers of the discount head."""
    pcont_scale: float = 10.0
    """Weight of the discount head's loss."""
    clip_rewards: Literal["none", "tanh"] = "none"
    """How rewards are squashed before the reward head learns them; scores are never changed."""


@dataclass(frozen=True)
class BehaviorConfig:
    """Actor and value, learned in imagination (paper, Section 3 and Appendix A)."""

    agent: Literal["dreamer", "no-value", "planet", "random"] = "dreamer"
    """Who acts: Dreamer, or one of the paper's comparison systems; for `random` no option of networks, of
    learning or of exploration has an effect."""
    horizon: int = 15
    """Imagined steps (H) of `dreamer` and `no-value`; `planet` has --plan-horizon."""
    gamma: float = 0.99
    """Discount per decision, of dreams and as the label of --pcont; `planet` discounts with --pcont alone."""
    lambda_: Annotated[float, tyro.conf.arg(name="lambda")] = 0.95
    """Mixture of the lambda-return of `dreamer`: 0 is one-step, 1 is Monte Carlo up to the horizon."""
    bootstrap: Literal["last", "second-last"] = "last"
    """Imagined state whose value ends the lambda-return of `dreamer`; the TF1 code takes the second-last."""
    actor_layers: int = 4
    """Hidden layers of the actor (`dreamer`, `no-value`)."""
    value_layers: int = 3
    """Hidden layers of the value model (`dreamer`)."""
    mode_samples: int = 100
    """Samples among which evaluation picks the actor's most likely action, where actions are continuous."""
    expl_noise: float = 0.3
    """Standard deviation of the Gaussian noise added in collection, where actions are continuous."""
    epsilon: float = 0.4
    """Share of random actions in collection, where actions are discrete: at the first update."""
    epsilon_min: float = 0.1
    """The same after --epsilon-steps updates, and from then on; between the two it falls linearly."""
    epsilon_steps: int = 200_000
    """Updates after which the share of random actions falls no more, where actions are discrete."""
    plan_horizon: int = 12
    """With `--agent planet`: imagined steps of a plan."""
    plan_iterations: int = 10
    """With `--agent planet`: rounds of the cross-entropy method."""
    plan_candidates: int = 1000
    """With `--agent planet`: plans tried in each round."""
    plan_elites: int = 100
    """With `--agent planet`: best plans, to which the next round is fitted."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Three Adam optimisers (paper, Appendix A)."""

    model_lr: float = 6e-4
    """Learning rate of the world model."""
    actor_lr: float = 8e-5
    """Learning rate of the actor (`dreamer`, `no-value`)."""
    value_lr: float = 8e-5
    """Learning rate of the value model (`dreamer`)."""
    clip: float = 100.0
    """Gradients are scaled down to this global norm, for each optimiser apart."""
    adam_eps: float = 1e-7
    """Adam's epsilon, placed as Keras places it (beside the uncorrected second moment)."""
    max_skipped: int = 10
    """Updates in a row with non-finite gradients after which a run stops: they are counted every so many
    updates, so there may be almost twice as many."""


@dataclass(frozen=True)
class TrainConfig:
    """The schedule (paper, Algorithm 1), and where everything goes."""

    steps: int = 1_000_000
    """Simulator frames in all."""
    seed: int = 0
    """Seed of everything random."""
    seed_episodes: int = 5
    """Random episodes before learning starts (S in Algorithm 1)."""
    seed_frames: int = 5000
    """Random frames before learning starts, if the episodes above give fewer."""
    pretrain: int = 0
    """Updates of the world model alone, before the actor learns and the agent acts."""
    warmup: int = 0
    """Updates after those, in which the value model of `dreamer` learns too: the actor then starts with a
    critic. For agents without one they are more of --pretrain."""
    train_every: int = 1000
    """Frames between two rounds of updates."""
    train_steps: int = 100
    """Updates per round (C in Algorithm 1)."""
    collect: Literal["sync", "async"] = "sync"
    """`async`: collect during the updates, with the weights from before them; as many updates per frame."""
    eval_every: int = 10_000
    """Frames between two evaluations; 0 evaluates only at the end."""
    eval_episodes: int = 1
    """Episodes per evaluation."""
    final_eval_episodes: int = 10
    """Episodes of the evaluation at the end of the run."""
    checkpoint_every: int = 10_000
    """Frames between two checkpoints."""
    video_every: int = 50_000
    """Frames between two videos (evaluation and open-loop prediction); 0 for none."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; `auto` takes a GPU if there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the large products; `auto`: bfloat16 where the hardware has it. Losses are always float32."""
    update: Literal["auto", "eager", "captured", "compiled"] = "auto"
    """An update kernel by kernel, or as one CUDA graph; `auto` takes the graph on a GPU that learns alone.
    `compiled`: as `auto`, with small operations compiled together, which takes half a minute at the start."""
    threads: int = 0
    """CPU threads of the learner; 0 takes every core."""


@dataclass(frozen=True)
class Config:
    """A whole run."""

    environment: EnvConfig = field(default_factory=EnvConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    behavior: BehaviorConfig = field(default_factory=BehaviorConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainConfig = field(default_factory=TrainConfig)


def to_flat(config: Config) -> dict[str, Any]:
    """All options by name, as `config.json` keeps them."""
    return {name: value for part in asdict(config).values() for name, value in part.items()}


def from_flat(options: dict[str, Any]) -> Config:
    """The configuration with these options, the rest at their defaults."""
    return with_options(Config(), options)


def with_options(config: Config, options: dict[str, Any]) -> Config:
    """`config` with some options, by their flat names, replaced. Raises `KeyError` for an unknown one."""
    parts, left = {}, dict(options)
    for part in fields(config):
        old = getattr(config, part.name)
        own = {f.name: left.pop(f.name) for f in fields(old) if f.name in left}
        parts[part.name] = replace(old, **own)
    if left:
        raise KeyError(f"unknown options: {', '.join(left)}")
    return Config(**parts)


MAY_BE_ZERO = frozenset(
    [
        "action_repeat",
        "capacity",
        "free_nats",
        "rep_scale",
        "kl_scale",
        "pcont_scale",
        "gamma",
        "lambda_",
        "expl_noise",
        "epsilon",
        "epsilon_min",
        "epsilon_steps",
        "noops",
        "sticky_actions",
        "reward_layers",
        "pcont_layers",
        "actor_layers",
        "value_layers",
        "adam_eps",
        "seed",
        "seed_frames",
        "pretrain",
        "warmup",
        "eval_every",
        "video_every",
        "threads",
    ]
)
MAY_BE_NEGATIVE = frozenset(["camera"])
AT_MOST_ONE = ("gamma", "lambda_", "epsilon", "epsilon_min", "sticky_actions")
LARGEST_SEED = 2**32 - 1


def check(config: Config) -> None:
    """Raise `UserError` for a number that no run can work with."""
    options = to_flat(config)
    for name, value in options.items():
        if isinstance(value, bool | str) or name in MAY_BE_NEGATIVE:
            continue
        shown = f"--{name.strip('_').replace('_', '-')}"
        if not math.isfinite(value) or value < 0 or (value == 0 and name not in MAY_BE_ZERO):
            raise UserError(
                f"{shown} must be {'0 or more' if name in MAY_BE_ZERO else 'above 0'}, got {value}."
            )
        if name in AT_MOST_ONE and value > 1:
            raise UserError(f"{shown} must be at most 1, got {value}.")
    if options["seed"] > LARGEST_SEED:
        raise UserError(f"--seed must be at most {LARGEST_SEED}, got {options['seed']}.")
    if options["horizon"] < 2:
        raise UserError("--horizon must be at least 2: a return needs a step and a state to bootstrap from.")
    if options["epsilon_min"] > options["epsilon"]:
        raise UserError(f"--epsilon-min must not be above --epsilon, got {options['epsilon_min']}.")
    if options["plan_elites"] > options["plan_candidates"]:
        raise UserError(
            f"--plan-elites must not exceed --plan-candidates, got {options['plan_elites']}"
            f" and {options['plan_candidates']}."
        )
    if options["pcont"] and options["batch_length"] < 2:
        raise UserError("--batch-length must be at least 2 with --pcont, whose last step starts no dream.")
