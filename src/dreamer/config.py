"""All options of a run, as frozen dataclasses, one per part.

An option has one flat name (`--horizon 15`), so a field name is unique over all parts. What else is to be
known of it stands at its field: its range, and what a change of it `Affects`. Defaults are the published
hyperparameters (paper, Appendix A) as the official TF2 code has them.
"""

import math
import operator
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from types import UnionType
from typing import Annotated, Any, Literal, SupportsFloat, Union, get_args, get_origin, get_type_hints

import tyro
from annotated_types import Ge, Gt, Le

from dreamer.affects import Affects
from dreamer.baselines.options import A3CConfig, D4PGConfig
from dreamer.env_args import normalized, of_today, parsed
from dreamer.errors import UserError


@dataclass(frozen=True)
class EnvConfig:
    """The environment and what the agent sees of it (paper, Section 6)."""

    env: Annotated[str, Affects.EVERYTHING] = "dmc:walker_walk"
    """Task: `dmc:<domain>_<task>` (Control Suite), `gym:<id>` (any registered id), `atari:<game>`."""
    env_args: Annotated[tuple[str, ...], Affects.EVERYTHING] = ()
    """Arguments that the environment is made with, as key=value: those of `gym.make`; of Atari games `sticky=0.25`,
    `gray=False` and `life_loss=True` (ends episodes in training)."""
    obs: Annotated[str, Affects.EVERYTHING] = "image"
    """What the agent sees: `image`, `state`, `render` (the picture from `render()`), or parts of the observation by
    name, with commas between."""
    image_size: Annotated[int, Gt(0), Affects.EVERYTHING] = 64
    """Height and width of the images, in pixels."""
    action_repeat: Annotated[int | Literal["auto"], Gt(0), Affects.EVERYTHING] = 2
    """Simulator frames per agent step; their rewards are summed. `auto`: about 40 ms of a Control Suite task,
    4 frames for Atari, else 2."""
    time_limit: Annotated[int, Gt(0), Affects.EVERYTHING] = 1000
    """Frames after which an episode is cut off (with discount 1)."""
    render: Annotated[Literal["canonical", "fast"], Affects.EVERYTHING] = "canonical"
    """`canonical`: the suite's own images. `fast`: without shadows, reflections and multisampling."""
    camera: Annotated[int, Ge(-1), Affects.EVERYTHING] = -1
    """Camera of a Control Suite task; -1 takes 0, and 2 for the quadruped."""
    num_envs: Annotated[int, Gt(0), Affects.EVERYTHING] = 1
    """Environments that collect in parallel; more than one run in processes of their own."""
    worker_timeout: Annotated[float, Gt(0), Affects.NOTHING] = 120.0
    """Seconds after which an environment process that does not answer counts as hung."""
    env_failures: Annotated[int, Ge(0), Affects.NOTHING] = 10
    """Failures of an environment in a row that a run survives, each with a new episode; 0 ends it at the first."""

    @property
    def arguments(self) -> dict[str, Any]:
        """`env_args` as values by their keys."""
        return parsed(self.env_args)

    def __post_init__(self) -> None:
        object.__setattr__(self, "env_args", normalized(self.env_args))

    @property
    def repeat(self) -> int:
        """`action_repeat` as a number. Raises `UserError` if it is still `auto`."""
        if isinstance(self.action_repeat, str):
            raise UserError(
                "--action-repeat auto must be replaced by a number first: call"
                " dreamer.envs.action_repeat.resolve(config)."
            )
        return self.action_repeat


def evaluated(environment: EnvConfig) -> EnvConfig:
    """Return the same environment for evaluation, where an episode is a whole game."""
    if not environment.env.startswith("atari:"):
        return environment
    return replace(environment, env_args=normalized({**environment.arguments, "life_loss": False}))


@dataclass(frozen=True)
class ReplayConfig:
    """The dataset of past episodes."""

    batch_size: Annotated[int, Gt(0), Affects.EVERYTHING] = 50
    """Sequences, or transitions of `d4pg`, per batch (B)."""
    batch_length: Annotated[int, Gt(0), Affects.EVERYTHING] = 50
    """Steps per sequence (T; L in the paper)."""
    prioritize_ends: Annotated[bool, Affects.LEARNING] = False
    """Draw an episode's first and last steps, which few windows hold, as often as the others."""
    replay_size: Annotated[int, Ge(0), Affects.EVERYTHING] = 0
    """Most agent steps kept on disk; the oldest episodes are deleted first. 0 keeps all."""
    replay_device: Annotated[Literal["auto", "device", "disk"], Affects.SPEED] = "auto"
    """Where batches are gathered: `device` holds all episodes in GPU memory, `disk` reads their files, `auto`
    is `device` if they fit in a third of the free GPU memory."""


