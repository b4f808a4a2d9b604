"""The record of a scaling measurement: curves of cost against the number of tasks, their fits and labels."""

from typing import Any, Literal

from pydantic import Field

from petl_bench.config import ImageSize
from petl_bench.records.run import Entry, Environment

SCHEMA_VERSION = 2

Growth = Literal["constant", "near-constant", "sub-linear", "linear", "none"]
Samples = tuple[tuple[float, ...], ...]  # by process, then by round


class ScalingRow(Entry):
    """One curve.

    Attributes:
        values: Cost at each number of tasks, in the unit of the metric.
        unit: ``ms``, ``macs``, ``operations``, ``bytes``, ``parameters``.
        reference: What the cost is relative to, in the same unit: one pass of the plain frozen backbone (inference),
            the method's own step with one task (training), the backbone's parameters.
        intercept: Of the fit, in the unit.
        slope: Of the fit, in the unit for one task more.
        relative_marginal_cost: m = slope / reference.
        interval: 95 % interval of m, over processes; a point where nothing is random.
        cost_ratio: Cost at 16 tasks, or at the most measured, over cost at the fewest.
        doubling_tasks: The T at which the cost is twice that of one task.
        synthetic_tasks: Per number of tasks, how many fill up what the dataset lacks.
        is_straight: The slopes on few and on many tasks agree.
        contradiction: What is wrong when the label does not go with the declared execution.
    """

    method: str
    label: str
    metric: str
    phase: Literal["infer", "train"]
    part: Literal["encoder", "decoders", "total"]
    execution: str
    tasks: tuple[int, ...]
    values: tuple[float, ...]
    unit: str
    reference: float
    intercept: float
    slope: float
    relative_marginal_cost: float
    interval: tuple[float, float]
    cost_ratio: float
    doubling_tasks: float | None
    verdict: Growth
    synthetic_tasks: tuple[int, ...]
    is_straight: bool = True
    contradiction: str | None = None


class Agreement(Entry):
    """One number, counted in up to three ways that must agree.

    Attributes:
        label: The method.
        tasks: How many.
        quantity: Multiply-adds of one image in inference, of the encoder or of all decoders; parameters of the method,
            all that are trained, and all.
        counter: Who made ``counted``: ``torch`` (what it dispatches) or the ``ledger``.
        counted: The number that every other table has.
        fvcore: fvcore's count.
        closed_form: By the equations, where they are stated.
    """

    label: str
    tasks: int
    quantity: Literal["encoder_macs", "decoder_macs", "method_parameters", "trained_parameters", "all_parameters"]
    counter: Literal["torch", "ledger"]
    counted: int
    fvcore: int
    closed_form: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether all ways give one number."""
        return len({self.counted, self.fvcore} | ({self.closed_form} - {None})) == 1


class ScalingRecord(Entry):
    """One measurement of several methods on one machine.

    Attributes:
        asked: Everything that was asked for, so that a record that was broken off can be gone on with; older ones have
            nothing.
        balancer: Of the training steps; None where they have no losses, and gradients of one begin at the outputs.
        schema_version: 1 had intervals over the rounds inside processes alone (see ``petl_bench.records.refit``).
        batch_sizes: By method, images of a timed pass.
        mode: How passes were executed: ``eager``, ``compiled``, in ``bf16``, as ``cuda-graphs``.
        noise: Interquartile range of the ratio of the plain backbone's pass to itself.
        rounds: Rounds of every process.
        processes: Processes per method.
        missed: What the controls got wrong; then no time has a verdict.
        controls: The methods whose curves are known: ``floor`` costs nothing per task, ``ceiling`` one backbone.
        saved_bytes: By method and module of the encoder, bytes kept for the backward pass of one image at most tasks.
        peak_bytes: By method and phase, then by T: bytes an accelerator allocated beyond the models, and reserved.
        backward: By method, whether a training step goes back through the trunk, as autograd keeps it; empty in records
            older than the column.
        agreements: What was counted in several ways, for numbers of tasks that fvcore can trace.
        samples: By method, phase/part and ``reference`` or T: milliseconds by process, one a round.
    """

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    created: str
    asked: dict[str, Any] = {}
    backbone: str
    image_size: ImageSize
    decoder: str
    balancer: str | None = None
    batch_sizes: dict[str, int] = {}
    mode: str = "eager"
    noise: float | None = None
    rounds: int = 0
    processes: int = 0
    controls: dict[str, str] = {}
    missed: tuple[str, ...] = ()
    environment: Environment
    rows: tuple[ScalingRow, ...] = Field(min_length=1)
    saved_bytes: dict[str, dict[str, int]] = {}
    peak_bytes: dict[str, dict[str, tuple[int, int]]] = {}
    backward: dict[str, bool] = {}
    agreements: tuple[Agreement, ...] = ()
    samples: dict[str, dict[str, dict[str, Samples]]] = {}
