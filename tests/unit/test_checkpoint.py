"""The state of a training on disk: whole, typed, and never half of it."""

import resource
from pathlib import Path

import pytest
import torch

from petl_bench.engine.checkpoint import RefusedError, read_checkpoint, write_checkpoint
from petl_bench.records.working import header_of

RUN = {"fingerprint": "f" * 64, "engine_version": 2}


def test_types_values_and_keys_come_back_as_they_were(tmp_path: Path) -> None:
    tensor = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    state = {
        "optimizer": {"state": {0: {"step": torch.tensor(4.0), "mean": tensor}}, "groups": [{"betas": (0.9, 0.999)}]},
        "same": tensor,
        "flags": torch.tensor([True, False]),
        "half": tensor.bfloat16(),
        "empty": torch.empty(0),
        "plain": [None, True, 1, 0.1 + 0.2, "words", [], {}],
    }
    write_checkpoint(tmp_path / "file", state, step=4, **RUN)
    header, back = read_checkpoint(tmp_path / "file", **RUN)
    assert (header.step, header) == (4, header_of(tmp_path / "file"))
    assert back["optimizer"]["groups"] == [{"betas": (0.9, 0.999)}]
    assert back["plain"] == state["plain"]
    assert torch.equal(back["optimizer"]["state"][0]["mean"], tensor)
    for name in ("same", "flags", "half", "empty"):
        assert back[name].dtype == state[name].dtype
        assert torch.equal(back[name], state[name])


def test_what_is_neither_tensor_nor_plain_is_refused_when_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="holds a object"):
        write_checkpoint(tmp_path / "file", {"a": object()}, step=0, **RUN)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_the_state_before_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_checkpoint(path, {"a": torch.zeros(10)}, step=1, **RUN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"(?i)file too large|space|i/o"):
            write_checkpoint(path, {"a": torch.zeros(10_000)}, step=2, **RUN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_checkpoint(path, **RUN)[0].step == 1
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_pickle_by_that_name_is_refused_and_not_opened(tmp_path: Path) -> None:
    opened = tmp_path / "opened"

    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(opened)!r}, 'w')",)

    torch.save(Malicious(), tmp_path / "file")
    with pytest.raises(RefusedError, match="no checkpoint"):
        read_checkpoint(tmp_path / "file", **RUN)
    assert not opened.exists()