@dataclass(frozen=True)
class ModelConfig:
    """The world model (paper, Section 4 and Appendix A)."""

    objective: Annotated[
        Literal["reconstruction", "contrastive", "contrastive-tf1", "reward-only"], Affects.EVERYTHING
    ] = "reconstruction"
    """How latent states learn about observations; `contrastive-tf1` contrasts 300 states, as the TF1 code."""
    stoch: Annotated[int, Gt(0), Affects.EVERYTHING] = 30
    """Size of the stochastic state (S)."""
    deter: Annotated[int, Gt(0), Affects.EVERYTHING] = 200
    """Size of the deterministic state, the GRU (D)."""
    hidden: Annotated[int, Gt(0), Affects.EVERYTHING] = 200
    """Width of the dense layers inside the RSSM."""
    cnn_depth: Annotated[int, Gt(0), Affects.EVERYTHING] = 32
    """Channels of the first convolution; each further one doubles them."""
    units: Annotated[int, Gt(0), Affects.EVERYTHING] = 400
    """Width of the dense layers of every head, of the actor and of the value model."""
    reward_scale: Annotated[float, Gt(0), Affects.LEARNING] = 1.0
    """Weight of the reward loss; PlaNet's code has 10."""
    free_nats: Annotated[float, Ge(0), Affects.LEARNING] = 3.0
    """The KL loss is not pushed below this many nats."""
    free_avg: Annotated[bool, Affects.LEARNING] = True
    """Compare the batch's mean KL with the free nats (TF2), not each step's (paper, TF1)."""
    kl_scale: Annotated[float, Ge(0), Affects.LEARNING] = 1.0
    """Weight of the KL loss."""
    rep_scale: Annotated[float, Ge(0), Affects.LEARNING] = 0.0
    """Below the free nats: share of the KL's gradient for the posterior, while the prior gets all of it. With 0
    neither gets any, as in the paper. DreamerV3's weight of this name counts above the free nats."""
    pcont: Annotated[bool, Affects.EVERYTHING] = False
    """Learn a discount head, for tasks that end early: rewards after a predicted end do not count."""
    pcont_scale: Annotated[float, Ge(0), Affects.LEARNING] = 10.0
    """Weight of the discount loss."""
    clip_rewards: Annotated[Literal["none", "tanh"], Affects.LEARNING] = "none"
    """How rewards are squashed before the reward head learns them; reported returns stay unchanged."""


@dataclass(frozen=True)
class BehaviorConfig:
    """Behavior (paper, Section 3 and Appendix A)."""

    agent: Annotated[
        Literal["dreamer", "no-value", "planet", "d4pg", "a3c", "random"], Affects.EVERYTHING
    ] = "dreamer"
    """Which algorithm acts and learns: Dreamer, or one that the paper compares it with."""
    horizon: Annotated[int, Ge(2), Affects.EVERYTHING] = 15
    """Imagined steps (H) of `dreamer` and `no-value`."""
    gamma: Annotated[float, Ge(0), Le(1), Affects.LEARNING] = 0.99
    """Discount per agent step; `planet` discounts only with --pcont."""
    lambda_: Annotated[float, tyro.conf.arg(name="lambda"), Ge(0), Le(1), Affects.LEARNING] = 0.95
    """Mixture of the lambda-return of `dreamer`: 0 is one-step, 1 is Monte Carlo up to the horizon."""
    expl_noise: Annotated[float, Ge(0), Affects.LEARNING] = 0.3
    """Standard deviation of the Gaussian noise on continuous actions while collecting."""
    plan_horizon: Annotated[int, Gt(0), Affects.EVERYTHING] = 12
    """Imagined steps of a plan of `planet`."""
    plan_iterations: Annotated[int, Gt(0), Affects.EVERYTHING] = 10
    """Rounds of the cross-entropy method of `planet`."""
    plan_candidates: Annotated[int, Gt(0), Affects.EVERYTHING] = 1000
    """Plans that `planet` tries in each round."""
    plan_elites: Annotated[int, Gt(0), Affects.EVERYTHING] = 100
    """Best plans, to which `planet` fits the next round."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, one for each network (paper, Appendix A)."""

    model_lr: Annotated[float, Gt(0), Affects.UPDATES] = 6e-4
    """Learning rate of the world model."""
    actor_lr: Annotated[float, Gt(0), Affects.UPDATES] = 8e-5
    """Learning rate of the actor."""
    value_lr: Annotated[float, Gt(0), Affects.UPDATES] = 8e-5
    """Learning rate of the value model."""
    grad_clip: Annotated[float, Gt(0), Affects.UPDATES] = 100.0
    """Gradients are scaled down to this global norm, for each optimizer separately."""


