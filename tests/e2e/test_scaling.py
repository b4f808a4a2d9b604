"""From methods to curves and labels, on the embedded backbone; and what goes wrong is caught."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import resolved

from methods.vmt import VMT
from petl_bench.cli.main import main
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.environment import environment
from petl_bench.features import Features
from petl_bench.measure.cost.agreement import DisagreementError
from petl_bench.measure.cost.flops import forward_work
from petl_bench.measure.cost.memory import saved_for_backward
from petl_bench.measure.cost.objective import objective_of
from petl_bench.measure.cost.record import scale
from petl_bench.measure.cost.work import count_method
from petl_bench.measure.cost.workload import Setup, inference, training
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.records.labels import contradiction
from petl_bench.records.refit import read_scaling
from petl_bench.records.scaling import ScalingRecord
from petl_bench.report.scaling.headline import headline_rows
from petl_bench.report.scaling.page import PAGE, write_scaling, write_scaling_record
from petl_bench.testing import Subject

TASKS = (1, 2, 4)


def setup(**changes: Any) -> Setup:
    asked: dict[str, Any] = {
        "settings": {},
        "tasks": TASKS,
        "phases": ("infer", "train"),
        "parts": ("encoder", "total"),
        "mode": "eager",
        "batch_size": 1,
        "min_rounds": 2,
        "min_seconds": 0.0,
        "threads": 1,
        "device": "cpu",
    }
    return Setup(**{**asked, **changes})


def counted(*names: str, **changes: Any) -> ScalingRecord:
    methods = {name: {"name": name} for name in names}
    metrics = ("macs", "elementwise", "bytes", "memory", "parameters")
    return scale(setup(**changes), methods, metrics, processes=1, controls={}, progress=lambda _: None)


def test_counts_tell_constant_from_linear() -> None:
    record = counted("vmt", "decoders", "single", "lora", phases=("infer",), parts=("encoder",))
    label = {
        (row.method, row.metric): row.verdict for row in record.rows if (row.phase, row.part) == ("infer", "encoder")
    }
    assert label["vmt", "macs"] == label["decoders", "macs"] == label["decoders", "elementwise"] == "constant"
    assert label["single", "macs"] == label["lora", "macs"] == "linear"
    assert label["vmt", "elementwise"] == "sub-linear"  # a scale and a shift are arithmetic, if not multiply-adds
    slope = {row.method: row.relative_marginal_cost for row in record.rows if row.metric == "parameters"}
    assert slope["single"] == pytest.approx(1.0)
    assert slope["vmt"] < 0.01


def begin(folder: Path, said: list[str], *, stop_at: str | None = None, **changes: Any) -> ScalingRecord:
    """Measure two methods as the command does, up to one of them; ``said`` gets what is told of an earlier record."""

    def progress(label: str) -> None:
        if label == stop_at:
            raise KeyboardInterrupt

    return scale(
        setup(phases=("infer",), parts=("encoder",), **{"tasks": (1, 2), **changes}),
        {name: {"name": name} for name in ("decoders", "vmt")},
        ("macs",),
        processes=1,
        controls={},
        progress=progress,
        keep=lambda record: write_scaling_record(record, folder),
        begun=read_scaling(folder / "scaling.json"),
        say=said.append,
    )


def committed(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Have records say that all code was committed."""
    here = environment(torch.device("cpu"), "float32").model_copy(update={"dirty": False, **changes})
    monkeypatch.setattr("petl_bench.measure.cost.record.environment", lambda *_: here)


def test_what_was_measured_before_an_interruption_is_kept_and_gone_on_with(tmp_path: Path, monkeypatch) -> None:
    committed(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, [], stop_at="vmt")
    first = read_scaling(tmp_path / "scaling.json")
    assert first is not None
    assert {row.label for row in first.rows} == {"decoders"}
    said: list[str] = []
    record = begin(tmp_path, said)
    assert len(said) == 1
    assert "taken from its record: decoders." in said[0]
    assert record.created == first.created
    assert record.rows[: len(first.rows)] == first.rows
    assert {row.label for row in record.rows} == {one.label for one in record.agreements} == {"decoders", "vmt"}
    with pytest.raises(KeyboardInterrupt):  # it is whole: the same command measures anew
        begin(tmp_path, said, stop_at="vmt")
    assert len(said) == 1


