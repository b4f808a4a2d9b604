"""Pre-training: resumed is the same as uninterrupted, and a fresh start forgets what was there."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from petl_bench.pretrain.pretrain import Recipe, pretrain
from petl_bench.pretrain.teacher import teach

RECIPE = Recipe(images=16, steps=5, batch_size=2, checkpoint_every=2)


class StoppedError(Exception):
    pass


def trained(folder: Path, *, resume: bool = False, stop_after: int | None = None) -> list[int]:
    """Train into ``folder`` and return the steps that were made."""
    steps: list[int] = []

    def tell(step: int, loss: float, speed: float) -> None:
        steps.append(step)
        if step == stop_after:
            raise StoppedError

    with contextlib.suppress(StoppedError):
        pretrain(RECIPE, resume=resume, taught=lambda _: None, tell=tell, weights=folder / "weights.safetensors")
    return steps


@pytest.mark.usefixtures("one_thread")
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, monkeypatch) -> None:
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


def test_the_teachers_features_are_standardised_and_never_half_written(tmp_path: Path, monkeypatch) -> None:
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
