"""Options: one flat name each, numbers in range, presets that hold what they say."""

import ast
import dataclasses
import inspect
from typing import Any

import pytest
from annotated_types import Ge, Gt

from dreamer import config as config_module
from dreamer.api import train
from dreamer.baselines import options as baseline_options
from dreamer.bench.report import COMPARED
from dreamer.config import (
    BASELINES,
    METADATA,
    PARTS,
    RENAMED,
    Affects,
    Config,
    check,
    from_flat,
    to_flat,
    with_options,
)
from dreamer.errors import UserError
from dreamer.presets import PRESETS, preset
from dreamer.results.curves import IGNORED
from dreamer.storage.checkpoint import FIXED, WARNED


def test_every_option_has_a_name_of_its_own() -> None:
    names = [field.name for part in (*PARTS, *BASELINES.values()) for field in dataclasses.fields(part)]
    assert len(names) == len(set(names)) == len(METADATA)
    assert len(to_flat(Config())) <= 60


def test_every_option_has_a_sentence_of_help() -> None:
    """Which tyro reads from the source: a string right after the field."""
    parts = {part.__name__ for part in (*PARTS, *BASELINES.values())}
    sources = [inspect.getsource(module) for module in (config_module, baseline_options)]
    for part in [each for source in sources for each in ast.parse(source).body]:
        if not isinstance(part, ast.ClassDef) or part.name not in parts:
            continue
        for field, after in zip(part.body, [*part.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                text = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
                assert text.endswith("."), ast.unparse(field)


def test_every_option_says_what_it_affects() -> None:
    for name, metadata in METADATA.items():
        assert sum(isinstance(each, Affects) for each in metadata) == 1, name


def test_every_number_has_a_lower_bound() -> None:
    for name, value in to_flat(Config()).items():
        if not isinstance(value, bool | str | list):
            assert any(isinstance(each, Ge | Gt) for each in METADATA[name]), name


def test_what_an_option_affects_decides_who_compares_it() -> None:
    names = frozenset(METADATA)
    free = names - FIXED - WARNED
    assert free == {
        "steps",
        "eval_every",
        "eval_episodes",
        "checkpoint_every",
        "video_every",
        "replay_device",
        "device",
        "logger",
        "threads",
        "worker_timeout",
        "env_failures",
    }
    rates = {"model_lr", "actor_lr", "value_lr", "grad_clip", "lr", "anneal"}
    assert {"fast", "precision"} | rates == WARNED
    assert free | {"seed"} == IGNORED
    assert (
        not COMPARED & {"seed", "prefill", "pretrain_model", "pretrain_value", "device"} | COMPARED & WARNED
    )
    assert {"threads", "replay_device", "horizon", "num_envs", "train_every"} <= COMPARED


def test_options_round_trip() -> None:
    config = with_options(
        Config(), {"horizon": 7, "env": "toy:dot", "seed": 3, "env_args": {"b": "x", "a": [1, None]}}
    )
    assert (config.behavior.horizon, config.environment.env, config.training.seed) == (7, "toy:dot", 3)
    assert from_flat(to_flat(config)) == config
    assert to_flat(config).keys() == to_flat(Config()).keys()


def test_renamed_options_are_gone_and_their_new_names_exist() -> None:
    assert not RENAMED.keys() & METADATA.keys()
    assert {new.split()[0] for new in RENAMED.values()} <= METADATA.keys()


def test_a_renamed_option_is_answered_with_its_new_name(tmp_path) -> None:
    with pytest.raises(UserError, match="no option 'capacity': it is now 'replay_size'"):
        train(tmp_path, preset="debug", capacity=5)


def test_unknown_option_is_named() -> None:
    with pytest.raises(KeyError, match="horizzon"):
        with_options(Config(), {"horizzon": 7})


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_fit_to_run(name: str) -> None:
    check(preset(name))
    assert preset("auto") in (preset("paper"), preset("laptop"))


@pytest.mark.parametrize("name", ["paper", "laptop", "debug"])
@pytest.mark.parametrize("agent", BASELINES)
def test_presets_of_agents_without_a_world_model_are_fit_to_run(agent: str, name: str) -> None:
    config = preset(name, agent=agent)
    check(config)
    assert isinstance(config.baseline, BASELINES[agent])


@pytest.mark.parametrize("name", ["auto", "paper", "laptop", "atari"])
def test_an_atari_game_is_played_by_the_papers_settings_for_games(name: str) -> None:
    config = preset(name, "atari:boxing")
    check(config)
    options = to_flat(config)
    assert options["time_limit"] == 108_000
    assert (options["action_repeat"], options["horizon"], options["kl_scale"]) == (4, 10, 0.1)
    assert (options["pcont"], options["clip_rewards"]) == (True, "tanh")
    assert (options["units"] < 400) == (preset(name).model.units < 400)
    assert preset(name, "dmc:walker_walk") == preset(name)


def test_the_preset_paper_is_the_published_one() -> None:
    """Paper, Appendix A, and the official TF2 code."""
    published: dict[str, Any] = {
        "batch_size": 50,
        "batch_length": 50,
        "horizon": 15,
        "gamma": 0.99,
        "lambda_": 0.95,
        "model_lr": 6e-4,
        "actor_lr": 8e-5,
        "value_lr": 8e-5,
        "grad_clip": 100.0,
        "free_nats": 3.0,
        "kl_scale": 1.0,
        "stoch": 30,
        "deter": 200,
        "expl_noise": 0.3,
        "action_repeat": 2,
        "image_size": 64,
        "prefill": 5000,
        "train_steps": 100,
        "train_every": 1000,
        "render": "canonical",
        "time_limit": 1000,
        "hidden": 200,
        "units": 400,
        "cnn_depth": 32,
        "reward_scale": 1.0,
        "free_avg": True,
        "rep_scale": 0.0,
        "pcont": False,
        "pcont_scale": 10.0,
        "pretrain_model": 0,
        "pretrain_value": 0,
        "eval_every": 10_000,
        "objective": "reconstruction",
    }
    options = to_flat(preset("paper"))
    assert {name: options[name] for name in published} == published


@pytest.mark.parametrize(
    ("agent", "published"),
    [
        (
            "d4pg",
            {
                "n_step": 5,
                "atoms": 101,
                "v_max": 150.0,
                "gamma": 0.99,
                "batch_size": 256,
                "target_every": 100,
                "actor_lr": 1e-4,
                "value_lr": 1e-4,
                "replay_size": 1_000_000,
                "priority": 0.6,
                "num_envs": 32,
                "expl_noise": 1.0,
                "obs": "image",
                "image_size": 84,
                "frame_stack": 3,
                "action_repeat": 1,
            },
        ),
        (
            "a3c",
            {
                "workers": 32,
                "rollout": 20,
                "lr": 5e-5,
                "entropy": 3e-3,
                "gamma": 0.99,
                "obs": "state",
                "steps": 100_000_000,
                "anneal": 100_000_000,
                "action_repeat": 1,
            },
        ),
    ],
)
def test_the_preset_paper_of_the_comparisons_is_their_report(agent: str, published: dict[str, Any]) -> None:
    """Tassa et al. 2018, Sections 5 and 6; docs/baselines.md says what the report leaves open."""
    options = to_flat(preset("paper", agent=agent))
    assert {name: options[name] for name in published} == published


def test_debug_is_the_paper_made_small() -> None:
    """So that tuning `laptop` touches no test."""
    changed = {
        "env", "steps", "render", "batch_size", "batch_length", "cnn_depth", "units", "deter", "hidden",
        "stoch", "horizon", "prefill", "train_every", "train_steps", "eval_every", "checkpoint_every",
        "video_every",
    }  # fmt: skip
    debug, paper = to_flat(preset("debug")), to_flat(preset("paper"))
    assert {name for name in paper if debug[name] != paper[name]} == changed


def test_an_unknown_preset_names_the_others() -> None:
    with pytest.raises(UserError, match=f"There is no preset 'big': take auto, {', '.join(PRESETS)}"):
        preset("big")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 0, "--steps must be above 0, got 0"),
        ("model_lr", -1.0, "--model-lr must be above 0, got -1.0"),
        ("model_lr", float("nan"), "--model-lr must be above 0"),
        ("kl_scale", float("inf"), "--kl-scale must be finite, got inf"),
        ("seed", -1, "--seed must be at least 0, got -1"),
        ("seed", 2**32, "--seed must be at most 4294967295"),
        ("prefill", -1, "--prefill must be at least 0"),
        ("camera", -2, "--camera must be at least -1"),
        ("action_repeat", 0, "--action-repeat must be above 0"),
        ("batch_size", 0, "--batch-size must be above 0"),
        ("num_envs", 0, "--num-envs must be above 0"),
        ("gamma", 1.1, "--gamma must be at most 1, got 1.1"),
        ("lambda_", 1.1, "--lambda must be at most 1, got 1.1"),
        ("horizon", 1, "--horizon must be at least 2"),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(with_options(Config(), {name: value}))


@pytest.mark.parametrize(
    ("agent", "options", "named"),
    [
        ("a3c", {"objective": "contrastive"}, "--objective"),
        ("a3c", {"batch_size": 3, "num_envs": 2}, "--num-envs, --batch-size"),
        ("a3c", {"device": "cuda"}, "--device"),
        ("a3c", {"video_every": 1000}, "--video-every"),
        ("a3c", {"image_size": 84, "render": "fast"}, "--image-size, --render"),
        ("d4pg", {"horizon": 20}, "--horizon"),
        ("d4pg", {"prioritize_ends": True}, "--prioritize-ends"),
    ],
    ids=str,
)
def test_options_that_an_agent_does_not_read_are_refused_by_name(
    agent: str, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(UserError, match=f"^{named}: without effect with --agent {agent}, so leave it out"):
        check(with_options(preset("debug", agent=agent), options))


@pytest.mark.parametrize("agent", BASELINES)
def test_an_option_of_one_agent_is_unknown_to_the_others(agent: str) -> None:
    own = next(field.name for field in dataclasses.fields(BASELINES[agent]))
    for other in {"dreamer", *BASELINES} - {agent}:
        with pytest.raises(KeyError, match=own):
            with_options(preset("debug", agent=other), {own: 3})


@pytest.mark.parametrize(
    "name", ["video_every", "eval_every", "pretrain_model", "replay_size", "prefill", "seed"]
)
def test_zero_is_allowed_where_it_switches_off(name: str) -> None:
    check(with_options(Config(), {name: 0}))
