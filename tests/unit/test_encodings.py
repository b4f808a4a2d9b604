"""Output that is not UTF-8 ends no command."""

import io
from pathlib import Path

import pytest
from report_store import usual, write

from petl_bench.cli.main import main


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_report_is_printed_in_any_encoding(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write(tmp_path / "runs", usual("vmt", 0.0, seeds=[0]))
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    with pytest.raises(SystemExit) as left:
        main(["report", str(store), "--out", str(tmp_path / "out")])
    out.flush()
    said = out.buffer.getvalue().decode(encoding)  # pyright: ignore[reportAttributeAccessIssue]
    assert left.value.code == 0
    assert "vmt" in said
    assert ("↑" in said) == (encoding == "utf-8"), "the table had nothing that the encoding lacks"
