"""What an environment returns is converted, or refused in one sentence."""

import logging
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamer.config import EnvConfig
from dreamer.envs import make_env
from dreamer.envs.conversion import brightest, end_of, image_of, reward_of, vector_conversion
from dreamer.errors import UserError


@pytest.mark.parametrize(
    "reward",
    [
        1,
        1.0,
        True,
        np.bool_(True),
        np.float64(1),
        np.float16(1),
        np.int64(1),
        np.uint8(1),
        np.array(1.0),
        np.array([1.0]),
        np.array([[1]]),
        [1.0],
        (1,),
        [np.float32(1)],
        Decimal(1),
        Fraction(1),
        np.array(1, object),
        torch.tensor(1.0),
    ],
    ids=repr,
)
def test_reward_of_any_plain_form_is_one_number(reward: Any) -> None:
    converted = reward_of(reward, "gym:Mine-v0")
    assert type(converted) is float
    assert converted == 1


@pytest.mark.parametrize(
    "reward",
    [
        float("nan"),
        np.inf,
        None,
        "1",
        1j,
        [],
        np.ones(2),
        [1.0, 2.0],
        [[1.0], [1.0, 2.0]],
        {"r": 1},
        np.eye(9),
        10**400,
        np.ma.masked,
        torch.ones(1, requires_grad=True),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_reward_that_is_no_finite_number_is_refused(reward: Any) -> None:
    with pytest.raises(UserError, match=r"gym:Mine-v0 returned the reward .* must be one finite number\.$"):
        reward_of(reward, "gym:Mine-v0")


@pytest.mark.parametrize("reward", [1e39, -1e300])
def test_reward_beyond_float32_is_refused(reward):
    with pytest.raises(
        UserError, match=r"gym:Mine-v0 returned the reward .* scale rewards to less than 3.4e\+38"
    ):
        reward_of(reward, "gym:Mine-v0")


@pytest.mark.parametrize(
    "value", [True, 1, np.bool_(True), np.array([True]), np.array(1.0), [True]], ids=repr
)
def test_end_of_any_plain_form_is_a_bool(value: Any) -> None:
    assert end_of(value, "gym:Mine-v0", "terminated") is True


@pytest.mark.parametrize("value", [None, "no", {}, np.array([True, False]), [], 0.5, np.nan, 2], ids=repr)
def test_end_that_is_no_truth_value_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"gym:Mine-v0 returned truncated .* must be True or False"):
        end_of(value, "gym:Mine-v0", "truncated")


LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64]
)
def test_image_of_any_plain_type_has_the_same_pixels(dtype: type) -> None:
    given = LEVELS.astype(dtype)
    if np.issubdtype(dtype, np.floating):
        given = (LEVELS / 255).astype(dtype)
    image = image_of(given, "The image")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, LEVELS[..., None])


def test_image_of_bool_is_black_and_white() -> None:
    assert image_of(np.eye(2, dtype=bool), "The image")[..., 0].tolist() == [[255, 0], [0, 255]]


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        PIXELS,
        PIXELS.tolist(),
        PIXELS[None],
        [PIXELS],
        PIXELS.transpose(2, 0, 1),
        PIXELS[..., None],
        torch.tensor(PIXELS),
    ],
    ids=[
        "array",
        "list",
        "one of a batch",
        "list of one",
        "channels first",
        "more axes",
        "tensor",
    ],
)
def test_image_of_any_plain_shape_has_channels_last(given: Any) -> None:
    np.testing.assert_array_equal(image_of(given, "The image"), PIXELS)


def test_a_stack_of_images_has_all_their_channels() -> None:
    stack = np.stack([PIXELS, 255 - PIXELS])
    np.testing.assert_array_equal(image_of(stack, "The image"), np.concatenate([*stack], axis=-1))
    gray = stack[..., 0]
    np.testing.assert_array_equal(image_of(gray, "The image"), gray.transpose(1, 2, 0))


def test_masks_of_integers_are_scaled_by_their_declared_bound() -> None:
    mask = np.eye(16, dtype=np.uint8)
    assert image_of(mask, "The image", brightest(np.ones((16, 16)))).max() == 255
    assert image_of(2 * mask, "The image", brightest(20)).max() == 26  # 2 / 20 of 255
    with pytest.raises(
        UserError, match="from 0 to 200, beyond the declared bound of 1: declare what is returned"
    ):
        image_of(200 * mask, "The image", brightest(1))


