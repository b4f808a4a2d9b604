"""The engine's limits, as ratios: ``pytest tests/benchmark -m timing -n 0``.

On a quiet machine add ``--strict-timing``: then they hold as claimed.
"""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gates import SWIN_TINY, Gate, Limits, Step, frozen_backbone, model_of

from petl_bench.decoders.segformer import FoldedSegFormer, SegFormer
from petl_bench.measure.cost.peers import peft_switched
from petl_bench.measure.cost.workload import Mode, frozen_pass, inference, training
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.records.growth import fit

pytestmark = pytest.mark.timing

FROZEN = "frozen backbone"
MANY = (1, 4, 16, 32)


def also_slow(*cases: Any) -> list[Any]:
    """Cases that guard the same claim as those beside them, for the machine that has a quarter of an hour."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]


def test_the_encoder_of_vmt_with_one_task_beside_the_frozen_backbone(gate: Gate) -> None:
    image = torch.rand(4, 3, 224, 224)
    things = {"vmt, T = 1": inference(model_of("vmt", 1), image, decode=False)}
    things[FROZEN] = frozen_pass(frozen_backbone(), image)
    gate.ratio(things, "vmt, T = 1", FROZEN, rounds=10, limits=Limits(1.25, 1.08))


def marginal(gate: Gate, mode: Mode, limits: Limits) -> None:
    image = torch.rand(4, 3, 224, 224)
    things: dict[str, Step] = {str(t): inference(model_of("vmt", t), image, mode, decode=False) for t in MANY}
    things[FROZEN] = frozen_pass(frozen_backbone(), image, mode)
    rounds = gate.rounds(things, 10)
    line = fit(MANY, np.stack([rounds.ratios(str(t), FROZEN) for t in MANY], axis=1))
    low, high = line.interval
    gate.hold(f"m of vmt up to T = 32, {mode}", max(line.slope, 1e-4), limits, f"({low:.4f} to {high:.4f})")


def test_one_task_more_in_inference(gate: Gate) -> None:
    marginal(gate, "eager", Limits(0.05, 0.015))


@pytest.mark.slow
def test_one_task_more_in_inference_compiled(gate: Gate) -> None:
    marginal(gate, "compiled", Limits(0.05, 0.007))


def test_the_training_step_of_vmt_beside_full_fine_tuning(gate: Gate) -> None:
    image = torch.rand(4, 3, 224, 224)
    numbers = (1, 4, 16)
    things = {f"vmt, T = {t}": training(model_of("vmt", t), image) for t in numbers}
    things["full"] = training(model_of("full", 1), image)
    rounds = gate.rounds(things, 6)
    gate.ratio_of(rounds, "vmt, T = 4", "full", Limits(0.95, 0.80))
    ratios = np.stack([rounds.ratios(f"vmt, T = {t}", "vmt, T = 1") for t in numbers], axis=1)
    line = fit(numbers, ratios)
    low, high = line.interval
    gate.hold("m of vmt in training", max(line.slope, 1e-4), Limits(0.05, 0.02), f"({low:.4f} to {high:.4f})")


def test_the_training_step_of_what_stays_beside_the_trunk(gate: Gate) -> None:
    """Of the encoder, forward and backward; a frozen forward pass alone is a third of the multiply-adds of full."""
    image = torch.rand(2, 3, 224, 224)
    beside = {"side": model_of("side", 4), "vmt, reenter = false": model_of("vmt", 4, reenter=False)}
    things = {name: training(model, image) for name, model in beside.items()}
    things["full"] = training(model_of("full", 4), image)
    rounds = gate.rounds(things, 8)
    for name in beside:
        gate.ratio_of(rounds, name, "full", Limits(0.65, 0.50))


@pytest.mark.parametrize("method", ["lora", "hyperformer", *also_slow("adapter", "bitfit", "ssf")])
@pytest.mark.parametrize("phase", ["infer", "train"])
def test_one_launch_for_four_tasks_beside_four_passes(gate: Gate, method: str, phase: str) -> None:
    def encoder_step(tasks: int) -> Step:
        model = model_of(method, tasks, "embedded")
        return inference(model, image, decode=False) if phase == "infer" else training(model, image)

    image = torch.rand(1, 3, 64, 64)
    one = encoder_step(1)
    things: dict[str, Step] = {
        f"{method} forked ({phase})": encoder_step(4),
        "four passes": lambda lap: [one(lap) for _ in range(4)],
    }
    gate.ratio(things, f"{method} forked ({phase})", "four passes", rounds=20, limits=Limits(0.9, 0.7))


def test_one_launch_at_the_batch_of_the_targets(gate: Gate) -> None:
    image = torch.rand(4, 3, 224, 224)
    one = inference(model_of("lora", 1), image, decode=False)
    things: dict[str, Step] = {
        "lora forked": inference(model_of("lora", 4), image, decode=False),
        "four passes": lambda lap: [one(lap) for _ in range(4)],
    }
    gate.ratio(things, "lora forked", "four passes", rounds=6, limits=Limits(1.2, 1.0))


@pytest.mark.parametrize(("tasks", "limits"), [(4, Limits(1 / 2.5, 1 / 3.5)), *also_slow((16, Limits(1 / 8, 1 / 12)))])
def test_the_encoder_of_vmt_beside_peft_switched(gate: Gate, tasks: int, limits: Limits) -> None:
    image = torch.rand(4, 3, 224, 224)
    built = build_on_meta({"backbone": {"name": SWIN_TINY}, "method": {"name": "vmt"}, "tasks": tasks})
    name = f"vmt, T = {tasks}"
    things = {
        name: inference(model_of("vmt", tasks), image, decode=False),
        "peft LoRA, switched": peft_switched(built, image, tasks),
    }
    gate.ratio(things, name, "peft LoRA, switched", rounds=5, limits=limits)


def segformers(number: int, widths: tuple[int, ...], width: int) -> list[SegFormer]:
    stages = [type(frozen_backbone("embedded").stages[0])(w, 4 * 2**s) for s, w in enumerate(widths)]
    return [SegFormer(stages, 7, SegFormer.Config(name="segformer", width=width)).eval() for _ in range(number)]


def textbook(decoder: SegFormer, levels: tuple[torch.Tensor, ...]) -> torch.Tensor:
    projected = [project(level) for project, level in zip(decoder.project, levels, strict=True)]
    up = [F.interpolate(x, levels[0].shape[-2:], mode="bilinear", align_corners=False) for x in projected]
    return decoder.predict(F.relu(decoder.norm(decoder.fuse(torch.cat(up, 1)))))


@torch.no_grad()
def test_the_folded_decoder_beside_its_textbook_form(gate: Gate) -> None:
    (decoder,) = segformers(1, (96, 192, 384, 768), 256)
    decoder.norm.running_mean.normal_()
    decoder.norm.running_var.uniform_(0.5, 2)
    folded = decoder.folded()
    levels = tuple(torch.randn(4, w, 56 >> s, 56 >> s) for s, w in enumerate((96, 192, 384, 768)))
    gap = float((folded(levels) - textbook(decoder, levels)).abs().max())
    gate.hold("largest difference of the folded decoder", max(gap, 1e-9), Limits(1e-5, 1e-5))
    things: dict[str, Step] = {
        "folded": lambda lap: folded(levels),
        "one resolution a level": lambda lap: decoder(levels),
        "textbook": lambda lap: textbook(decoder, levels),
    }
    gate.ratio(things, "one resolution a level", "textbook", rounds=15, limits=Limits(0.9, 0.6))
    gate.ratio(things, "folded", "textbook", rounds=15, limits=Limits(0.7, 0.45))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 4])
def test_four_small_decoders_together_beside_one_after_another(gate: Gate, batch: int) -> None:
    widths = (48, 96, 192, 384)
    folded = [decoder.folded() for decoder in segformers(4, widths, 64)]
    assert all(isinstance(one, FoldedSegFormer) for one in folded)
    together = SegFormer.together(folded)
    assert together is not None
    pyramid = tuple(torch.randn(batch, w, 16 >> s, 16 >> s) for s, w in enumerate(widths))
    assert together.is_faster_on(pyramid)
    things: dict[str, Step] = {
        f"together, batch {batch}": lambda lap: together([pyramid] * 4),
        "one after another": lambda lap: [one(pyramid) for one in folded],
    }
    gate.ratio(things, f"together, batch {batch}", "one after another", rounds=100, limits=Limits(1.1, 1.0))