@pytest.mark.parametrize(
    ("changes", "other"),
    [({"dirty": True}, {}), ({"commit": "0" * 40}, {}), ({"threads": 64}, {}), ({}, {"batch_size": 2})],
    ids=["changed code", "other code", "another machine", "another command"],
)
def test_what_is_not_the_same_is_measured_anew(tmp_path: Path, monkeypatch, changes: Any, other: Any) -> None:
    committed(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, [], stop_at="vmt")
    committed(monkeypatch, **changes)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, said, stop_at="vmt", **other)
    assert said == []


def test_every_task_brings_a_decoder_to_the_total() -> None:
    rows = {(row.part, row.phase): row for row in counted("decoders").rows if row.metric == "macs"}
    assert rows["encoder", "infer"].slope == pytest.approx(0)
    assert rows["total", "infer"].slope > 0


def test_saved_memory_is_counted_for_training_alone() -> None:
    rows = [row for row in counted("full", phases=("train",), parts=("encoder",)).rows if row.metric == "memory"]
    assert {row.phase for row in rows} == {"train"}
    assert all(value > 1e6 for row in rows for value in row.values)


def test_counts_on_meta_are_those_of_real_tensors() -> None:
    subject = Subject(VMT, VMT.Config(name="vmt"), "swin")
    method = subject.build().method
    image = subject.images(1)
    real = forward_work(lambda x: list(method(x).per_task.values()), image)
    method.to("meta")
    assert forward_work(lambda x: list(method(x).per_task.values()), image.to("meta")) == real


def test_what_is_frozen_in_front_of_the_first_trained_site_keeps_nothing() -> None:
    record = counted("vmt", "full", "decoders", tasks=(1, 2), phases=("train",), parts=("encoder",))
    metrics = {label: [name for name in held if "patch_embed" in name] for label, held in record.saved_bytes.items()}
    assert metrics["vmt"] == []
    assert metrics["full"] != []
    assert record.saved_bytes["decoders"] == {}
    frozen = [
        name for name in record.saved_bytes["vmt"] if name.endswith(("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"))
    ]
    assert frozen == []  # a frozen linear layer keeps no input: its weight needs no gradient


@pytest.mark.parametrize("method", [{"name": "side"}, {"name": "vmt", "reenter": False}])
def test_what_stays_beside_the_trunk_keeps_a_third_of_the_bytes_of_a_tap(method: dict[str, Any]) -> None:
    """On Swin-T with four tasks; the encoder's bytes, to which decoders add the same for every method."""

    def saved(section: dict[str, Any]) -> int:
        backbone = {"name": "swin_tiny_patch4_window7_224"}
        model = build_on_meta({"backbone": backbone, "method": section, "tasks": 4}).model.to("meta").train()
        image = torch.empty(1, 3, 224, 224, device="meta")
        return saved_for_backward(model, lambda: model.method(image)).total_bytes

    assert saved(method) / saved({"name": "vmt"}) <= 0.35


def test_bfloat16_predicts_nearly_the_same() -> None:
    subject = Subject(VMT, VMT.Config(name="vmt"), "swin")
    model, image = subject.build(), subject.images(2)
    eager = inference(model, image)(lambda part: None)
    low = inference(model, image, "bf16")(lambda part: None)
    for task, exact in eager.items():
        assert low[task].dtype == torch.bfloat16
        assert float((low[task].float() - exact).norm() / exact.norm()) < 0.05


def test_what_cannot_be_done_is_said_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["scaling", "--method", "vmt", "--tasks", "1,2"]
    with pytest.raises(SystemExit):
        main([*common, "--out", "/proc/none"])
    assert "'/proc/none' cannot be written" in capsys.readouterr().err
    for mode, told in (("cuda-graphs", "needs a CUDA device, not cpu"), ("compile", "--mode compiled")):
        with pytest.raises(SystemExit) as end:
            main([*common, "--mode", mode])
        assert end.value.code == 2
        assert told in capsys.readouterr().err


