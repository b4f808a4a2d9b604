"""Time a method beside what a user would pick instead, in one process and the same rounds.

The peers: peft's LoRA on the same timm backbone, one adapter per task, switched and run T times; methods that are
merged into a plain backbone; other methods of the registry. Encoders alone, in inference.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from petl_bench.config import Section, validate_section
from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.engine.build import build_model
from petl_bench.engine.device import plain_float32
from petl_bench.errors import UsageError
from petl_bench.features import Features
from petl_bench.measure.cost.laps import Lap
from petl_bench.measure.cost.latency import interleave
from petl_bench.measure.cost.work import plain_backbone
from petl_bench.measure.cost.workload import Step, frozen_pass, inference, materialise
from petl_bench.measure.count.meta import MetaModel, build_on_meta
from petl_bench.records.growth import interval_of_median

PEFT = "peft LoRA, switched"
REFERENCE = "frozen backbone"


class Peers(Section):
    """What is compared.

    Attributes:
        methods: As ``lora:scope=shared``; the first is what the others are divided by.
        merged: Methods that are merged first, and then run as one plain backbone.
        tasks: Numbers of tasks.
    """

    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    merged: tuple[str, ...] = ()
    tasks: Annotated[tuple[int, ...], Field(min_length=1)]


def read_peers(path: Path) -> Peers:
    """Read the list of peers."""
    return validate_section(Peers, tomllib.loads(path.read_text(encoding="utf-8")), "")


def compare(
    settings: Mapping[str, Any],
    peers: Peers,
    section_of: Callable[[str], dict[str, Any]],
    *,
    batch_size: int,
    min_rounds: int,
    device: str,
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return one row per peer and number of tasks: milliseconds, and how many times the first method's.

    ``progress`` is called with what comes next, and once at the end with nothing.

    Raises:
        UsageError: peft is not installed.
    """
    keep_freed_memory()
    plain_float32()
    rows: list[dict[str, Any]] = []
    for tasks in peers.tasks:
        progress(f"T = {tasks}")
        things: dict[str, Step] = {}
        image = torch.empty(0)
        for label in (*peers.methods, *peers.merged):
            built = build_on_meta({**settings, "method": section_of(label), "tasks": tasks})
            model = build_model(built.config, built.channels).to(device)
            if not len(image):
                image = torch.rand(batch_size, 3, *built.config.dataset.size, device=device)
                things[REFERENCE] = frozen_pass(plain_backbone(built.config).to(device), image)
                things[PEFT] = peft_switched(built, image, tasks)
            if label in peers.merged:
                things[f"{label}, merged"] = frozen_pass(model.method.merged(0).to(device), image)
            else:
                things[label] = inference(model, image, decode=False)
        rounds = interleave(things, min_rounds=min_rounds, min_seconds=0.0, device=torch.device(device))
        for name, samples in rounds.milliseconds.items():
            ratios = rounds.ratios(name, peers.methods[0])
            low, high = interval_of_median(ratios)
            rows.append(
                {
                    "tasks": tasks,
                    "what": name,
                    "milliseconds": round(float(np.median(samples)), 2),
                    "times_the_first": round(float(np.median(ratios)), 3),
                    "interval_low": round(low, 3),
                    "interval_high": round(high, 3),
                    "times_the_backbone": round(float(np.median(rounds.ratios(name, REFERENCE))), 3),
                }
            )
    progress("")
    return rows


def peft_switched(built: MetaModel, image: Tensor, tasks: int) -> Step:
    """Return T passes through peft's model of the same backbone, its adapter switched before each.

    Rank 4 on the fused qkv, peft's usual form.

    Raises:
        UsageError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UsageError("The comparison needs peft.\nType: pip install peft") from None
    names = [f"task_{t}" for t in range(tasks)]
    config = LoraConfig(r=4, lora_alpha=4, target_modules=["qkv"])
    backbone: Any = plain_backbone(built.config)
    model: Any = get_peft_model(backbone, config, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    model.to(image.device).eval()

    def step(lap: Lap) -> list[Features]:
        with torch.no_grad():
            return [materialise(Features(shared=_switched(model, name)(image))) for name in names]

    return step


def _switched(model: Any, name: str) -> Any:
    model.set_adapter(name)
    return model
