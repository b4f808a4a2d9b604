"""Output that is not UTF-8 ends no command."""

import io
from pathlib import Path

import pytest

from petl_bench.cli.main import main
from petl_bench.records.working import PLANNED


@pytest.mark.parametrize("form", ["csv", "table"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_is_a_question_mark(
    form: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".run↑").mkdir()
    (tmp_path / ".run↑" / PLANNED).write_text("{}")
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    with pytest.raises(SystemExit) as left:
        main(["status", str(tmp_path), "--format", form])
    out.flush()
    said = out.buffer.getvalue().decode(encoding)  # pyright: ignore[reportAttributeAccessIssue]
    assert left.value.code == 0
    assert ("run↑" if encoding == "utf-8" else "run?") in said
