"""The distribution: what is in it, and that it works once installed, outside the repository.

Needs the extra ``dev``. The inner environments see the libraries of the outer one through a ``.pth`` file, so that
torch is not installed again; their own site-packages come first.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DATA = (
    "petl_bench/backbones/names.tsv",
    "petl_bench/backbones/weights/README.md",
    "petl_bench/backbones/weights/embedded.safetensors",
    "petl_bench/defaults.json",
    "petl_bench/py.typed",
)
SECONDS = 900


def call(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command without what the outer environment would make Python find."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**kept, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def must(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = call(command, folder, environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True)
class Installed:
    """An environment with petl-bench in it, and an empty folder to work in.

    Attributes:
        prefix: The environment.
        folder: Where commands are run; outside the repository and the environment.
        home: Where its ``petl_bench`` and ``methods`` must lie.
    """

    prefix: Path
    folder: Path
    home: Path

    @property
    def python(self) -> Path:
        return self.prefix / "bin" / "python"

    @property
    def environment(self) -> dict[str, str]:
        return {"PETL_BENCH_CACHE": str(self.folder / "cache")}

    def type(self, *arguments: str) -> str:
        """Run ``petl-bench`` and return what it prints."""
        return must([self.prefix / "bin" / "petl-bench", *arguments], self.folder, self.environment).stdout

    def where(self, package: str) -> Path:
        """Return the folder that Python finds a package in."""
        program = f"from importlib.util import find_spec; print(find_spec({package!r}).origin)"
        return Path(must([self.python, "-c", program], self.folder).stdout.strip()).parent


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository without what git ignores: building leaves nothing in the clone."""
    folder = tmp_path_factory.mktemp("source") / "petl-bench"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:  # an unpacked sdist
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "runs"))
        return folder
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def distributions(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel made from it."""
    out = tmp_path_factory.mktemp("dist")
    must([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], out)
    return out


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("petl_bench-*.whl")
    return found


def install(what: Sequence[str | Path], folder: Path) -> Path:
    """Make an environment, install one thing and nothing it needs, and return its site-packages."""
    prefix = folder / "environment"
    venv.create(prefix, with_pip=False, symlinks=True)
    (site,) = prefix.glob("lib/python*/site-packages")
    outer = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    assert outer, sys.path
    (site / "outer.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", prefix / "bin" / "python", "--disable-pip-version-check"]
    options = ["--quiet", "--no-input", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    must([*pip, "install", *options, *what], folder)
    return site


@pytest.fixture(scope="module")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    base = tmp_path_factory.mktemp("wheel")
    site = install([wheel], base)
    (base / "work").mkdir()
    return Installed(base / "environment", base / "work", site)


@pytest.fixture(scope="module")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    base = tmp_path_factory.mktemp("editable")
    install(["-e", source], base)
    (base / "work").mkdir()
    return Installed(base / "environment", base / "work", source)


@pytest.fixture(params=["from_wheel", "editable"])
def installed(request: pytest.FixtureRequest) -> Installed:
    return request.getfixturevalue(request.param)


def test_the_wheel_holds_two_packages_with_their_data_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {PurePosixPath(name).parts[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"petl_bench", "methods"}
    assert not {*DATA, "methods/vmt.py"} - names
    experiments = {path.relative_to(ROOT).as_posix() for path in (ROOT / "experiments").rglob("*.toml")}
    assert {"experiments/main.toml", "experiments/published/vmt.toml"} <= experiments
    assert not {f"petl_bench/{path}" for path in experiments} - names
    odd = [name for name in names if "tests" in PurePosixPath(name).parts or name.endswith(".pyc")]
    assert not odd


def test_the_sdist_holds_what_builds_and_tests_it(distributions: Path) -> None:
    (path,) = distributions.glob("petl_bench-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {*DATA, "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "experiments/main.toml"}
    assert not needed - names
    assert {"tests/packaging/test_packaging.py", "reports/main/report.md"} <= names
    reports = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reports").rglob("*") if path.is_file()}
    assert not reports - names  # tests make them again


def test_an_installation_is_found_in_its_own_place(installed: Installed) -> None:
    for package in ("petl_bench", "methods"):
        assert installed.where(package).resolve() == (installed.home / package).resolve()


def test_an_installation_lists_its_methods_and_experiments(installed: Installed) -> None:
    shipped = {p.stem.replace("_", "-") for p in (ROOT / "methods").glob("*.py") if not p.stem.startswith("_")}
    methods = {row["name"] for row in json.loads(installed.type("list", "methods", "--format", "json"))}
    assert methods == shipped
    experiments = {row["name"] for row in json.loads(installed.type("list", "experiments", "--format", "json"))}
    assert experiments == {path.stem for path in (ROOT / "experiments").glob("*.toml")}
    assert "main" in installed.type("list", "experiments")


def test_an_installation_tells_its_version(installed: Installed, wheel: Path) -> None:
    assert installed.type("--version").strip() == wheel.name.split("-")[1]


def test_an_installation_begins_a_new_method(installed: Installed) -> None:
    assert "petl-bench check low_branch:LowBranch" in installed.type("new", "method", "low-branch")
    assert {"low_branch.py", "test_low_branch.py"} <= {path.name for path in installed.folder.iterdir()}


def test_an_installation_resolves_the_main_job(installed: Installed) -> None:
    config = json.loads(installed.type("run", "--method", "vmt", "--tasks", "4", "--dry-run"))
    assert config["tasks"] == ["semseg", "human_parts", "saliency", "normals"]
    assert (config["backbone"]["name"], config["backbone"]["weights"]) == ("embedded", "pretrained")


def test_the_wheel_runs_the_main_job_and_reports_it(from_wheel: Installed) -> None:
    runs = from_wheel.folder / "out"
    from_wheel.type("run", "--method", "vmt", "--tasks", "4", "--budget", "smoke", "--out", str(runs))
    (record,) = runs.glob("vmt-s0-*/record.json")
    assert json.loads(record.read_text(encoding="utf-8"))["status"] == "finished"
    assert record.with_name("predictions.png").is_file()
    assert str(runs / "report") in from_wheel.type("report", str(runs))
    assert any((runs / "report").glob("*.md"))


@pytest.mark.parametrize("way", ["PYTHONPATH", "working folder"])
def test_a_foreign_package_named_methods_is_refused(installed: Installed, tmp_path: Path, way: str) -> None:
    foreign = tmp_path / "methods"
    foreign.mkdir()
    (foreign / "__init__.py").write_text('"""Not ours."""\n', encoding="utf-8")
    if way == "PYTHONPATH":
        command = [installed.prefix / "bin" / "petl-bench", "list", "methods"]
        done = call(command, installed.folder, {"PYTHONPATH": str(tmp_path)})
    else:
        done = call([installed.python, "-m", "petl_bench", "list", "methods"], tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert str(foreign) in done.stderr
    (site,) = installed.prefix.glob("lib/python*/site-packages")
    assert str(site / "methods") in done.stderr
