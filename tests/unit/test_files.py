"""A file or a folder appears whole, or what was there before stays."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from petl_bench.files import appearing, appearing_folder

Appearing = Callable[[Path], AbstractContextManager[Path]]


def write(place: Path, text: str) -> None:
    (place / "inner" if place.is_dir() else place).write_text(text)


def read(place: Path) -> str:
    return (place / "inner" if place.is_dir() else place).read_text()


@pytest.mark.parametrize("how", [appearing, appearing_folder])
def test_it_appears_whole_and_replaces_the_older_one(how: Appearing, tmp_path: Path) -> None:
    target = tmp_path / "new" / "target"
    for text in ("first", "second"):
        with how(target) as scratch:
            write(scratch, text)
            assert not target.exists() or read(target) == "first"
        assert read(target) == text
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("how", [appearing, appearing_folder])
def test_a_failure_leaves_the_older_one_and_no_scratch(how: Appearing, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with how(target) as scratch:
        write(scratch, "first")

    def fail() -> None:
        with how(target) as scratch:
            write(scratch, "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert read(target) == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("how", [appearing, appearing_folder])
def test_what_appears_can_be_read_by_others(how: Appearing, tmp_path: Path) -> None:
    with how(tmp_path / "target") as scratch:
        write(scratch, "text")
    assert (tmp_path / "target").stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize("how", [appearing, appearing_folder])
def test_a_place_that_cannot_be_written_is_an_error_of_the_system(how: Appearing, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), how(tmp_path / "file" / "target"):
        pass
