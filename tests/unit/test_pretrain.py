"""Pre-training: resumed is the same as uninterrupted, and a fresh start forgets what was there."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from petl_bench.cli.main import main
from petl_bench.data.base import Batch, to_batch
from petl_bench.engine.keep import silent
from petl_bench.pretrain.lessons import BLOCK, lessons
from petl_bench.pretrain.pretrain import pretrain
from petl_bench.pretrain.probe import readout
from petl_bench.pretrain.recipe import Recipe
from petl_bench.pretrain.teacher import teach

RECIPE = Recipe(images=16, steps=5, batch_size=2, checkpoint_every=2, hidden_share=0.3)


class StoppedError(Exception):
    pass


def trained(
    folder: Path, *, resume: bool = False, stop_after: int | None = None, say: Callable[[str], None] = silent
) -> list[int]:
    """Train into ``folder`` and return the steps that were made."""
    steps: list[int] = []

    def tell(step: int, loss: float, speed: float) -> None:
        steps.append(step)
        if step == stop_after:
            raise StoppedError

    with contextlib.suppress(StoppedError):
        weights = folder / "weights.safetensors"
        pretrain(RECIPE, resume=resume, taught=lambda _: None, tell=tell, say=say, weights=weights)
    return steps


@pytest.mark.usefixtures("one_thread")
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETL_BENCH_CACHE", str(tmp_path / "cache"))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    assert trained(whole) == [1, 2, 3, 4, 5]
    assert trained(parts, stop_after=3) == [1, 2, 3]
    assert not (parts / "weights.safetensors").exists()
    assert trained(parts, resume=True) == [3, 4, 5]
    one, two = (load_file(folder / "weights.safetensors") for folder in (whole, parts))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert {tensor.dtype for tensor in one.values()} == {torch.float16}

    assert trained(parts, stop_after=1) == [1]
    assert trained(parts, resume=True) == [1, 2, 3, 4, 5], "a fresh start must forget the finished checkpoint"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8:] = bytes(8)  # the last numbers of the last tensor
    path.write_bytes(content)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _changed])
def test_a_damaged_checkpoint_is_said_and_the_training_begins_again(
    damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("petl_bench.pretrain.pretrain.teach", _teach)
    assert trained(tmp_path, stop_after=2) == [1, 2]
    (checkpoint,) = (tmp_path / "cache" / "pretrain").glob("*/checkpoint.safetensors")
    damage(checkpoint)
    said: list[str] = []
    assert trained(tmp_path, resume=True, stop_after=1, say=said.append) == [1]
    (line,) = said
    assert "checkpoint.safetensors' is not used: it" in line
    assert "begins at step 0" in line


def _teach(images: np.ndarray, folder: Path, tell: object) -> list[np.ndarray]:
    """What a teacher would say that knows nothing."""
    sizes = ((24, 32), (40, 16), (112, 8), (320, 4))
    return [np.zeros((len(images), channels, side, side), np.float16) for channels, side in sizes]


@pytest.mark.parametrize("damage", [_cut, _changed, _emptied, Path.unlink])
def test_damaged_features_of_the_teacher_are_made_again(damage: Callable[[Path], None], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    seen: list[int] = []
    first = [level.copy() for level in teach(images, tmp_path, seen.append)]
    teach(images, tmp_path, seen.append)
    assert sum(seen) == 2, "whole features are looked at once"
    damage(tmp_path / "level-3.npy")
    again = teach(images, tmp_path, seen.append)
    assert sum(seen) == 4
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_teachers_features_are_standardised_and_never_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    save = np.save

    def broken(path: Path, array: np.ndarray) -> None:
        save(path, array[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        teach(images, tmp_path, lambda _: None)
    monkeypatch.undo()
    seen: list[int] = []
    levels = teach(images, tmp_path, seen.append)
    assert sum(seen) == 8
    assert [level.shape for level in levels] == [(8, 24, 32, 32), (8, 40, 16, 16), (8, 112, 8, 8), (8, 320, 4, 4)]
    for level in levels:
        flat = level.astype(np.float32).swapaxes(0, 1).reshape(level.shape[1], -1)
        np.testing.assert_allclose(flat.mean(1), 0, atol=0.02)
        moving = flat.std(1) > 0.5
        assert moving.mean() > 0.9
        np.testing.assert_allclose(flat[moving].std(1), 1, atol=0.05)


def shown(**settings: Any) -> tuple[Batch, Batch]:
    """Return what went in and what the student is shown of it at one step; a feature map counts columns."""
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    arrays = {"image": images, "depth": np.arange(256, dtype=np.float16).reshape(1, 16, 16)}
    columns = np.broadcast_to(np.arange(8, dtype=np.float16), (1, 1, 8, 8)).copy()
    recipe = Recipe(images=1, steps=1, batch_size=8, jitter=0, labels={"depth": 1.0}, **settings)
    (lesson,) = lessons(arrays, [columns], recipe, first=0)
    given = to_batch(np.repeat(images, 8, axis=0), {"depth": np.repeat(arrays["depth"], 8, axis=0)})
    return given, Batch(lesson.images, {"depth": lesson.labels["depth"], "columns": lesson.features[0]})


def test_pictures_are_shown_as_they_are_unless_the_recipe_says_otherwise() -> None:
    given, lesson = shown()
    torch.testing.assert_close(lesson.images, given.images)
    torch.testing.assert_close(lesson.labels["depth"], given.labels["depth"])
    assert lesson.labels["columns"][0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_mirrored_picture_comes_with_mirrored_features_and_labels() -> None:
    given, lesson = shown(mirror_share=1.0)
    torch.testing.assert_close(lesson.images, given.images.flip(-1))
    torch.testing.assert_close(lesson.labels["depth"], given.labels["depth"].flip(-1))
    assert lesson.labels["columns"][0, 0, 0].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_every_second_picture_has_its_blocks_hidden() -> None:
    given, lesson = shown(hidden_share=1.0)
    assert (lesson.images[::2] == 0.5).all()
    torch.testing.assert_close(lesson.images[1::2], given.images[1::2])
    _, lesson = shown(hidden_share=0.5)
    changed = (lesson.images == 0.5).all(1)[::2]
    blocks = changed.unflatten(1, (2, BLOCK)).unflatten(3, (2, BLOCK)).float().mean((2, 4))
    assert set(blocks.unique().tolist()) == {0.0, 1.0}, "whole blocks"


def test_the_readout_finds_what_features_hold_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.standard_normal((50, 8, 8, 3))
    normals = pixels / np.linalg.norm(pixels, axis=-1, keepdims=True)
    arrays = {"image": np.round(127.5 + 127.5 * normals).astype(np.uint8), "normals": normals.astype(np.float16)}
    monkeypatch.setattr("petl_bench.pretrain.probe.cached_split", lambda *_, **__: arrays)
    seen = readout(lambda images: (images[:, 1:],), rooms=50, test_rooms=50)  # y and z; a mirror turns x
    assert seen["normal_x"] == pytest.approx(0, abs=0.02)
    assert seen["normal_y"] > 0.99
    assert seen["normal_z"] > 0.99


def test_another_recipe_never_replaces_the_shipped_weights(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "--set", "steps=5"])
    assert stopped.value.code == 2
    assert "--out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["pretrain", "--set", "step=5", "--out", "weights.safetensors"])
    assert "Did you mean 'steps'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "--set", "labels={semseg=1.0}", "--out", "weights.safetensors"])
    assert stopped.value.code == 2
    assert "the source domain has no label 'semseg'" in capsys.readouterr().err


def test_the_probe_is_the_same_twice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"ROOMS": 8, "TEST_ROOMS": 4, "TRAIN": {"steps": 2, "batch_size": 2}}.items():
        monkeypatch.setattr(f"petl_bench.pretrain.probe.{name}", value)
    told: list[str] = []
    for _ in range(2):
        with pytest.raises(SystemExit) as stopped:
            main(["pretrain", "--probe", "random"])
        assert not stopped.value.code
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    names = [line.partition(":")[0] for line in told[0].splitlines()]
    assert names == ["normal_x", "normal_y", "normal_z", "semseg", "human_parts", "saliency", "normals"]
