"""Groups of tasks: the cosines of their gradients, and what is joined."""

import numpy as np
import pytest
import torch
from conftest import Noise, resolved

from petl_bench.cli.main import main
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.probe import gradient_cosines, grouped
from petl_bench.errors import UsageError

TASKS = ("a", "b", "c", "d")
COSINES = np.array([[1.0, 0.1, 0.8, 0.0], [0.1, 1.0, 0.2, 0.5], [0.8, 0.2, 1.0, 0.1], [0.0, 0.5, 0.1, 1.0]])


@pytest.mark.parametrize(
    ("number", "groups"),
    [
        (4, [("a",), ("b",), ("c",), ("d",)]),
        (3, [("a", "c"), ("b",), ("d",)]),
        (2, [("a", "c"), ("b", "d")]),
        (1, [("a", "b", "c", "d")]),
    ],
)
def test_the_most_alike_tasks_are_joined_first(number: int, groups: list[tuple[str, ...]]) -> None:
    assert sorted(grouped(COSINES, TASKS, number)) == groups


def test_groups_are_joined_by_their_mean_cosine_and_not_by_the_best_pair() -> None:
    """c is nearest to b (0.6), but to the pair of a and b it is at 0.25 on average, and to d at 0.4."""
    cosines = np.array([[1.0, 0.9, -0.1, 0.0], [0.9, 1.0, 0.6, 0.0], [-0.1, 0.6, 1.0, 0.4], [0.0, 0.0, 0.4, 1.0]])
    assert sorted(grouped(cosines, TASKS, 2)) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize("number", [0, 5])
def test_more_groups_than_tasks_are_refused(number: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 4 groups"):
        grouped(COSINES, TASKS, number)


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run read random images with labels."""
    monkeypatch.setattr("petl_bench.engine.probe.load", lambda kind, name: Noise)


@pytest.mark.usefixtures("noise", "one_thread")
def test_the_first_cosines_are_those_of_gradients_taken_one_after_the_other() -> None:
    config = resolved("lora", method={"scope": "shared"}, train={"steps": 1, "batch_size": 4})
    seen: list[int] = []
    cosines = gradient_cosines(config, seen.append)
    assert seen == [1]
    from petl_bench.engine.batches import batches

    (batch,) = batches(Noise(config.dataset, "train", config.tasks), config)
    flat = []
    for task, spec in task_specs(config).items():
        model = build(config).train()
        spec.loss(model(batch.images)[task], batch.labels[task]).backward()
        shared = model.method.owned().shared.values()
        flat.append(torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in shared]))
    for i, one in enumerate(flat):
        for j, other in enumerate(flat):
            assert cosines[i, j] == pytest.approx(float(torch.cosine_similarity(one, other, 0)), abs=1e-4)
    assert (np.abs(cosines[~np.eye(3, dtype=bool)]) < 0.999).all()


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize(
    ("method", "tasks", "fault"),
    [("lora", ("semseg", "normals"), "train nothing in common"), ("full", ("semseg",), "two tasks at least")],
)
def test_what_cannot_be_compared_is_refused(method: str, tasks: tuple[str, ...], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        gradient_cosines(resolved(method, tasks), lambda step: None)


def test_the_command_prints_the_setting_that_runs_the_groups(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["train.steps=1", "dataset.image_size=32", "dataset.train_images=4", "train.batch_size=2"]
    sets = [part for text in [*settings, "backbone.weights=random", "method.scope=shared"] for part in ("--set", text)]
    with pytest.raises(SystemExit) as left:
        main(["groups", "--method", "lora", "--tasks", "3", "--number", "3", *sets])
    assert not left.value.code
    said = capsys.readouterr().out
    assert "--set method.groups=semseg,human_parts,saliency" in said
