"""A method of one's own, in a package of one's own, installed beside petl-bench: no fork, no change to petl-bench."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]  # first on the path, so that no other installed copy is run
PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "mylab-methods"
version = "0.1"

[project.entry-points."petl_bench.methods"]
mylab = "mylab_methods"
"""

METHOD = '''"""Channel gates: every MLP's output times a gain per channel, one vector per task or one for all.

Paper: none.
Differs from the paper: nothing.
"""

from torch import Tensor, nn

from petl_bench.features import PerTask, split
from petl_bench.method import Counts, Method, ScopedConfig
from petl_bench.method import METHODS


class Gate(PerTask):
    """y[t] = (1 + gain[t]) * module(x[t])."""

    vectors = ("gain",)

    def __init__(self, module: nn.Module, width: int, tasks: tuple[str, ...] | None) -> None:
        super().__init__(tasks)
        self.module = module
        self.gain = self.stack(width)

    def forward(self, x: Tensor) -> Tensor:
        out = self.module(x)
        return ((1 + self.gain).unsqueeze(1) * split(out, self.num_rows)).view_as(out)


@METHODS.register("channel-gates")
class ChannelGates(Method):
    """Gates behind every MLP."""

    paper = ""
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    Config = ScopedConfig

    def adapt(self) -> None:
        for site in self.backbone.sites("mlp"):
            self.backbone.replace(site, Gate(site.module, site.width, self.scope_tasks))

    def expected_parameters(self) -> Counts:
        return self.scoped("sum_C", sum_C=sum(self.widths))
'''


def call(*command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed in ``site``."""
    folder = tmp_path_factory.mktemp("own_package")
    package = folder / "source" / "mylab_methods"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Methods of my lab."""\n\nPETL_BENCH_API = 1\n')
    (package / "channel_gates.py").write_text(METHOD)
    (folder / "source" / "pyproject.toml").write_text(PYPROJECT)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    options = ["--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    done = call(*pip, *options, str(folder / "source"), folder=folder, environment={})
    assert done.returncode == 0, done.stderr
    (folder / "work").mkdir()
    return folder


def typed(place: Path, *arguments: str) -> str:
    """Run petl-bench where the package can be found, and return what it prints."""
    environment = {"PYTHONPATH": f"{place / 'site'}{os.pathsep}{ROOT}", "PETL_BENCH_CACHE": str(place / "cache")}
    command = [sys.executable, "-m", "petl_bench", *arguments]
    done = call(*command, folder=place / "work", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_method_of_an_installed_package_is_listed_checked_run_and_reported(place: Path) -> None:
    rows = {row["name"]: row for row in json.loads(typed(place, "list", "methods", "--format", "json"))}
    assert rows["channel-gates"]["executions"] == ["forked", "shared"]
    assert "vmt" in rows

    verdicts = json.loads(typed(place, "check", "channel-gates", "--backbone", "vit", "--format", "json"))
    assert {row["verdict"] for row in verdicts} <= {"ok", "not applicable"}

    typed(place, "run", "--method", "channel-gates", "--budget", "smoke", "--tasks", "2")
    (path,) = (place / "work" / "runs").glob("channel-gates-s0-*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "finished"
    assert record["parameters"]["per_task"] == 2 * (32 + 2 * 64 + 6 * 128 + 2 * 256)

    typed(place, "report")
    assert "channel-gates" in (place / "work" / "runs" / "report" / "report.md").read_text()


def test_without_the_package_the_method_is_unknown(place: Path) -> None:
    command = [sys.executable, "-m", "petl_bench", "run", "--method", "channel-gates", "--dry-run"]
    done = call(*command, folder=place / "work", environment={})
    assert done.returncode == 2
    assert "Unknown method 'channel-gates'" in done.stderr
