"""Two processes with half of every batch each train what one process trains, and score every image once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("two_processes.py")
EXECUTIONS = {"full": "shared", "vmt": "tapped", "mtlora": "streamed", "lora": "forked", "single": "replicated"}
CASES = [(name, "fixed") for name in EXECUTIONS] + [("lora", "uncertainty")]
PER_PARAMETER = 2e-4
"""Largest allowed difference of a gradient, in parts of the parameter's largest gradient: sums in another order."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of what one process and what two processes saw."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command, folder in (([sys.executable], one), (launched, two)):
        done = subprocess.run([*command, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
    return one, two


@pytest.mark.parametrize(("name", "balancer"), CASES)
def test_two_processes_have_the_gradients_of_one_and_the_metrics_of_one(
    name: str, balancer: str, both: tuple[Path, Path]
) -> None:
    one, two = (json.loads((folder / f"{name}-{balancer}.json").read_text()) for folder in both)
    assert (one["world"], two["world"]) == (1, 2)
    assert one["execution"] == two["execution"] == EXECUTIONS[name]
    assert two["metrics"] == one["metrics"], "seven test images, four and three"
    assert {metrics["images"] for metrics in two["metrics"].values()} == {7}
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    first, second = (load_file(folder / f"{name}-{balancer}.safetensors") for folder in both)
    assert first.keys() == second.keys()
    gradients = [gradient.abs().max().item() for key, gradient in first.items() if key.startswith("grad")]
    rounding = 1e-6 * max(gradients)  # what a batch norm takes out again has a gradient of rounding alone
    worst = 0.0
    for key, expected in first.items():
        if key.startswith("statistic"):
            assert torch.equal(second[key], expected), key
            continue
        scale = expected.double().abs().max().item()
        gap = (second[key].double() - expected.double()).abs().max().item()
        worst = max(worst, gap / scale if scale > rounding else 0.0)
        assert gap <= PER_PARAMETER * scale + rounding, f"{key}: {gap:.1e} of {scale:.1e}"
    print(f"{name} ({EXECUTIONS[name]}, {balancer}): largest difference {worst:.1e} of a parameter's gradient")


def test_torchrun_makes_one_record_and_one_table(tmp_path: Path) -> None:
    arguments = ["run", "--method", "vmt", "--tasks", "2", "--budget", "smoke", "--device", "cpu", "--out", "runs"]
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launched, "-m", "petl_bench", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pictures:") == 1
    (folder,) = (tmp_path / "runs").iterdir()
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["environment"]["processes"] == 2