def test_an_inexact_bound_of_usual_pixels_changes_nothing() -> None:
    assert image_of(np.full((16, 16), 255, np.uint8), "The image", brightest(250)).max() == 255


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (LEVELS.astype(np.float64), "of type float64 from 0 to 255: return uint8, or floats in [0, 1]"),
        (LEVELS.astype(np.uint16) * 100, "of type uint16 from 0 to 25500"),
        (LEVELS.astype(np.int64) - 1, "of type int64 from -1 to 254"),
        (np.linspace(-1, 1, 256).reshape(16, 16), "from -1 to 1"),
        (np.full((16, 16), np.nan), "from nan to nan"),
        (np.zeros((16, 2, 16, 3), np.uint8), "an array of shape (16, 2, 16, 3)"),
        (np.zeros((0, 16, 3), np.uint8), "an array of shape (0, 16, 3)"),
        (None, "is None"),
        ("a picture", "is 'a picture'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_image_without_a_plain_meaning_is_refused(pixels: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        image_of(pixels, "The image that gym:Mine-v0 renders")
    assert str(caught.value).startswith("The image that gym:Mine-v0 renders ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "given", "taken"),
    [
        (spaces.Box(-1, 1, (2,), np.float64), np.array([0.5, -1]), [0.5, -1]),
        (spaces.Box(-1, 1, (2,), np.float32), [1, 0], [1, 0]),
        (spaces.Box(0, 1000, (2,), np.float32), np.array([1000, 10]), [1000, 10]),
        (spaces.Box(0, 10, (2,), np.int64), np.array([10, 3]), [10, 3]),
        (spaces.Box(0, 65535, (1, 2), np.uint16), np.array([[0, 65535]], np.uint16), [0, 1]),
        (spaces.Box(-100, 100, (2,), np.int64), np.array([0, 100]), [0.5, 1]),
        (spaces.Box(np.array([0, 7]), np.array([50, 7]), dtype=np.int64), np.array([25, 7]), [0.5, 0]),
        (spaces.Box(0, 255, (2,), np.uint8), np.array([0, 51], np.uint8), [0, 0.2]),
        (spaces.Discrete(3), np.int64(1), [0, 1, 0]),
        (spaces.MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        # Types and axes of length 1 do not matter.
        (spaces.Box(-1, 1, (2,), np.float32), np.array([[0.5], [1]]), [0.5, 1]),
        (spaces.Box(-1, 1, (), np.float32), np.array([0.5]), [0.5]),
        (spaces.Box(-1, 1, (1,), np.float32), 0.5, [0.5]),
        (spaces.Box(-1, 1, (2,), np.float32), np.array([Fraction(1, 2), 1], object), [0.5, 1]),
        (spaces.Discrete(3, start=-1), np.array([0.0]), [0, 1, 0]),
        (spaces.MultiDiscrete([2, 3]), [1.0, 0], [0, 1, 1, 0, 0]),
        (spaces.MultiBinary((1, 2)), [True, False], [1, 0]),
    ],
    ids=repr,
)
def test_vector_is_taken_as_it_is_or_scaled_by_its_bounds(
    space: spaces.Space, given: Any, taken: list
) -> None:
    vector = vector_conversion(space, "The observation")(given)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, np.array(taken, np.float32), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_large_integers_without_bounds_are_refused(dtype: type) -> None:
    limits = np.iinfo(dtype)
    space = spaces.Box(limits.min, limits.max, (4,), dtype)
    with pytest.raises(UserError, match="declare their range, or use floats"):
        vector_conversion(space, "The observation 'ram' of gym:Mine-v0")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(3), "has shape (3,) where (2,) is declared"),
        (np.array([0, np.nan]), "holds NaN or infinity"),
        (np.array([0, np.inf]), "holds NaN or infinity"),
        (np.array([0, -1e300]), "holds 1.0e+300: scale it to less than 3.4e+38"),
        (["a", "b"], "must be an array of numbers"),
        (None, "must be an array of numbers"),
        (torch.ones(2, requires_grad=True), "must be an array of numbers"),
    ],
    ids=repr,
)
def test_vector_that_does_not_fit_is_refused(value: Any, words: str) -> None:
    convert = vector_conversion(spaces.Box(-np.inf, np.inf, (2,), np.float64), "The observation")
    with pytest.raises(UserError) as caught:
        convert(value)
    assert words in str(caught.value)


@pytest.mark.parametrize("value", [3, -1, 0.5, np.nan, None, "1", [0, 1], np.int64(2**40)], ids=repr)
def test_a_number_that_is_none_of_the_choices_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"The observation is .*, which is not in Discrete\(3\)"):
        vector_conversion(spaces.Discrete(3), "The observation")(value)