FINAL_EPISODES = 10
"""Least number of episodes of the evaluation at the end of a run."""


@dataclass(frozen=True)
class TrainConfig:
    """The schedule (paper, Algorithm 1), and where everything runs."""

    steps: Annotated[int, Gt(0), Affects.NOTHING] = 1_000_000
    """Simulator frames in all."""
    seed: Annotated[int, Ge(0), Le(2**32 - 1), Affects.LEARNING] = 0
    """Seed of everything random."""
    prefill: Annotated[int, Ge(0), Affects.LEARNING] = 5000
    """Random frames before learning starts; at least one whole episode."""
    pretrain_model: Annotated[int, Ge(0), Affects.LEARNING] = 0
    """Updates of the world model alone, when learning starts."""
    pretrain_value: Annotated[int, Ge(0), Affects.LEARNING] = 0
    """Updates after those of world model and value model, before the actor learns too."""
    train_every: Annotated[int, Gt(0), Affects.EVERYTHING] = 1000
    """Frames between two rounds of updates."""
    train_steps: Annotated[int, Gt(0), Affects.EVERYTHING] = 100
    """Updates per round (C in Algorithm 1)."""
    async_collect: Annotated[bool, Affects.EVERYTHING] = False
    """Collect during the updates, with the weights from before them; as many updates per frame."""
    eval_every: Annotated[int, Ge(0), Affects.NOTHING] = 10_000
    """Frames between two evaluations; 0 evaluates only at the end."""
    eval_episodes: Annotated[int, Gt(0), Affects.NOTHING] = 1
    """Episodes per evaluation; the last one of a run has at least 10."""
    checkpoint_every: Annotated[int, Gt(0), Affects.NOTHING] = 10_000
    """Frames between two checkpoints."""
    video_every: Annotated[int, Ge(0), Affects.NOTHING] = 50_000
    """Frames between two videos (evaluation and open-loop prediction); 0 for none, and then no decoder is
    trained without reconstruction."""
    logger: Annotated[Literal["tensorboard", "wandb", "both", "none"], Affects.NOTHING] = "tensorboard"
    """What shows the metrics besides `metrics.jsonl`; `wandb` is Weights & Biases and needs the extra `[wandb]`."""
    device: Annotated[Literal["auto", "cpu", "cuda"], Affects.NOTHING] = "auto"
    """Where networks run; `auto` takes a GPU if there is one."""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], Affects.UPDATES] = "auto"
    """Precision of the large products; `auto` is bfloat16 where the hardware has it."""
    fast: Annotated[bool, Affects.UPDATES] = True
    """Compute updates in the fastest way, on a GPU as a CUDA graph; without, operation by operation."""
    threads: Annotated[int, Ge(0), Le(1024), Affects.SPEED] = 0
    """CPU threads of the learner; 0 takes as many as cores are idle when the run begins."""

    @property
    def evaluations(self) -> int:
        """Evaluations before the one at the end of the run."""
        return (self.steps - 1) // self.eval_every if self.eval_every else 0

    @property
    def final_episodes(self) -> int:
        """Episodes of the evaluation at the end of the run."""
        return max(FINAL_EPISODES, self.eval_episodes)


