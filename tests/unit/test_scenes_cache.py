"""The cache of rendered splits: rendered once, whole or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from petl_bench.data.scenes import CONTENT_HASH, LABELS, cache, cached_split, render
from petl_bench.data.scenes.worker import RenderingError, fill_with


def fail(*args: object) -> None:
    raise AssertionError("rendered again")


def names_in(base: Path) -> set[str]:
    return {entry.name for entry in (base / CONTENT_HASH).iterdir() if entry.suffix != ".lock"}


def test_arrays_hold_the_pictures_and_are_read_only(tmp_path):
    arrays = cached_split("target", "val", 3, 16, cache_dir=tmp_path, workers=1, progress=False)
    assert set(arrays) == {"image", *LABELS["target"]}
    for index in range(3):
        picture = render("target", "val", index, 16)
        assert np.array_equal(arrays["image"][index], picture.image)
        for name, label in picture.labels.items():
            assert np.array_equal(arrays[name][index], label)
            assert not arrays[name].flags.writeable


def test_several_workers_give_the_same_arrays_as_one(tmp_path):
    one = cached_split("source", "train", 70, 8, cache_dir=tmp_path / "a", workers=1, progress=False)
    two = cached_split("source", "train", 70, 8, cache_dir=tmp_path / "b", workers=2, progress=False)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_the_second_call_renders_nothing(tmp_path, monkeypatch):
    cached_split("target", "val", 3, 16, cache_dir=tmp_path, progress=False)
    monkeypatch.setattr(cache, "_render_into", fail)
    assert len(cached_split("target", "val", 3, 16, cache_dir=tmp_path)["image"]) == 3
    assert len(cached_split("target", "val", 2, 16, cache_dir=tmp_path)["image"]) == 2


def test_a_larger_split_reuses_the_smaller_one(tmp_path, monkeypatch):
    cached_split("target", "val", 2, 16, cache_dir=tmp_path, progress=False)
    rendered = []
    fill_here = cache.fill_here
    monkeypatch.setattr(cache, "fill_here", lambda *args: (rendered.extend(args[3]), fill_here(*args)))
    arrays = cached_split("target", "val", 4, 16, cache_dir=tmp_path, progress=False)
    assert rendered == [2, 3]
    for index in (0, 3):
        assert np.array_equal(arrays["image"][index], render("target", "val", index, 16).image)


def test_the_environment_variable_moves_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PETL_BENCH_CACHE", str(tmp_path))
    cached_split("source", "val", 1, 8, progress=False)
    assert names_in(tmp_path) == {"source-val-8px-1"}


def test_two_processes_at_once_render_once_and_agree(tmp_path):
    code = (
        "import sys; from pathlib import Path; from petl_bench.data.scenes.cache import cached_split\n"
        "arrays = cached_split('target', 'train', 40, 16, cache_dir=Path(sys.argv[1]), workers=1, progress=False)\n"
        "print(int(arrays['image'].sum()), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (run.communicate()[0] for run in runs)
    assert first == second
    assert first.split()[1] == "False"
    assert names_in(tmp_path) == {"target-train-16px-40"}


def test_rendering_with_workers_imports_no_main_module_and_no_torch(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys, types\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = types.ModuleType('torch')\n"
        "print('main runs')\n"
        "from pathlib import Path\n"
        "from petl_bench.data.scenes.cache import cached_split\n"
        "cached_split('source', 'train', 70, 8, cache_dir=Path(sys.argv[1]), workers=2, progress=True)\n"
    )
    root = str(Path(cache.__file__).parents[3])
    command = [sys.executable, str(script), str(tmp_path / "cache")]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "main runs\n"


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    code = (
        "import signal, sys; from pathlib import Path; from petl_bench.data.scenes.cache import cached_split\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "cached_split('target', 'train', 4000, 64, cache_dir=Path(sys.argv[1]), workers=2, progress=False)"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("scenes/*/*.tmp-*/edges.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    run.communicate()
    assert run.returncode != 0
    assert names_in(tmp_path) == set()


def test_a_failure_leaves_nothing_behind_and_the_next_call_works(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cache, "fill_here", fail)
        with pytest.raises(AssertionError, match="rendered again"):
            cached_split("target", "val", 2, 16, cache_dir=tmp_path, progress=False)
    assert names_in(tmp_path) == set()
    assert len(cached_split("target", "val", 2, 16, cache_dir=tmp_path, progress=False)["image"]) == 2


def test_a_half_written_folder_of_a_killed_process_is_swept_away(tmp_path):
    home = tmp_path / CONTENT_HASH
    left_over = home / "target-val-16px-9.tmp-killed"
    left_over.mkdir(parents=True)
    (left_over / "image.npy").write_bytes(b"half")
    cached_split("target", "val", 2, 16, cache_dir=tmp_path, progress=False)
    assert names_in(tmp_path) == {"target-val-16px-2"}


def test_a_failing_worker_says_why(tmp_path):
    with pytest.raises(RenderingError, match=r"image\.npy"):
        fill_with(2, {"image": tmp_path / "image.npy"}, "target", "val", range(40), 16, lambda done: None)


def test_a_worker_that_is_killed_is_an_error_and_leaves_nothing_behind(tmp_path):
    code = (
        "import sys; from pathlib import Path; from petl_bench.data.scenes import cached_split\n"
        "cached_split('target', 'train', 4000, 64, cache_dir=Path(sys.argv[1]), workers=2, progress=False)"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (workers := workers_of(run.pid)) or not list(tmp_path.glob("scenes/*/*.tmp-*/edges.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(workers[0], signal.SIGKILL)
    errors = run.communicate()[1]
    assert run.returncode == 1
    assert "RenderingError: a process that renders scenes was ended from outside" in errors
    assert names_in(tmp_path) == set()


def workers_of(parent: int) -> list[int]:
    """The processes of loky below a process."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    numbers = [int(number) for number in children.read_text().split()]
    return [number for number in numbers if b"LokyProcess" in Path(f"/proc/{number}/cmdline").read_bytes()]


