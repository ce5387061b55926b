"""Every observation becomes a dictionary of images and vectors."""

import logging

import numpy as np
import pytest
from gymnasium import spaces

from dreamer.config import EnvConfig
from dreamer.envs import EnvError, make_env, spec_of
from dreamer.envs.observations import resize
from dreamer.errors import UserError


def make(name: str, **settings):
    return make_env(EnvConfig(env=f"gym:sample_environments:{name}-v0", action_repeat=1, **settings))


@pytest.mark.parametrize(
    ("name", "obs", "images", "vectors"),
    [
        ("Sample", "state", {}, {"state": 3}),
        ("Drawn", "image", {"image": (64, 64, 3)}, {}),
        ("Image", "image", {"image": (64, 64, 3)}, {}),
        ("Gray", "image", {"image": (64, 64, 1)}, {}),
        (
            "Everything",
            "image",
            {"front": (64, 64, 3), "wrist": (64, 64, 4)},
            {"joints": 3, "gear": 3},
        ),
        ("Everything", "state", {}, {"joints": 3, "gear": 3}),
        ("Everything", "wrist,gear", {"wrist": (64, 64, 4)}, {"gear": 3}),
        ("Everything", "joints", {}, {"joints": 3}),
        ("DrawnNested", "render", {"image": (64, 64, 3)}, {}),
        ("Nested", "state", {}, {"arm/joints": 3, "goal/0": 3, "goal/1": 4, "7": 3}),
        ("Nested", "image", {"arm/camera": (64, 64, 3)}, {"arm/joints": 3, "goal/0": 3, "goal/1": 4, "7": 3}),
        ("Nested", "arm", {"arm/camera": (64, 64, 3)}, {"arm/joints": 3}),
        ("Nested", "goal/1, 7", {}, {"goal/1": 4, "7": 3}),
        ("Scalar", "state", {}, {"state": 1}),
        ("Numbers", "state", {}, {"bits": 6, "dials": 7}),
        ("TupleObservation", "state", {}, {"0": 3, "1": 3}),
        ("Symbols", "state", {}, {"image": 147, "direction": 4}),
        ("Symbols", "image,", {}, {"image": 147}),
        ("Tiny", "state", {}, {"state": 192}),
        ("ChannelsFirst", "image", {"image": (64, 64, 3)}, {}),
        ("FrameStack", "image", {"image": (64, 64, 12)}, {}),
        ("DrawnSmall", "image", {"image": (64, 64, 3)}, {}),
        ("DrawnInside", "image", {"pixels": (64, 64, 3)}, {"state": 3}),
        ("DrawnInside", "state", {}, {"state": 3}),
        ("DrawnList", "image", {"image": (64, 64, 3)}, {}),
    ],
)
def test_keys_shapes_and_types(name: str, obs, images: dict, vectors: dict) -> None:
    env = make(name, obs=obs)
    spec = spec_of(env)
    assert spec.images == images
    assert spec.vectors == vectors
    observations = [env.reset(seed=0)[0], env.step(np.zeros(2, np.float32))[0]]
    for observation in observations:
        assert env.observation_space.contains(observation)
        assert observation.keys() == images.keys() | vectors.keys()


def test_words_are_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        env = make("WithWords", obs="state")
    assert spec_of(env).vectors == {"joints": 3}
    assert list(env.reset(seed=0)[0]) == ["joints"]
    [record] = caplog.records
    assert "shows 'hint', 'mission', which cannot be made numbers of" in record.getMessage()


def test_parts_of_nested_observations_keep_their_values() -> None:
    env = make("Nested", obs="state")
    shown = env.reset(seed=3)[0]
    own = env.unwrapped.observation_space
    assert isinstance(own, spaces.Dict)
    own.seed(3)
    sample = own.sample()
    np.testing.assert_array_equal(shown["arm/joints"], sample["arm"]["joints"])
    np.testing.assert_array_equal(shown["goal/0"], sample["goal"][0])
    assert shown["goal/1"].argmax() == sample["goal"][1] - 2


def test_a_part_that_is_missing_is_told() -> None:
    env = make("ForgetsPart", obs="state")
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    with pytest.raises(EnvError, match=r"returned \['camera', 'name'\] where 'joints' is declared"):
        env.step(np.zeros(2, np.float32))


def test_two_parts_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="shows two parts by one name"):
        make("SameName", obs="state")


def test_a_grid_too_small_for_an_image_becomes_small_numbers() -> None:
    env = make("Symbols", obs="state")
    env.reset(seed=0)
    shown = env.step(np.zeros(2, np.float32))[0]
    np.testing.assert_allclose(shown["image"], np.log(3), rtol=1e-6)
    assert shown["direction"].tolist() == [0, 0, 0, 1]


def test_words_alone_are_refused() -> None:
    with pytest.raises(UserError, match="neither image nor vector"):
        make("WordsOnly", obs="state")


def test_a_drawn_picture_shows_the_frame_just_taken() -> None:
    env = make("Drawn")
    assert env.reset(seed=0)[0]["image"].max() == 0
    assert (env.step(np.zeros(2, np.float32))[0]["image"] == 40).all()


def test_a_discrete_part_becomes_one_hot() -> None:
    env = make("Everything")
    for seed in range(5):
        gear = env.reset(seed=seed)[0]["gear"]
        assert sorted(gear) == [0, 0, 1]


def test_shrinking_takes_the_means_of_areas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 4), dtype=np.uint8)
    # Pillow rounds after the columns and again after the rows.
    means = image.reshape(16, 4, 16, 2, 4).mean((1, 3))
    assert np.abs(resize(image, 16) - means).max() <= 1
    assert np.abs(resize(image[..., :3], 16) - means[..., :3]).max() <= 1
    assert np.abs(resize(image[..., :1], 16) - means[..., :1]).max() <= 1


def test_an_image_of_the_right_size_is_copied() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(resize(image, 16), image)
    assert not np.shares_memory(resize(image, 16), image)


@pytest.mark.parametrize(
    ("name", "obs", "scale"),
    [
        ("ReusedScreen", "image", 1),
        ("ReusedGrey", "image", 1),
        ("ReusedPicture", "image", 1),
        ("ReusedVector", "state", 0.1),
    ],
)
def test_what_was_shown_stays_when_the_environment_reuses_its_array(name: str, obs, scale: float) -> None:
    env = make(name, obs=obs)
    shown = [env.reset(seed=0)[0][obs], *(env.step(np.zeros(2, np.float32))[0][obs] for _ in range(3))]
    assert [picture.flat[0] for picture in shown] == pytest.approx([scale * frame for frame in range(4)])


def test_the_space_of_images_has_the_size_asked_for() -> None:
    env = make("Image", image_size=32)
    assert isinstance(env.observation_space, spaces.Dict)
    assert env.observation_space["image"] == spaces.Box(0, 255, (32, 32, 3), np.uint8)
    assert env.reset(seed=0)[0]["image"].shape == (32, 32, 3)