@dataclass(frozen=True)
class Config:
    """A whole run."""

    environment: EnvConfig = field(default_factory=EnvConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    behavior: BehaviorConfig = field(default_factory=BehaviorConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    baseline: Annotated[D4PGConfig | A3CConfig | None, tyro.conf.AvoidSubcommands] = None
    """What `--agent d4pg` and `--agent a3c` have besides."""

    @property
    def has_decoder(self) -> bool:
        """Whether a decoder is trained: for reconstruction, or else only for the videos."""
        return self.model.objective == "reconstruction" or self.training.video_every > 0

    @property
    def workers(self) -> int:
        """Processes that act and learn at the same time: those of A3C, 0 for other agents."""
        return self.baseline.workers if isinstance(self.baseline, A3CConfig) else 0


PARTS = (EnvConfig, ReplayConfig, ModelConfig, BehaviorConfig, OptimizerConfig, TrainConfig)
BASELINES: dict[str, type[D4PGConfig | A3CConfig]] = {"d4pg": D4PGConfig, "a3c": A3CConfig}
"""Agents that have options of their own."""
OWNERS = {f.name: agent for agent, kind in BASELINES.items() for f in fields(kind)}
"""Which agent such an option belongs to."""
_OF_DREAMER = frozenset(f.name for f in fields(ModelConfig)) | {
    *("horizon", "lambda_", "plan_horizon", "plan_iterations", "plan_candidates", "plan_elites"),
    *("batch_length", "model_lr", "pretrain_model", "pretrain_value"),
}
WITHOUT_EFFECT: dict[str, frozenset[str]] = {
    "d4pg": _OF_DREAMER | {"prioritize_ends"},
    "a3c": _OF_DREAMER
    | {f.name for f in fields(ReplayConfig)}
    | {f.name for f in fields(OptimizerConfig)}
    | {"num_envs", "expl_noise", "prefill", "train_every", "train_steps", "async_collect", "fast", "threads"}
    | {"device", "precision", "video_every", "image_size", "render"},
}
"""Options that an agent does not read: a run that sets one of them is refused."""
ALWAYS = {"a3c": {"device": "cpu", "precision": "float32", "video_every": 0}}
"""Values of such options that are not their defaults, and stand in the agent's presets."""

HINTS: dict[str, Any] = {
    name: hint
    for part in (*PARTS, *BASELINES.values())
    for name, hint in get_type_hints(part, include_extras=True).items()
}
METADATA: dict[str, tuple[Any, ...]] = {
    name: getattr(hint, "__metadata__", ()) for name, hint in HINTS.items()
}
"""What stands at the field of each option: its range (`Ge`, `Gt`, `Le`) and what it affects."""


def options_affecting(*kinds: Affects) -> frozenset[str]:
    """Return the names of all options that affect one of these."""
    return frozenset(name for name, metadata in METADATA.items() if set(kinds) & {*metadata})


RENAMED = {
    "gray": "env_args gray=True",
    "grey": "env_args gray=True",
    "sticky": "env_args sticky=0.25",
    "sticky_actions": "env_args sticky=0.25",
    "life_loss": "env_args life_loss=False",
    "capacity": "replay_size",
    "contrast": "objective",
    "diagnostic_decoder": "video_every",
    "free_nats_per": "free_avg",
    "edges": "prioritize_ends",
    "free_nats_scale": "rep_scale",
    "free_nats_for": "rep_scale",
    "clip": "grad_clip",
    "seed_episodes": "prefill",
    "seed_frames": "prefill",
    "pretrain": "pretrain_model",
    "warmup": "pretrain_value",
    "collect": "async_collect",
    "update": "fast",
    "final_eval_episodes": "eval_episodes",
}
"""Options of earlier versions, and which option does the same now, or what to write."""


def flag(name: str) -> str:
    """Return an option as it is written on the command line: `batch_size` -> `--batch-size`."""
    name, *value = name.split(" ", 1)
    return " ".join(["--" + name.strip("_").replace("_", "-"), *value])


def what_became_of(names: Iterable[str]) -> str:
    """Say of options of an earlier version what they are called now, or that they are gone."""
    return ", ".join(
        f"{name} is now {RENAMED[name]}" if name in RENAMED else f"{name} is gone" for name in names
    )


def to_flat(config: Config) -> dict[str, Any]:
    """Return all options by name, as `config.json` has them."""
    options = {name: value for part in asdict(config).values() if part for name, value in part.items()}
    return options | {"env_args": [*options["env_args"]]}


def from_flat(options: dict[str, Any]) -> Config:
    """Return the configuration with these options, the rest at their defaults."""
    return with_options(Config(), options)


def from_file(options: Any) -> Config:
    """Return the configuration with these options, which were read from a file.

    Raises `ValueError`, which says what is wrong, unless they are options of a run, of their types and in their ranges.
    """
    options = of_today(options) if isinstance(options, dict) else {"": options}
    if not options.keys() <= METADATA.keys():
        raise ValueError("it holds something else than the options of a run")
    try:
        config = from_flat(options)
        _check_ranges(to_flat(config))
    except (UserError, TypeError, OverflowError) as error:
        raise ValueError(str(error).rstrip(".")) from error
    return config


def with_options(config: Config, options: dict[str, Any]) -> Config:
    """Return `config` with some options, by their flat names, replaced.

    With another agent come the defaults of that agent's own options. Raises `KeyError` for options that do not exist,
    and `UserError` for values of another type.
    """
    parts, left = {}, dict(options)
    config = _with_own_options(config, options.get("agent", config.behavior.agent))
    for part in fields(config):
        old = getattr(config, part.name)
        names = [f.name for f in fields(old) if f.name in left] if old else []
        own = {name: _fitted(name, left.pop(name)) for name in names}
        parts[part.name] = replace(old, **own) if old else None
    if left:
        raise KeyError(f"unknown options: {', '.join(left)}")
    return Config(**parts)


def _fitted(name: str, value: Any) -> Any:
    """Return a value in the type of its option: 1e6 as a whole number, 1 as 1.0. Raises `UserError` if it has none."""
    hint = get_args(HINTS[name])[0]
    if get_origin(hint) is tuple:
        return normalized(value)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    number = isinstance(value, SupportsFloat) and not isinstance(value, bool)
    for kind in kinds:
        if kind is int and number and float(value).is_integer():
            return int(float(value))
        if kind is float and number:
            return float(value)
        if (kind in (bool, str) and isinstance(value, kind)) or value in get_args(kind):
            return value
    expected = " or ".join(TYPES.get(kind) or " or ".join(map(repr, get_args(kind))) for kind in kinds)
    raise UserError(f"{flag(name)} must be {expected}, got {value!r}.")


TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _with_own_options(config: Config, agent: str) -> Config:
    kind = BASELINES.get(agent, type(None))
    return config if isinstance(config.baseline, kind) else replace(config, baseline=kind())


def check(config: Config) -> None:
    """Raise `UserError` for a number that no run can work with."""
    options = to_flat(config)
    _check_ranges(options)
    _check_effects(options)
    if options["plan_elites"] > options["plan_candidates"]:
        raise UserError(
            f"--plan-elites must not exceed --plan-candidates, got {options['plan_elites']}"
            f" and {options['plan_candidates']}."
        )
    if options["pcont"] and options["batch_length"] < 2:
        raise UserError("--batch-length must be at least 2 with --pcont, which leaves the last step out.")


def _check_effects(options: dict[str, Any]) -> None:
    """Raise `UserError` if an option is set that the agent does not read."""
    agent = options["agent"]
    defaults = to_flat(Config()) | ALWAYS.get(agent, {})
    ignored = WITHOUT_EFFECT.get(agent, frozenset())
    if idle := [flag(name) for name in defaults if name in ignored and options[name] != defaults[name]]:
        raise UserError(f"{', '.join(idle)}: without effect with --agent {agent}, so leave it out.")


BOUNDS = {
    Gt: ("gt", operator.gt, "above"),
    Ge: ("ge", operator.ge, "at least"),
    Le: ("le", operator.le, "at most"),
}


def _check_ranges(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if not isinstance(value, bool | str | list):
            _check_range(name, value)


def _check_range(name: str, value: float) -> None:
    """Raise `UserError` if a number lies outside the range at its field, or is not finite."""
    for bound in METADATA[name]:
        if type(bound) in BOUNDS:
            attribute, holds, words = BOUNDS[type(bound)]
            limit = getattr(bound, attribute)
            if not holds(value, limit):
                raise UserError(f"{flag(name)} must be {words} {limit}, got {value}.")
    if not math.isfinite(value):
        raise UserError(f"{flag(name)} must be finite, got {value}.")
