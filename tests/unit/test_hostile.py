"""Files that run code, take all memory or never end are refused in words; no line of the code could open one."""

import ast
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from petl_bench.backbones.build import build_backbone, weights_hash
from petl_bench.data.readers import read_npy
from petl_bench.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml", "pandas.read_pickle"}
CALLS = {"eval", "exec", "read_pickle", "unsafe_load"}
ALLOWED = {
    ("petl_bench/backbones/build.py", "pickle"): "a copy of a network of this process, never from a file",
    ("petl_bench/measure/count/guard.py", "pickle"): "likewise",
    ("petl_bench/counts.py", "eval"): "a literal of a method's file, without builtins",
}


def risks(tree: ast.AST) -> Iterator[str]:
    """Yield what in a file could run what another file holds."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (name for name in names if name.partition(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(getattr(node.func, "value", None), "id", "")
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        is_method = isinstance(node.func, ast.Attribute)
        if called in CALLS and not (is_method and called in ("eval", "exec")):  # module.eval() is torch's
            yield called
        if (owner, called) == ("torch", "load") and keywords.get("weights_only") != "True":
            yield "torch.load"
        if (owner, called) == ("np", "load") and keywords.get("allow_pickle") != "False":
            yield "np.load"


def test_no_file_could_open_a_pickle() -> None:
    files = [path for folder in ("petl_bench", "methods") for path in (ROOT / folder).rglob("*.py")]
    found = {
        (str(path.relative_to(ROOT)), risk) for path in files for risk in risks(ast.parse(path.read_text("utf-8")))
    }
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import yaml",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "pd.read_pickle(path)",
    ],
)
def test_a_planted_line_is_found(line: str) -> None:
    assert [*risks(ast.parse(line))]


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w')",)


def torch_pickle(path: Path, opened: Path) -> None:
    torch.save({"weight": Malicious(opened)}, path)


def zeros(path: Path, opened: Path) -> None:
    path.touch()
    os.truncate(path, 10 * 2**30)


def oversized_header(path: Path, opened: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def of_a_gigantic_tensor(path: Path, opened: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def pipe(path: Path, opened: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, opened: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [torch_pickle, zeros, oversized_header, of_a_gigantic_tensor, pipe, folder])
def test_a_hostile_file_of_weights_is_refused_at_once(make, tmp_path: Path) -> None:
    path, opened = tmp_path / "weights.safetensors", tmp_path / "opened"
    make(path, opened)
    answers: list[Exception] = []

    def ask() -> None:
        try:
            weights_hash("embedded", f"file:{path}", 32)
        except Exception as error:
            answers.append(error)

    asked = threading.Thread(target=ask, daemon=True)
    asked.start()
    asked.join(60)
    assert [type(answer) for answer in answers] == [UsageError], answers
    assert str(path) in str(answers[0])
    assert not opened.exists(), "code of the file ran"


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_named_and_not_the_learning_rate(bad: float, tmp_path: Path) -> None:
    trunk = build_backbone("embedded", weights="random", image_size=32, seed=0).trunk
    state = {name: tensor.contiguous().clone() for name, tensor in trunk.state_dict().items()}
    name = [name for name in state if name.endswith("mlp.fc1.weight")][1]
    state[name].view(-1)[7] = bad
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match=f"holds NaN or infinity, first in '{name}'"):
        weights_hash("embedded", f"file:{tmp_path / 'weights.safetensors'}", 32)


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    np.save(tmp_path / "label.npy", np.array([Malicious(opened)], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"label\.npy"):
        read_npy(tmp_path / "label.npy")
    assert not opened.exists()