def truncate(folder: Path) -> None:
    os.truncate(folder / "edges.npy", 200)


def empty(folder: Path) -> None:
    (folder / "semseg.npy").write_bytes(b"")


def remove(folder: Path) -> None:
    (folder / "image.npy").unlink()


def forget(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def swap(folder: Path) -> None:
    """Another array of as many bytes."""
    old = np.load(folder / "edges.npy")
    np.save(folder / "edges.npy", np.zeros((old.shape[0], old.shape[2] * 2, old.shape[1] // 2), old.dtype))


@pytest.mark.parametrize("damage", [truncate, empty, remove, forget, swap], ids=lambda damage: damage.__name__)
def test_a_damaged_folder_is_made_again(tmp_path, damage, capfd):
    first = cached_split("target", "val", 2, 16, cache_dir=tmp_path, progress=False)
    expected = {name: np.array(array) for name, array in first.items()}
    del first
    damage(tmp_path / CONTENT_HASH / "target-val-16px-2")
    again = cached_split("target", "val", 2, 16, cache_dir=tmp_path)
    assert "is damaged and made again" in capfd.readouterr().err.replace("\n", " ")
    assert all(np.array_equal(again[name], expected[name]) for name in expected)
    assert names_in(tmp_path) == {"target-val-16px-2"}


def test_a_larger_split_does_not_take_over_a_changed_byte(tmp_path):
    cached_split("target", "val", 2, 16, cache_dir=tmp_path, progress=False)
    image = np.load(tmp_path / CONTENT_HASH / "target-val-16px-2" / "image.npy", mmap_mode="r+")
    image[0, 0, 0, 0] ^= 1
    image.flush()
    arrays = cached_split("target", "val", 3, 16, cache_dir=tmp_path, progress=False)
    assert np.array_equal(arrays["image"][0], render("target", "val", 0, 16).image)
    assert names_in(tmp_path) == {"target-val-16px-3"}


def test_a_cache_that_cannot_be_written_says_what_to_set(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OSError, match="set PETL_BENCH_CACHE"):
        cached_split("target", "val", 1, 16, cache_dir=blocked, progress=False)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="source, target"):
        cached_split("nowhere", "train", 1, 16, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="count must be 1 or more"):
        cached_split("target", "train", 0, 16, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="workers must be 1 or more"):
        cached_split("target", "train", 1, 16, cache_dir=tmp_path, workers=0)
    assert not list(tmp_path.iterdir())
