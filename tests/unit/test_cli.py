"""The command line: frozen flags, clear answers to mistakes, and no torch where none is needed."""

import json
import subprocess
import sys

import pytest
import typer.main

from petl_bench import __version__
from petl_bench.cli.main import GROUPS, app, main

# A setting belongs into the config, where --set reaches it and the record keeps it. Do not add a flag for one.
FLAGS = {
    "run": {
        "--method", "--tasks", "--backbone", "--dataset", "--decoder", "--budget", "--seed", "--seeds", "--set",
        "--deterministic",
        "--device", "--root",
        "--out", "--force", "--evaluate-only", "--dry-run",
    },
    "sweep": {
        "--launcher", "--jobs", "--seeds", "--retry", "--budget", "--set", "--device", "--root", "--out", "--dry-run",
    },
    "tune": {
        "--points", "--launcher", "--jobs", "--retry", "--budget", "--set", "--device", "--root", "--out", "--write",
        "--format", "--dry-run",
    },
    "status": {"--format"},
    "store": set(),
    "store check": {"--repair"},
    "store diff": {"--format"},
    "store pack": set(),
    "store unpack": set(),
    "report": {"--out", "--experiment", "--metric", "--strict"},
    "params": {
        "--method", "--backbone", "--dataset", "--tasks", "--decoder", "--set", "--format", "--by", "--explain",
        "--flops", "--check", "--write",
    },
    "claims": {"--format"},
    "groups": {"--method", "--number", "--tasks", "--backbone", "--dataset", "--decoder", "--set", "--format"},
    "scaling": {
        "--method", "--tasks", "--backbone", "--dataset", "--decoder", "--phase", "--part", "--metric", "--mode",
        "--batch", "--rounds", "--seconds", "--processes", "--threads", "--device", "--set", "--out", "--format",
    },
    "bench-peers": {"--backbone", "--tasks", "--batch", "--rounds", "--device", "--format"},
    "list": {"--format", "--support"},
    "check": {"--backbone", "--set", "--slow", "--format", "--write"},
    "data": set(),
    "data check": {"--root", "--limit", "--out"},
    "data guide": set(),
    "data unpack": set(),
    "data demo": {"--images", "--size"},
    "new": {"--out"},
    "pretrain": {"--out", "--probe", "--resume", "--set"},
}  # fmt: skip


def test_the_flags_are_frozen() -> None:
    def flags_of(group, prefix: str = "") -> dict[str, set[str]]:
        seen: dict[str, set[str]] = {}
        for name, command in group.commands.items():
            flags = {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}
            seen[prefix + name] = flags - {"--help"}
            seen |= flags_of(command, f"{prefix}{name} ") if hasattr(command, "commands") else {}
        return seen

    assert flags_of(typer.main.get_command(app)) == FLAGS


def test_every_command_stands_in_one_group_of_the_help(capsys) -> None:
    assert call("--help") == 0
    said = capsys.readouterr().out
    assert [title for title in ("Train:", "Measure:", "Inspect:", "Extend:") if title not in said] == []
    assert "Other:" not in said
    commands = sorted(name for name in FLAGS if " " not in name)
    assert sorted(name for names in GROUPS.values() for name in names) == commands


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run"], ["Which method?", "petl-bench run --method"]),
        (["run", "--method", "vtm"], ["Unknown method 'vtm'", "Did you mean 'vmt'?", "petl-bench list methods"]),
        (["run", "--method", "vmt", "--backbone", "swin_tiny"], ["Unknown backbone", "swin_tiny_patch4_window7_224"]),
        (["run", "--method", "vmt", "--dataset", "scene"], ["Did you mean 'scenes'?"]),
        (["run", "--method", "vmt", "--decoder", "segfomer"], ["Did you mean 'segformer'?"]),
        (["run", "--method", "vmt", "--tasks", "semsegg"], ["Did you mean 'semseg'?"]),
        (["run", "--method", "vmt", "--tasks", "0"], ["1 to 16 are allowed"]),
        (["run", "--method", "vmt", "--tasks", "17"], ["1 to 16 are allowed"]),
        (["run", "--method", "vmt", "--budget", "quik"], ["Did you mean 'quick'?"]),
        (["run", "--method", "vmt", "--set", "method.roh=8"], ["'method.roh'", "'method.rho'"]),
        (["run", "--method", "vmt", "--set", "method.rho=many"], ["method.rho", "valid integer"]),
        (["run", "--method", "vmt", "--set", "method.rho"], ["KEY=VALUE is expected"]),
        (["scaling", "--metric", "latncy"], ["Did you mean 'latency'?"]),
        (["scaling", "--method", "vtm", "--metric", "macs"], ["Did you mean 'vmt'?"]),
        (["scaling", "--method", "lora:scope"], ["NAME:KEY=VALUE is expected"]),
        (["scaling", "--tasks", "4"], ["2 or more numbers"]),
        (["run", "main", "--method", "vmt"], ["names its methods itself"]),
        (["run", "main", "--set", "method.rho=8"], ["names its methods itself"]),
        (["tune", "main", "--set", "method.rho=8"], ["names its methods itself", "`tune`"]),
        (["tune", "pascal-mtlora"], ["No image is set apart", "--set dataset.val_images=200"]),
        (["tune", "main", "--write", "tuned"], ["--write tuned.toml"]),
        (["run", "mian"], ["Unknown experiment 'mian'", "Did you mean 'main'?"]),
        (["run", "nowhere.toml"], ["cannot be read"]),
        (["params", "--method", "vmt", "--tasks", "0"], ["one task or more"]),
        (["params", "--method", "vmt", "--tasks", "semseg:21,normals"], ["'normals' is not NAME:CHANNELS"]),
        (["params", "--method", "vmt", "--explain", "--by", "module"], ["--by and --explain", "one of them at a time"]),
        (["params", "--method", "vmt", "--flops", "--tasks", "5"], ["4 tasks at most", "scaling --metric macs"]),
        (["params", "--method", "vmt", "--flops", "--explain"], ["--explain and --flops", "one of them at a time"]),
        (["run", "--method", "vmt", "--tasks", "1,2,4"], ["scaling --tasks 1,2,4"]),
        (["run", "--method", "vmt", "--tasks", "semseg:21"], ["channels of its data set", "--tasks semseg"]),
        (["params", "--method", "vmt", "--tasks", "1,2"], ["scaling --tasks 1,2"]),
        (["scaling", "--tasks", "semseg,normals"], ["`run` and `params` take names"]),
        (["run", "--method", "vmt", "--seeds", "4-0"], ["--seeds 4-0", "--seeds 0-4"]),
        (["run", "--method", "vmt", "--seeds", "0-2", "--seed", "1"], ["both given"]),
        (["list", "method"], ["Did you mean 'methods'?"]),
        (["check", "vtm"], ["Did you mean 'vmt'?", "petl-bench list methods"]),
        (["new", "methods", "mine"], ["Did you mean 'method'?", "petl-bench new method mine"]),
        (["new", "method", "My_Method"], ["lower-case", "petl-bench new method my-method"]),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else None,
)
def test_a_mistake_is_answered_on_one_screen_with_exit_2(arguments: list[str], parts: list[str], capsys) -> None:
    assert call(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    for part in parts:
        assert part in said.err
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) < 20


