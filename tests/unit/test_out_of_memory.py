"""Memory runs out: the batch goes through in more parts, the step is the same, and the record says so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Noise, resolved
from test_resume import breaking, smoke, terminate

from petl_bench import plugins
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import make_accelerator
from petl_bench.engine.evaluate import Measured, decoded, evaluate
from petl_bench.engine.run import run
from petl_bench.engine.train import Loop
from petl_bench.features import Features
from petl_bench.method import METHODS
from petl_bench.records.store import Store

FITS = 2
"""Images of a training pass; the batch has four."""


def loop(*, fits: int | None, error: Exception | None = None, **sections: object) -> Loop:
    """A training of a decoder without batch norm, whose steps do not depend on the parts; a pass of more fails."""
    config = resolved("vmt", runtime={"device": "cpu"}, decoder={"name": "linear"}, **sections)
    made = Loop(build(config), task_specs(config), config, make_accelerator(config))

    def limited(_: object, inputs: tuple[torch.Tensor]) -> None:
        if fits is not None and len(inputs[0]) > fits:
            raise error or torch.OutOfMemoryError("CUDA out of memory")

    made.model.register_forward_pre_hook(limited)
    return made


def after_three_steps(loop: Loop) -> dict[str, torch.Tensor]:
    batch = Noise(loop.config.dataset, "train", loop.config.tasks).batch(range(4))
    for _ in range(3):
        loop.take(batch)
    return loop.model.trained_state()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()]
)
def test_steps_are_those_of_a_batch_that_was_parted_from_the_start(error: Exception) -> None:
    parted = loop(fits=None, train={"accumulation": 2})
    short = loop(fits=FITS, error=error)
    expected, seen = after_three_steps(parted), after_three_steps(short)
    assert (short.parts, short.parted_at) == (2, (1,))
    assert [name for name in expected if not torch.equal(expected[name], seen[name])] == []
    assert short.history == parted.history


def test_an_image_that_does_not_fit_alone_and_another_error_are_raised() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        after_three_steps(loop(fits=0))
    with pytest.raises(torch.OutOfMemoryError):
        after_three_steps(loop(fits=FITS, train={"balancer": {"name": "dwa"}}))  # it reads the losses of a whole batch
    with pytest.raises(RuntimeError, match="another"):
        after_three_steps(loop(fits=FITS, error=RuntimeError("another")))


@pytest.fixture
def greedy():
    """A method whose training passes of more than two images find no memory."""

    class Greedy(plugins.load("methods", "decoders")):
        def forward(self, images: torch.Tensor) -> Features:
            if self.training and len(images) > FITS:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    METHODS.register("greedy")(Greedy)
    yield
    del METHODS._classes["greedy"]


def test_a_run_says_it_and_one_that_goes_on_knows_it(greedy: None, tmp_path: Path) -> None:
    config = smoke("greedy")
    whole = run(config, Store(tmp_path / "whole")).record
    assert whole.status == "finished", whole.error
    assert whole.caveats == ("memory ran out at step 1: batches went through in 2 parts, which batch norm sees",)
    with pytest.raises(SystemExit):
        run(config, Store(tmp_path / "broken"), breaking(3, terminate))
    again = run(config, Store(tmp_path / "broken")).record
    assert again.resumed_at == (3,)
    assert (again.caveats, again.metrics, again.history) == (whole.caveats, whole.metrics, whole.history)


def test_an_evaluation_takes_fewer_images_at_once_and_sees_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolved("vmt", runtime={"device": "cpu"})
    model, specs = build(config), task_specs(config)
    data, passes = Noise(config.dataset, "test", config.tasks), list[int]()
    accelerator = make_accelerator(config)

    def scored() -> dict[str, Measured]:
        return evaluate(model, specs, data, batch_size=8, tell=lambda _: None, accelerator=accelerator)

    def limited(_: object, inputs: tuple[torch.Tensor]) -> None:
        passes.append(len(inputs[0]))
        if len(inputs[0]) > FITS:
            raise torch.OutOfMemoryError("CUDA out of memory")

    expected = scored()
    inference = model.for_inference()
    monkeypatch.setattr(model, "for_inference", lambda: inference)
    hook = inference.register_forward_pre_hook(limited)
    seen = scored()
    assert passes == [8, 4, 2, 2, 2, 2, 1, 1, 1, 1]  # eight images, then four, in the parts that fit once
    for task in specs:
        np.testing.assert_allclose(seen[task].scores, expected[task].scores, rtol=1e-4)
    maps = decoded(model, specs, data, range(4))
    assert {len(one) for one in maps.values()} == {4}
    hook.remove()
    inference.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        scored()  # one image alone does not fit
