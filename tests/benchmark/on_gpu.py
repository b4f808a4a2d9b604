"""What tasks cost on a GPU, in five minutes of one: ``python tests/benchmark/on_gpu.py measure DIR``.

Everything is timed in one process, each method at all numbers of tasks in the same rounds beside the plain frozen
backbone, as `petl-bench scaling` does in several. ``page DIR`` writes DIR/README.md from what was measured.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from petl_bench.cli.scaling import method_section
from petl_bench.engine.build import build_model
from petl_bench.engine.environment import environment
from petl_bench.measure.cost.peers import Peers, compare
from petl_bench.measure.cost.timing import time_here
from petl_bench.measure.cost.workload import Mode, Part, Phase, Setup, step_of
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.records.labels import timed_fields

MEASURED, PAGE = "measured.json", "README.md"
BACKBONE = {"name": "swin_tiny_patch4_window7_224", "weights": "random"}
SWIN = {"backbone": BACKBONE, "dataset": {"image_size": 224}}
LARGE = {"backbone": BACKBONE, "dataset": {"image_size": 448}}
TASKS = (1, 4, 16)
INFERRED = ["vmt", "lora", "lora:scope=shared", "mtlora", "decoders", "single", "vmt-lite"]
TRAINED = ["vmt", "lora:scope=shared", "full", "lora", "mtlora", "vmt-lite"]
PLAN: list[tuple[str, Mapping[str, Any], tuple[int, ...], Phase, tuple[Part, ...], Mode, int, int, list[str]]] = [
    ("448 bf16 train", LARGE, (4,), "train", ("encoder", "decoders", "total"), "bf16", 32, 5,
     ["vmt", "full", "mtlora", "decoders"]),
    ("infer b64", SWIN, TASKS, "infer", ("encoder",), "eager", 64, 6, INFERRED),
    ("train b16", SWIN, TASKS, "train", ("encoder",), "eager", 16, 5, TRAINED),
    ("infer b1", SWIN, TASKS, "infer", ("encoder",), "eager", 1, 10, INFERRED),
    ("graphs b1", SWIN, TASKS, "infer", ("encoder",), "cuda-graphs", 1, 10, ["vmt", "lora"]),
]  # fmt: skip
PROFILED: list[tuple[Mapping[str, Any], int, Mode]] = [({}, 4, "eager"), ({}, 32, "eager"), (LARGE, 32, "bf16")]
TITLES = {
    "infer b64": "Inference, batch 64: the card is full",
    "infer b1": "Inference, batch 1: launching takes the time",
    "graphs b1": "Inference, batch 1, CUDA graphs",
    "train b16": "A training step of the encoder, batch 16",
}


def measure(out: Path, device: torch.device) -> None:
    """Write DIR/measured.json, anew after every part."""
    card = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv"]
    done: dict[str, Any] = {
        "environment": environment(device, "float32").model_dump(mode="json"),
        "card": subprocess.run(card, capture_output=True, text=True, check=True).stdout,
        "parts": [],
    }
    for part in _parts(device):
        done["parts"].append(part)
        print(part["name"], part.get("label", ""), flush=True)
        out.mkdir(parents=True, exist_ok=True)
        (out / MEASURED).write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")


def _parts(device: torch.device) -> Iterable[dict[str, Any]]:
    for settings, batch, mode in PROFILED:
        yield _profile(settings, batch, mode, device)
    for name, settings, tasks, phase, parts, mode, batch, rounds, labels in PLAN:
        setup = Setup(settings, tasks, (phase,), parts, mode, batch, rounds, 0.0, None, str(device))
        for label in labels:
            timed = time_here(setup, method_section(label))
            yield {
                "name": name,
                "label": label,
                "milliseconds": {f"{a}/{b}": samples for (a, b), samples in timed.milliseconds.items()},
                "peaks": {
                    phase: {t: [peak.allocated_bytes, peak.reserved_bytes] for t, peak in peaks.items()}
                    for phase, peaks in timed.peaks.items()
                },
            }
    peers = Peers(methods=("vmt", "adapter:scope=shared", "full"), merged=("lora:scope=shared",), tasks=TASKS[1:])
    for batch in (1, 64):
        rows = compare(
            SWIN,
            peers,
            method_section,
            batch_size=batch,
            min_rounds=6,
            device=str(device),
            progress=lambda state: None,
        )
        yield {"name": "peers", "batch": batch, "rows": rows}


def _profile(settings: Mapping[str, Any], batch: int, mode: Mode, device: torch.device) -> dict[str, Any]:
    """Tell of a training step of ``vmt`` at T = 4 how long it takes, and how many kernels it launches for how long."""
    built = build_on_meta({**settings, "method": {"name": "vmt"}, "tasks": 4})
    model = build_model(built.config, built.channels).to(device)
    image = torch.rand(batch, 3, *built.config.dataset.size, device=device)
    setup = Setup(settings, (4,), ("train",), ("total",), mode, batch, 2, 0.0, None, str(device))
    step = step_of(setup, "train", built, model, image, mode)

    def take(number: int) -> float:
        started = time.perf_counter()
        for _ in range(number):
            step(lambda part: None)
        torch.accelerator.synchronize(device)
        return (time.perf_counter() - started) / number

    take(3)
    wall = take(5)
    with torch.profiler.profile() as profile:
        take(3)
    events = profile.key_averages()
    return {
        "name": "profile",
        "label": "vmt",
        "setup": {"settings": settings, "batch": batch, "mode": mode},
        "wall_ms": 1e3 * wall,
        "launches": sum(event.count for event in events if "LaunchKernel" in event.key) / 3,
        "kernel_ms": sum(e.self_device_time_total for e in events if e.device_type != torch.autograd.DeviceType.CPU)
        / 3e3,
    }


def page(measured: Mapping[str, Any]) -> str:
    """Return the page of what was measured, in Markdown."""
    parts, where = measured["parts"], measured["environment"]
    versions = where["versions"]
    lines = [
        "# What tasks cost on a GPU",
        "",
        f"{where['device_name']}, torch {versions['torch']}, timm {versions['timm']}, commit {where['commit'][:7]}.",
        "Swin-T at 224 px, float32 without TF32, encoders alone, unless a table says otherwise. All of it in one",
        "process, so that an interval would tell nothing of another one: these are medians of the rounds in",
        f"[{MEASURED}]({MEASURED}). *A task more* is the slope over T, in percent of the frozen backbone's pass in",
        "inference and of the method's own step at T = 1 in training; MiB is the allocator's peak beyond the weights.",
    ]
    for name, title in TITLES.items():
        rows = [part for part in parts if part["name"] == name]
        table = [_scaled(part) for part in rows]
        lines += [
            "",
            f"## {title}",
            "",
            *_table(["method", *(f"T = {t}, ms" for t in TASKS), "a task more", "MiB"], table),
        ]
    large = [part for part in parts if part["name"].startswith("448")]
    own = [_parted(part) for part in large]
    lines += ["", "## A training step at 448 px, batch 32, four tasks, bf16", ""]
    lines += _table(["method", "encoder, ms", "decoders, ms", "step, ms", "pictures a second"], own)
    lines += ["", "## What a training step of vmt at T = 4 consists of", ""]
    lines += _table(
        ["images", "batch", "wall, ms", "kernels, ms", "launches"],
        [_launched(p) for p in parts if p["name"] == "profile"],
    )
    lines += ["", "## The encoder of vmt beside its peers", ""]
    rows = [
        [str(part["batch"]), str(r["tasks"]), r["what"], f"{r['milliseconds']:.1f}", f"{r['times_the_first']:.2f}"]
        for part in parts
        if part["name"] == "peers"
        for r in part["rows"]
    ]
    lines += _table(["batch", "T", "what", "ms", "times vmt"], rows)
    return "\n".join([*lines, ""])


def _scaled(part: Mapping[str, Any]) -> list[str]:
    ((key, samples),) = part["milliseconds"].items()
    phase = key.partition("/")[0]
    base = "reference" if phase == "infer" else str(TASKS[0])
    slope = timed_fields(TASKS, {name: [one] for name, one in samples.items()}, base, None)["relative_marginal_cost"]
    peaks = part["peaks"].get(phase, {})
    memory = " / ".join(f"{peaks[str(t)][0] / 2**20:.0f}" for t in TASKS) if any(p[0] for p in peaks.values()) else "-"
    return [part["label"], *(f"{_median(samples[str(t)]):.1f}" for t in TASKS), f"{100 * slope:.2f} %", memory]


def _parted(part: Mapping[str, Any]) -> list[str]:
    times = [_median(part["milliseconds"][f"train/{name}"]["4"]) for name in ("encoder", "decoders", "total")]
    return [part["label"], *(f"{one:.0f}" for one in times), f"{1e3 * 32 / times[-1]:.0f}"]


def _launched(part: Mapping[str, Any]) -> list[str]:
    setup = part["setup"]
    size = setup["settings"].get("dataset", {}).get("image_size", 64)
    numbers = [f"{part['wall_ms']:.0f}", f"{part['kernel_ms']:.1f}", f"{part['launches']:.0f}"]
    return [f"{size} px, {'bf16' if setup['mode'] == 'bf16' else 'float32'}", str(setup["batch"]), *numbers]


def _median(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    ruler = [":--" if name in ("method", "images", "what") else "--:" for name in head]
    return [f"| {' | '.join(row)} |" for row in (head, ruler, *rows)]


def main(arguments: Sequence[str]) -> None:
    """Measure, or write the page."""
    if len(arguments) != 2 or arguments[0] not in ("measure", "page"):
        raise SystemExit("Type: python tests/benchmark/on_gpu.py measure DIR   or: page DIR")
    folder = Path(arguments[1])
    if arguments[0] == "measure":
        measure(folder, torch.device("cuda", torch.cuda.current_device()))
    (folder / PAGE).write_text(page(json.loads((folder / MEASURED).read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
