"""T tasks in one run are T runs, for everything that the tasks do not share. Through the real training loop."""

from collections.abc import Sequence

import pytest
import torch
from accelerate import Accelerator
from conftest import Noise, resolved

from petl_bench import plugins
from petl_bench.data.base import Batch
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.train import train
from petl_bench.model import MultiTaskModel
from petl_bench.testing import Subject

TASKS = ("semseg", "saliency", "normals")

# No batch norm: what it absorbs (the biases in front of it) has rounding noise for a gradient, which AdamW enlarges.
LINEAR = {"name": "linear"}


class DoubleNoise(Noise):
    """The same images in double precision."""

    def batch(self, indices: Sequence[int]) -> Batch:
        batch = super().batch(indices)
        return Batch(batch.images.double(), batch.labels)


def trained(name: str, tasks: tuple[str, ...], *, double: bool = False, **sections: object) -> MultiTaskModel:
    config = resolved(name, tasks, **sections)
    model = build(config).double() if double else build(config)
    dataset = (DoubleNoise if double else Noise)(config.dataset, "train", tasks)
    train(model, task_specs(config), dataset, config, Accelerator(cpu=True), lambda _: None)
    return model.eval()


def per_task(model: MultiTaskModel, task: str) -> list[torch.Tensor]:
    """Return what belongs to a task: its private parameters, its slices, its decoder with buffers."""
    owned, t = model.method.owned(), model.tasks.index(task)
    stacked = [parameter[t] for parameter in owned.stacked.values()]
    return [*owned.private[task].values(), *stacked, *model.decoders[task].state_dict().values()]


@pytest.mark.usefixtures("one_thread")
def test_three_single_task_runs_equal_one_run_of_three_bit_for_bit() -> None:
    together = trained("single", TASKS)
    for task in TASKS:
        alone = trained("single", (task,))
        pairs = list(zip(per_task(together, task), per_task(alone, task), strict=True))
        assert len(pairs) > 100
        assert all(torch.equal(one, two) for one, two in pairs), task


@pytest.mark.usefixtures("one_thread")
def test_per_task_lora_trained_jointly_equals_separate_runs() -> None:
    """In double precision: AdamW divides by the gradient's size, so it enlarges the rounding of a batched product."""
    together = trained("lora", TASKS, double=True, decoder=LINEAR)
    for task in TASKS:
        alone = trained("lora", (task,), double=True, decoder=LINEAR)
        for one, two in zip(per_task(together, task), per_task(alone, task), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("one_thread")
def test_shared_lora_depends_on_the_other_tasks() -> None:
    together = trained("lora", TASKS, method={"scope": "shared"})
    alone = trained("lora", TASKS[:1], method={"scope": "shared"})
    one, two = (next(iter(model.method.owned().shared.values())) for model in (together, alone))
    assert not torch.allclose(one, two)


def test_clipping_is_per_owner() -> None:
    """A loss a thousand times larger on one task leaves the others' private updates alone."""
    plain = trained("lora", TASKS, decoder=LINEAR)
    loud = trained("lora", TASKS, decoder=LINEAR, train={"loss_weights": {"semseg": 1000.0}})
    for one, two in zip(per_task(plain, "normals"), per_task(loud, "normals"), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lora", "vmt", "mtlora"])
@pytest.mark.parametrize("number", [1, 3])
def test_maps_of_a_single_image_are_channels_last_down_to_their_strides(name: str, number: int) -> None:
    """Convolutions go by strides: one that only a batch of one makes ambiguous doubled the decoders' time."""
    made = plugins.load("methods", name)
    subject = Subject(made, made.Config(name=name), "swin")
    method = subject.build(("first", "second", "third")[:number]).method
    for pyramid in method(subject.images(1)).per_task.values():
        for level in pyramid:
            assert level.stride() == level.clone(memory_format=torch.channels_last).stride()