def test_a_large_number_does_not_wrap_round_to_a_bit() -> None:
    with pytest.raises(UserError, match="not in MultiBinary"):
        vector_conversion(spaces.MultiBinary(2), "The observation")(np.array([257, 0]))


def test_masked_values_are_refused() -> None:
    with pytest.raises(UserError, match="must be an array of numbers"):
        vector_conversion(spaces.Box(-1, 1, (2,)), "The observation")(
            np.ma.array([0.5, 0], mask=[False, True])
        )


def test_a_value_that_cannot_be_shown_is_named_by_its_class() -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(UserError, match="returned the reward a Unprintable"):
        reward_of(Unprintable(), "gym:Mine-v0")


def test_finite_values_beyond_the_bounds_are_taken_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    convert = vector_conversion(spaces.Box(-1, 1, (2,), np.float32), "The observation 'state' of gym:Mine-v0")
    with caplog.at_level(logging.WARNING):
        assert convert(np.array([0.5, 1.00001])).tolist() == pytest.approx([0.5, 1.00001])
        assert not caplog.records
        assert convert(np.array([0.5, 1.01])).tolist() == pytest.approx([0.5, 1.01])
        assert convert(np.array([-7, 0])).tolist() == [-7, 0]
    [record] = caplog.records
    assert "gym:Mine-v0 reaches from 0.5 to 1.01, beyond its declared bounds" in record.getMessage()


def episode(name: str, obs, **settings) -> list[dict[str, np.ndarray]]:
    env = make_env(EnvConfig(env=f"gym:sample_environments:{name}-v0", obs=obs, action_repeat=1, **settings))
    return [env.reset(seed=0)[0], *(env.step(np.zeros(2, np.float32))[0] for _ in range(3))]


def test_observations_that_the_agent_does_not_use_are_not_judged(caplog: pytest.LogCaptureFixture) -> None:
    shown = episode("DrawnBesideNonsense", "image")
    assert [int(observation["image"].max()) for observation in shown] == [0, 40, 80, 120]
    assert not caplog.records


def test_what_may_be_meant_for_an_image_is_told_where_render_is_seen_instead(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Images of floats with other bounds, or none."""
    shown = episode("DrawnUnbounded", "image")
    assert shown[0]["image"].shape == (64, 64, 3)
    assert "The observation 'state' of gym:sample_environments:DrawnUnbounded-v0" in caplog.text
    assert "is declared as no image: the agent sees render() instead" in caplog.text


def test_rendered_floats_are_seen_in_full_brightness() -> None:
    shown = episode("DrawnFloats", "image")
    assert [int(observation["image"].max()) for observation in shown] == [0, 64, 128, 191]


def test_declared_images_of_floats_are_stored_as_uint8() -> None:
    image = episode("FloatImage", "image")[0]["image"]
    assert image.dtype == np.uint8
    assert image.max() > 250
    assert 120 < image.mean() < 135  # uniform samples of [0, 1]


def test_a_black_picture_is_told(caplog: pytest.LogCaptureFixture) -> None:
    episode("DrawnOnes", "image")
    assert (
        "DrawnOnes-v0 renders is black (its brightest pixel is 1 of 255): is it meant to be floats?"
        in caplog.text
    )


def test_rendered_depth_of_16_bits_is_refused() -> None:
    with pytest.raises(UserError, match=r"The image that gym:\S+ renders has pixels of type uint16 from"):
        episode("DrawnDepth", "image")


def test_rendered_image_that_changes_its_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"renders has shape \(63, 64, 3\) where \(64, 64, 3\) is declared"):
        episode("DrawnShrinking", "image")


def test_an_episode_may_end_in_both_ways_at_once() -> None:
    env = make_env(EnvConfig(env="gym:sample_environments:EndsTwice-v0", obs="state", action_repeat=5))
    env.reset(seed=0)
    _, reward, terminated, truncated, _ = env.step(np.zeros(2, np.float32))
    assert (reward, terminated, truncated) == (5.0, True, True)


def test_seed_may_be_a_number_of_numpy() -> None:
    env = make_env(EnvConfig(env="gym:sample_environments:Sample-v0", obs="state"))
    one, other = (env.reset(seed=seed)[0]["state"] for seed in (np.int64(7), 7))  # pyright: ignore[reportArgumentType]
    assert np.array_equal(one, other)
