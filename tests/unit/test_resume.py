"""A run that is broken off goes on from where it was, and ends as if nothing had happened."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from petl_bench import plan, plugins
from petl_bench.config import RunConfig, merge
from petl_bench.engine.run import run
from petl_bench.errors import UsageError
from petl_bench.records.owner import myself
from petl_bench.records.run import RunRecord
from petl_bench.records.store import SCORES, STATISTICS, WEIGHTS, Store
from petl_bench.records.working import CHECKPOINT, header_of

STEPS = 8


def smoke(name: str = "vmt", **sections: object) -> RunConfig:
    settings = {
        "method": {"name": name},
        "backbone": {"name": "embedded", "weights": "random"},
        "dataset": {"image_size": 32},
        "decoder": {"name": "segformer", "width": 16},
        "budget": "smoke",
        "tasks": ["semseg", "normals"],
        "runtime": {"device": "cpu", "threads": 1, "checkpoint_seconds": 1000},
    }
    return plan.plan(merge(settings, sections), plugins.vocabulary)


def breaking(at: int, how: Callable[[], None], phase: str = "train") -> Callable[[str, int, int, str], None]:
    def watch(now: str, done: int, total: int, state: str) -> None:
        if (now, done) == (phase, at):
            how()

    return watch


def interrupt() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def working(store: Path) -> Path:
    (folder,) = store.glob(".vmt-*")
    return folder


def assert_same(one: Path, two: Path, first: RunRecord, second: RunRecord) -> None:
    """Parameters, metrics, curve and the scores of every image, to the last bit."""
    a, b = one / first.folder_name, two / second.folder_name
    assert first.fingerprint == second.fingerprint
    assert first.metrics == second.metrics
    assert first.history == second.history
    assert first.flatness == second.flatness
    weights, others = load_file(a / WEIGHTS), load_file(b / WEIGHTS)
    assert weights.keys() == others.keys()
    assert [name for name in weights if weights[name].tobytes() != others[name].tobytes()] == []
    for name in (SCORES, STATISTICS):
        with np.load(a / name) as left, np.load(b / name) as right:
            assert left.files == right.files
            assert all(left[key].tobytes() == right[key].tobytes() for key in left.files)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    store = tmp_path_factory.mktemp("undisturbed")
    return store, run(smoke(), Store(store)).record


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_terminated_loses_no_step_and_ends_bitwise_the_same(
    workers: int, undisturbed: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    config = smoke(runtime={"workers": workers})
    said: list[str] = []
    with pytest.raises(SystemExit) as left:
        run(config, Store(tmp_path), breaking(5, terminate), say=said.append)
    assert left.value.code == 128 + signal.SIGTERM
    assert said == ["stopped after step 5: the same command goes on from there"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    outcome = run(config, Store(tmp_path), say=said.append)
    assert said[1].startswith("goes on from step 5, saved at ")
    assert outcome.record.resumed_at == (5,)
    assert_same(undisturbed[0], tmp_path, undisturbed[1], outcome.record)
    assert [path.name for path in tmp_path.iterdir()] == [outcome.record.folder_name]


def test_a_run_that_is_broken_off_again_and_again_loses_what_came_after_the_last_saved_step(
    undisturbed: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    config = smoke(runtime={"checkpoint_steps": 2})
    for step in (1, 3, 4, 7):
        with pytest.raises(KeyboardInterrupt):
            run(config, Store(tmp_path), breaking(step, interrupt))
    outcome = run(config, Store(tmp_path))
    assert outcome.record.resumed_at == (2, 6), "steps from which it was saved again"
    assert_same(undisturbed[0], tmp_path, undisturbed[1], outcome.record)


@pytest.mark.parametrize(
    ("name", "balancer"), [("single", "famo"), ("lora", "uncertainty"), ("mtlora", "dwa"), ("full", "pcgrad")]
)
def test_every_balancer_and_execution_goes_on_bitwise(name: str, balancer: str, tmp_path: Path) -> None:
    period = {"period": 2} if balancer == "dwa" else {}
    config = smoke(name, train={"balancer": {"name": balancer, **period}})
    whole = run(config, Store(tmp_path / "whole")).record
    with pytest.raises(SystemExit):
        run(config, Store(tmp_path / "broken"), breaking(5, terminate))
    broken = run(config, Store(tmp_path / "broken")).record
    assert broken.resumed_at == (5,)
    assert_same(tmp_path / "whole", tmp_path / "broken", whole, broken)


def test_what_was_trained_is_on_disk_before_evaluation(undisturbed: tuple[Path, RunRecord], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(smoke(), Store(tmp_path), breaking(8, interrupt, "evaluate"))
    header = header_of(working(tmp_path) / CHECKPOINT)
    assert header is not None
    assert header.step == STEPS
    trained: list[int] = []
    outcome = run(smoke(), Store(tmp_path), lambda phase, done, *_: trained.append(done) if phase == "train" else None)
    assert trained == []
    assert_same(undisturbed[0], tmp_path, undisturbed[1], outcome.record)
    assert outcome.record.environment.dtype == "float32"


def test_evaluate_only_makes_results_again_and_trains_nothing(
    undisturbed: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(undisturbed[0], store)
    folder = store / undisturbed[1].folder_name
    for name in ("predictions.png", SCORES, STATISTICS):
        (folder / name).unlink()
    phases: set[str] = set()
    outcome = run(smoke(), Store(store), lambda phase, *_: phases.add(phase), evaluate_only=True)
    assert phases == {"evaluate"}
    assert outcome.record.evaluated is not None
    assert outcome.record.seconds.train == undisturbed[1].seconds.train
    assert_same(undisturbed[0], store, undisturbed[1], outcome.record)
    assert (folder / "predictions.png").exists()


def test_evaluate_only_without_a_finished_training_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing in"):
        run(smoke(), Store(tmp_path), evaluate_only=True)
    with pytest.raises(SystemExit):
        run(smoke(), Store(tmp_path), breaking(3, terminate))
    with pytest.raises(UsageError, match="a state after step 3 of 8"):
        run(smoke(), Store(tmp_path), evaluate_only=True)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes(100))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def oversized_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])


def of_another_engine(path: Path) -> None:
    content = path.read_bytes()
    before = b'engine_version\\":'
    at = content.index(before) + len(before)
    path.write_bytes(content[:at] + b"9" + content[at + 1 :])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (truncated, "not a whole one"),
        (overwritten, "its content is not what was written"),
        (empty, "no checkpoint, or not a whole one"),
        (oversized_header, "no checkpoint, or not a whole one"),
        (of_another_engine, "version 9 of the training loop wrote it"),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_put_aside_in_words(
    damage: Callable[[Path], None], why: str, undisturbed: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        run(smoke(), Store(tmp_path), breaking(5, terminate))
    damage(working(tmp_path) / CHECKPOINT)
    damaged = (working(tmp_path) / CHECKPOINT).read_bytes()
    said: list[str] = []
    outcome = run(smoke(), Store(tmp_path), say=said.append)
    assert len(said) == 1
    assert why in said[0]
    assert "training begins at step 0" in said[0]
    assert outcome.record.resumed_at == ()
    assert_same(undisturbed[0], tmp_path, undisturbed[1], outcome.record)
    assert (working(tmp_path) / "refused.safetensors").read_bytes() == damaged, "a file was lost"


def test_the_checkpoint_of_another_run_is_put_aside(undisturbed: tuple[Path, RunRecord], tmp_path: Path) -> None:
    for seed in (0, 1):
        with pytest.raises(SystemExit):
            run(smoke(seed=seed), Store(tmp_path), breaking(2, terminate))
    one, other = sorted(tmp_path.glob(".vmt-*"))
    shutil.copyfile(other / CHECKPOINT, one / CHECKPOINT)
    said: list[str] = []
    outcome = run(smoke(), Store(tmp_path), say=said.append)
    assert "a run of other settings, weights or data" in said[0]
    assert_same(undisturbed[0], tmp_path, undisturbed[1], outcome.record)


def test_force_begins_at_the_first_step(undisturbed: tuple[Path, RunRecord], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run(smoke(), Store(tmp_path), breaking(5, terminate))
    outcome = run(smoke(), Store(tmp_path), force=True)
    assert outcome.record.resumed_at == ()
    assert_same(undisturbed[0], tmp_path, undisturbed[1], outcome.record)


def test_a_failure_keeps_its_last_state_and_a_finished_record_outlives_it(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("it broke")

    config = smoke(runtime={"checkpoint_steps": 2})
    failed = run(config, Store(tmp_path), breaking(5, fail)).record
    assert failed.status == "failed"
    assert "it broke" in (failed.error or "")
    finished = run(config, Store(tmp_path)).record
    assert finished.resumed_at == (4,)
    again = run(config, Store(tmp_path), breaking(5, fail), force=True).record
    assert again.status == "failed"
    assert Store(tmp_path).find(finished.folder_name) == finished


def test_a_killed_data_worker_fails_the_run_and_costs_no_step(
    undisturbed: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    def kill() -> None:
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()

    config = smoke(runtime={"workers": 1})
    failed = run(config, Store(tmp_path), breaking(3, kill)).record
    assert failed.status == "failed"
    assert "DataLoader worker" in (failed.error or "")
    header = header_of(working(tmp_path) / CHECKPOINT)
    assert header is not None
    record = run(config, Store(tmp_path)).record
    assert record.resumed_at == (header.step,)
    assert header.step >= 3
    assert_same(undisturbed[0], tmp_path, undisturbed[1], record)


def test_a_working_folder_that_vanishes_ends_the_run_in_words(tmp_path: Path) -> None:
    config = smoke(runtime={"checkpoint_steps": 1})
    with pytest.raises(UsageError, match="its folder was removed"):
        run(config, Store(tmp_path), breaking(3, lambda: shutil.rmtree(working(tmp_path))))
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_what_a_process_left_that_was_killed_at_its_very_end_is_tidied_when_the_run_is_found(
    undisturbed: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(undisturbed[0], store)
    left = store / f".{undisturbed[1].folder_name}"
    left.mkdir()
    (left / "claim-1.json").write_text(myself().model_copy(update={"started": "1"}).model_dump_json())
    (left / CHECKPOINT).touch()
    assert run(smoke(), Store(store)).found
    assert not left.exists()