def test_the_step_that_is_watched_at_the_features_gives_the_gradients_of_a_runs_losses() -> None:
    config = resolved("vmt")
    model, image = build(config).train(), torch.rand(2, 3, 32, 32)
    specs = task_specs(config)
    objective = objective_of(config, {task: spec.channels for task, spec in specs.items()}, model, image)
    predictions = model(image)
    total = sum(s.loss_weight * s.loss(predictions[t], objective.labels[t]) for t, s in specs.items())
    assert isinstance(total, torch.Tensor)
    total.backward()
    whole = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    held: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        parameter.grad = None
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p, name=name: held.update({name: p.grad.clone()}))
    training(model, image, objective=objective)(lambda part: None)
    assert held.keys() == {name for name, grad in whole.items() if grad is not None}
    for name, gradient in held.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-4 * float(whole[name].abs().max() + 1e-6))


def test_a_training_step_holds_the_losses_and_what_the_balancer_does() -> None:
    """By part: with several backward passes the decoders' work stays theirs, and all the rest is the encoder's."""
    both = {"phases": ("train",), "parts": ("encoder", "decoders")}
    work = {
        name: count_method(setup(settings={"train": {"balancer": {"name": name}}}, **both), {"name": "vmt"}, 6).work
        for name in ("fixed", "pcgrad", "famo")
    }
    encoder, decoders = ({name: one["train", part] for name, one in work.items()} for part in ("encoder", "decoders"))
    alone = count_method(setup(phases=("train", "infer"), parts=("encoder",)), {"name": "vmt"}, 6).work
    forward = count_method(setup(phases=("infer",), parts=("encoder",)), {"name": "vmt"}, 6).work["infer", "encoder"]
    assert encoder["fixed"].macs == alone["train", "encoder"].macs
    assert encoder["famo"].macs == encoder["fixed"].macs + forward.macs
    assert decoders["pcgrad"].macs == decoders["fixed"].macs < decoders["famo"].macs
    backward = encoder["fixed"].macs - forward.macs
    # The paths of two tasks part at their own adapters, so that six backward passes cost a little less than six whole.
    assert 5 * backward < encoder["pcgrad"].macs - forward.macs <= 6 * backward


class ThroughTheTrunk(VMT):
    """Declares a tap, and runs the trunk once per task."""

    def forward(self, image: torch.Tensor) -> Features:
        held = [super(ThroughTheTrunk, self).forward(image) for _ in self.tasks]
        return Features(per_task={task: one.per_task[task] for task, one in zip(self.tasks, held, strict=True)})


def test_a_vmt_that_runs_per_task_features_through_the_trunk_is_caught() -> None:
    def macs(number: int) -> int:
        subject = Subject(ThroughTheTrunk, VMT.Config(name="vmt"), "swin")
        method = subject.build(("first", "second", "third")[:number]).method
        return forward_work(lambda x: list(method(x).per_task.values()), subject.images(1)).macs

    assert macs(3) == 3 * macs(1)
    assert contradiction("tapped", "linear") is not None


def test_a_backward_pass_is_held_against_the_declared_execution() -> None:
    assert contradiction("side", "constant", backward=True) == (
        "declares side, but a training step goes back through the trunk"
    )
    assert contradiction("tapped", "constant", backward=False) is not None
    assert contradiction("side", "constant", backward=False) is None
    assert contradiction("tapped", "constant", backward=True) is None
    record = counted("side", "vmt", "decoders", tasks=(1, 2), phases=("train",), parts=("encoder",))
    assert record.backward == {"side": False, "vmt": True, "decoders": False}


def test_the_first_table_of_the_page_has_training_beside_inference(tmp_path: Path) -> None:
    record = counted("side", "mtlora", "single", tasks=(1, 4), parts=("encoder",))
    rows = {row["method"]: row for row in headline_rows(record)}
    assert [rows[name]["passes of the trunk"] for name in rows] == ["1", "1 and parts", "T"]
    assert [rows[name]["backward through the trunk"] for name in rows] == ["no", "yes", "yes"]
    assert rows["single"]["a task more, by count"] == "100.0 % of a pass"
    assert rows["side"]["encoder saves for backward, T = 4"].endswith(" MB")
    assert not any("inference" in name or "peak" in name for name in rows["side"]), "nothing was timed, on a CPU"
    write_scaling(record, tmp_path)
    first = next(line for line in (tmp_path / PAGE).read_text("utf-8").splitlines() if line.startswith("| "))
    assert "backward through the trunk" in first
    timed = next(row for row in record.rows if (row.label, row.metric, row.phase) == ("side", "macs", "infer"))
    times = [timed.model_copy(update={"metric": "latency", "values": (3.0, 4.0), "reference": 2.0})]
    times.append(times[0].model_copy(update={"phase": "train", "values": (9.0, 12.0), "reference": 9.0}))
    peaks = {"side train": {"1": (10**6, 10**6), "4": (5 * 10**6, 9 * 10**6)}}
    record = record.model_copy(update={"rows": (*record.rows, *times), "peak_bytes": peaks})
    row = headline_rows(record)[0]
    assert (row["inference, encoder, T = 4"], row["training step, encoder, T = 4"]) == ("2.00 passes", "6.00 passes")
    assert row["accelerator's peak in training, T = 4"] == "5.0 MB"