def test_a_store_that_is_empty_or_missing(tmp_path, capsys) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert call("report", str(folder)) == 2
        assert "petl-bench run --method" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_written(tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    arguments = ["--method", "decoders", "--budget", "smoke", "--set", "backbone.weights=random"]
    assert call("run", *arguments, "--out", str(tmp_path / "file" / "runs")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_device_that_is_not_there(tmp_path, capsys) -> None:
    assert call("run", "--method", "decoders", "--device", "cuda:77", "--out", str(tmp_path)) == 2
    assert "--device cuda:77" in capsys.readouterr().err


def test_dry_run_prints_the_config_and_writes_nothing(tmp_path, capsys) -> None:
    out = tmp_path / "runs"
    assert call("run", "--method", "vmt", "--set", "method.rho=8", "--dry-run", "--out", str(out)) == 0
    config = json.loads(capsys.readouterr().out)
    assert config["method"]["rho"] == 8
    assert config["tasks"] == ["semseg", "human_parts", "saliency", "normals"]
    assert not out.exists()


@pytest.mark.parametrize(("text", "seeds"), [("0-2", [0, 1, 2]), ("3,1", [3, 1]), ("0-1,1-2", [0, 1, 2])])
def test_seeds_make_one_run_each(text: str, seeds: list[int], capsys) -> None:
    assert call("run", "--method", "vmt", "--seeds", text, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.strip(' ,"sed:')) for line in lines if '"seed"' in line] == seeds


def test_seeds_take_the_place_of_those_of_an_experiment(capsys) -> None:
    assert call("run", "main", "--seed", "0", "--dry-run") == 0
    one = capsys.readouterr().out.count('"seed"')
    assert call("run", "main", "--seeds", "7-8", "--dry-run") == 0
    said = capsys.readouterr().out
    assert said.count('"seed": 7') == said.count('"seed": 8') == one


def test_params_in_three_formats(capsys) -> None:
    arguments = ["params", "--method", "all", "--backbone", "swin_tiny_patch4_window7_224", "--tasks", "4"]
    assert call(*arguments, "--format", "json") == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    fields = {"method", "backbone", "tasks", "execution", "overrides", "method_parameters", "decoder_parameters"}
    assert fields | {"trainable_parameters", "synthetic_tasks"} <= set(rows["vmt"])
    assert rows["single"]["execution"] == "replicated"
    arguments[2] = "vmt"
    assert call(*arguments, "--format", "csv") == 0
    assert "1127952" in capsys.readouterr().out
    assert call(*arguments) == 0
    assert "1,127,952" in capsys.readouterr().out


def test_params_repeats_what_was_overridden(capsys) -> None:
    assert call("params", "--method", "vmt", "--set", "method.rho=8", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["overrides"] == ["method.rho=8"]


TORCH_FREE = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["data", "guide", "pascal-context"],
    ["sweep", "--help"],
    ["tune", "--help"],
    ["status", "reports/runs/main"],
    ["store", "check", "reports/runs/main"],
    *[["list", kind] for kind in ("methods", "backbones", "datasets", "tasks", "decoders", "experiments")],
]


@pytest.mark.parametrize("arguments", TORCH_FREE, ids=" ".join)
def test_listing_imports_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom petl_bench.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "heavy = {'torch', 'timm', 'pandas', 'matplotlib', 'accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_is_the_packages(capsys) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out.strip() == __version__
