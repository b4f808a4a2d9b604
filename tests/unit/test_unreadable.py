"""A damaged file of a data set: named and stopped at, or skipped, and then the record says of which images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import resolved
from test_resume import breaking, terminate
from trees import write_folder

from petl_bench.config import RunConfig
from petl_bench.data.folder import Folder
from petl_bench.engine.run import run
from petl_bench.errors import UnreadableError, UsageError
from petl_bench.records.store import Store, read_scores

TASKS = ("semseg", "depth")
IMAGE, LABEL = "images/p001.jpg", "semseg/p005.png"  # one of the training images, one of the test images


def cut(path: Path) -> bytes:
    """Leave the beginning of a file, as a copy that was broken off does; return what it was."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


def config(root: Path, **changes: object) -> RunConfig:
    settings = {"name": "folder", **changes}
    runtime = {"root": str(root), "checkpoint_steps": 1}
    return resolved("decoders", TASKS, dataset=settings, train={"steps": 4, "batch_size": 2}, runtime=runtime)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_stops_with_the_name_and_goes_on_when_the_file_is_mended(workers: int, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data")
    whole = cut(root / "semseg/p001.png")
    asked = config(root)
    asked = asked.model_copy(update={"runtime": asked.runtime.model_copy(update={"workers": workers})})
    with pytest.raises(UnreadableError, match=r"p001\.png' cannot be read as a PNG") as stopped:
        run(asked, Store(tmp_path / "runs"))
    assert "Traceback" not in str(stopped.value)
    (root / "semseg/p001.png").write_bytes(whole)
    assert run(asked, Store(tmp_path / "runs")).record.status == "finished"


def test_a_skipped_image_is_black_and_a_skipped_label_without_truth(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    cut(root / IMAGE)
    cut(root / "semseg/p000.png")
    asked = config(root, on_unreadable="skip").dataset
    data = Folder(asked, "train", TASKS, root=root)
    batch = data.augmented([0, 1, 2], [1, 2, 3], asked)
    assert batch.unreadable == ("p000", "p001")
    assert batch.to(torch.device("cpu")).unreadable == batch.unreadable
    seen = data.batch([0, 1]).images  # training pictures have other colours
    assert float(seen[1].max()) == 0 < float(seen[0].max())
    assert (batch.labels["semseg"][:2] == 255).all()
    assert (batch.labels["depth"][1] == 0).all()
    assert (batch.labels["depth"][0] > 0).any()
    assert (batch.labels["semseg"][2] != 255).any()


def test_a_run_that_skips_names_what_it_skipped_however_it_was_loaded(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data")
    cut(root / IMAGE)
    cut(root / LABEL)
    asked = config(root, on_unreadable="skip")
    outcome = run(asked, Store(tmp_path / "runs"))
    record = outcome.record
    assert record.status == "finished", record.error
    assert record.caveats[-1] == "unreadable files of 2 images count for nothing: p001, p005"
    assert (record.metrics["semseg"].labelled_images, record.metrics["semseg"].scored_images) == (2, 3)
    scores = read_scores(outcome.folder)["semseg"]
    assert np.isnan(scores).tolist() == [False, False, True]
    working = asked.runtime.model_copy(update={"workers": 1})
    broken = Store(tmp_path / "broken")
    with pytest.raises(SystemExit):
        run(asked.model_copy(update={"runtime": working}), broken, breaking(3, terminate))
    again = run(asked.model_copy(update={"runtime": working}), broken).record
    assert again.resumed_at == (3,)
    assert (again.caveats, again.metrics, again.history) == (record.caveats, record.metrics, record.history)


def test_what_is_wrong_with_a_whole_data_set_is_never_skipped(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    text = (root / "dataset.toml").read_text(encoding="utf-8")
    (root / "dataset.toml").write_text(text.replace("classes = 4", "classes = 3"), encoding="utf-8")
    asked = config(root, on_unreadable="skip").dataset
    with pytest.raises(UsageError, match="with 3 output channels"):
        Folder(asked, "train", TASKS, root=root).batch(range(3))


def test_a_test_picture_that_no_input_can_hold_is_told_before_the_training(tmp_path: Path) -> None:
    asked, told = config(write_folder(tmp_path / "data"), protocol="atrc", image_size=[16, 16]), list[str]()
    with pytest.raises(UsageError, match=r"does not fit into an input of .*\nType: --set dataset.image_size="):
        run(asked, Store(tmp_path / "runs"), lambda phase, *_: told.append(phase))
    assert "train" not in told