def test_scaling_stops_at_a_vmt_that_runs_the_trunk_once_per_task(monkeypatch: pytest.MonkeyPatch) -> None:
    once = VMT.forward

    def once_per_task(self: VMT, image: torch.Tensor) -> Features:
        return Features(per_task={task: once(self, image).per_task[task] for task in self.tasks})

    monkeypatch.setattr(VMT, "forward", once_per_task)
    with pytest.raises(DisagreementError, match="'vmt' disagree: encoder macs, T = 2"):
        counted("vmt", tasks=(1, 2), phases=("infer",), parts=("encoder",))


def test_the_record_and_its_page_show_every_way_of_counting(tmp_path: Path) -> None:
    record = counted("decoders", tasks=(1, 5), phases=("infer",), parts=("encoder",))
    assert {row.tasks for row in record.agreements} == {1}
    write_scaling(record, tmp_path)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    macs = next(row for row in record.agreements if row.quantity == "encoder_macs")
    assert page.count(f"| {macs.counted:,} | {macs.fvcore:,} | {macs.closed_form:,} |") == 1
    assert "above four tasks" in page
    assert read_scaling(tmp_path / "scaling.json") == record


@pytest.mark.parametrize("phase", ["infer", "train"])
def test_forward_and_backward_count_what_a_real_pass_does(phase: str) -> None:
    """A frozen layer behind an adapter costs twice its forward pass, one that is trained three times."""
    one = setup(phases=(phase,), parts=("encoder",), tasks=(1,))
    full = count_method(one, {"name": "full"}, 1).work[phase, "encoder"].macs
    floor = count_method(one, {"name": "decoders"}, 1).work[phase, "encoder"].macs
    assert full == floor if phase == "infer" else 2.9 < full / floor <= 3.0


def test_the_command_writes_record_page_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["scaling", "--method", "vmt", "--tasks", "1,2,4", "--phase", "infer", "--part", "encoder"]
    arguments += ["--rounds", "3", "--processes", "1", "--threads", "1", "--format", "json", "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(arguments)
    rows = json.loads(capsys.readouterr().out)
    fields = {"method", "metric", "phase", "part", "execution", "tasks", "values", "intercept", "slope", "interval"}
    fields |= {"relative_marginal_cost", "cost_ratio", "doubling_tasks", "verdict", "synthetic_tasks"}
    assert all(fields <= row.keys() for row in rows)
    assert [row["method"] for row in rows if row["metric"] == "latency"] == ["decoders", "single", "vmt"]
    record = read_scaling(tmp_path / "scaling.json")
    assert record is not None
    assert {"reference", "1", "2", "4"} == set(record.samples["vmt"]["infer/encoder"])
    assert {path.name for path in tmp_path.iterdir()} == {
        ".petl-bench.json",
        "README.md",
        "scaling.csv",
        "scaling.json",
        "scaling.png",
    }


def test_missed_controls_take_every_label_from_times(tmp_path: Path) -> None:
    record = counted("decoders", phases=("infer",)).model_copy(
        update={"missed": ("decoders (infer) should cost nothing per task",)}
    )
    write_scaling(record, tmp_path)
    assert "The controls missed" in (tmp_path / PAGE).read_text(encoding="utf-8")


def test_the_encoder_is_timed_beside_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench-peers", "--tasks", "2", "--batch", "1", "--rounds", "2", "--format", "json"])
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["vmt"]["times_the_first"] == 1.0
    assert {"frozen backbone", "peft LoRA, switched", "single", "lora:scope=shared, merged"} < rows.keys()
    assert rows["peft LoRA, switched"]["times_the_backbone"] > 1.3
