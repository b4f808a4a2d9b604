"""`data check`, `data guide` and `data demo`, typed as a user types them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import classes_of, write_folder, write_nyud, write_pascal, write_png

from petl_bench.audit.check import audit
from petl_bench.cli.main import main
from petl_bench.data.nyud import NYUD
from petl_bench.data.pascal_context import PascalContext


def typed(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.mark.parametrize("name", ["pascal-context", "nyud", "folder"])
def test_a_miniature_is_what_the_data_set_reads(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "demo"
    assert typed("data", "demo", name, root, "--images", 3, "--size", 64) == 0
    assert f"petl-bench data check {name} --root {root}" in capsys.readouterr().out
    seen = audit(name, root)
    assert seen.counts == {"train": 2, "test": 1}
    assert seen.read == 3
    assert dict(seen.sizes) == {(48, 64): 3}
    assert [finding for finding in seen.wrong if "published" not in finding] == []
    assert all(one.valid > 0 for one in seen.tasks.values())
    assert len(seen.tasks) == {"pascal-context": 5, "nyud": 4, "folder": 5}[name]


def test_a_miniature_is_written_into_an_empty_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert typed("data", "demo", "nyud", tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert typed("data", "demo", "nyut", tmp_path / "new") == 2
    assert "Did you mean 'nyud'" in capsys.readouterr().err


def test_a_whole_data_set_is_found_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_folder(tmp_path / "data")
    assert typed("data", "check", "folder", "--root", root) == 0
    said = capsys.readouterr().out
    assert "folder: train 3, test 3" in said
    assert "depth: 2 of 6 images have no label, so no truth" in said
    assert "read: 6 images of 1 sizes (24 x 32: 6)" in said
    assert "1 to 2.5" in said  # metres
    assert "digest: folder/1/" in said
    with Image.open(tmp_path / "folder-check.png") as sheet:
        assert sheet.info["Software"] == "petl-bench data check"
    assert typed("data", "check", "folder", "--root", root) == 0  # its own sheet is drawn again


def test_a_sheet_takes_no_other_file_s_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "data")
    write_png(tmp_path / "mine.png", classes_of(0))
    before = (tmp_path / "mine.png").read_bytes()
    assert typed("data", "check", "folder", "--root", root, "--out", tmp_path / "mine.png") == 2
    assert "no sheet of ours" in capsys.readouterr().err
    assert (tmp_path / "mine.png").read_bytes() == before


def test_everything_that_is_off_is_listed_and_the_exit_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_pascal(tmp_path / "data")
    broken = root / "sal_distill" / "2008_000001.png"
    broken.write_bytes(broken.read_bytes()[:40])
    write_png(root / "semseg" / "VOC12" / "2008_000002.png", np.full((24, 32), 77, dtype=np.uint8))
    (root / "JPEGImages" / "2009_000003.jpg").unlink()
    (root / "human_parts" / "2008_000002.mat").unlink()
    assert typed("data", "check", "pascal-context", "--root", root, "--out", tmp_path / "sheet.png") == 1
    said = capsys.readouterr().out
    assert "train names 2 images; published are 4998" in said
    assert "1 images are missing: 2009_000003" in said
    assert "1 images have no label of human_parts: 2008_000002" in said
    assert "sal_distill/2008_000001.png' cannot be read" in said
    assert "holds 77; as semseg with 21 output channels" in said
    assert (tmp_path / "sheet.png").is_file()


def test_the_packaging_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_nyud(tmp_path / "data", "B")
    assert typed("data", "check", "nyud", "--root", root, "--out", tmp_path / "sheet.png") == 1  # it is a small tree
    assert "nyud, packaging B (Multi-Task-Learning-PyTorch, MTLoRA): train 2 (published 795)" in capsys.readouterr().out


def test_the_digest_is_the_one_of_the_records(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    config = PascalContext.Config(name="pascal-context", image_size=32, train_images=9, test_images=9)
    known = PascalContext.content_hash(config, root=root, tasks=tuple(PascalContext.tasks))
    assert audit("pascal-context", root).digest == known


def test_a_part_of_the_images_can_be_read(tmp_path: Path) -> None:
    seen = audit("nyud", write_nyud(tmp_path, "C", tuple(f"{i:04d}" for i in range(9))), limit=3)
    assert seen.read == 3


def test_guides_say_where_data_come_from_and_import_no_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("data", "guide", "pascal-context") == 0
    said = capsys.readouterr().out
    assert "PASCAL_MT.tgz" in said
    assert "Licence" in said
    assert typed("data", "guide", "nyudd") == 2
    assert "Did you mean 'nyud'" in capsys.readouterr().err


def test_drawn_data_have_nothing_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("data", "check", "scenes", "--root", tmp_path) == 2
    assert "not read from files" in capsys.readouterr().err


def test_known_counts_are_the_published_ones() -> None:
    assert PascalContext.known_counts == {"train": 4998, "test": 5105}
    assert NYUD.known_counts == {"train": 795, "test": 654}
