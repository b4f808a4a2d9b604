"""Files of published figures: what a source says, and what it takes to count it again."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from petl_bench.config import Section, validate_section
from petl_bench.errors import UsageError

Provenance = Literal["stated", "code", "derived", "secondary"]
Scores = Annotated[dict[str, float], Field(min_length=1)]


class Convention(Section):
    """A way to count.

    Attributes:
        name: What it is called in the verdict.
        counted: Whose trained parameters are counted.
        percent_of: For a claim in percent, what is 100: one backbone, or one per task.
        rounding: How digits are dropped: to the nearest, or cut.
        add: Parameters that the figure counts and our modules lack, negative for the reverse; ``name`` says which.
        fitted: The settings are not published and were chosen to fit, so a match is no evidence for them.
        set: Settings that differ from the claim's.
    """

    name: str
    counted: Literal["method", "decoders", "method and decoders"] = "method"
    percent_of: Literal["one backbone", "all backbones"] = "all backbones"
    rounding: Literal["nearest", "down"] = "nearest"
    add: int = 0
    fitted: bool = False
    set: dict[str, Any] = {}


class Claim(Section):
    """A published figure.

    Attributes:
        row: What the source calls it.
        method: The method here that it is about.
        published: As printed, ``8.69`` or ``~1``; its decimals are the tolerance.
        unit: ``M`` (millions of parameters) or ``%``.
        provenance: ``stated`` in the source, read in its ``code``, ``derived`` from other figures, or ``secondary``: as
            other publications repeat it.
        convention: The convention that the source states or implies, where it is not the file's.
        others: Further conventions, tried in order.
        set: Settings.
    """

    row: str
    method: str
    table: str
    published: Annotated[str, Field(pattern=r"^~?\d+(\.\d+)?$")]
    unit: Literal["M", "%"]
    provenance: Provenance
    note: str = ""
    convention: Convention | None = None
    others: tuple[Convention, ...] = ()
    set: dict[str, Any] = {}


class Legacy(Section):
    """Where a report shows delta_m relative to a printed row, in a second column beside its own.

    Attributes:
        dataset: Tables on this data set,
        protocol: under this protocol.
        metrics: By task, the metric here that the printed score is of.
        why: Why the printed row is no reference, one sentence without its full stop.
    """

    dataset: str
    protocol: str
    metrics: Annotated[dict[str, str], Field(min_length=1)]
    why: str


class Reference(Section):
    """What a printed delta_m is relative to.

    Attributes:
        name: Whose row it is.
        scores: By task, printed with ``decimals`` digits.
        lower_is_better: Tasks of which less is better.
        legacy: Where a report shows it.
    """

    name: str
    scores: Scores
    decimals: int = 2
    lower_is_better: tuple[str, ...] = ()
    legacy: Legacy | None = None

    @model_validator(mode="after")
    def one_metric_a_score(self) -> Self:
        """Refuse metrics of other tasks than the scores'."""
        if self.legacy is not None and self.legacy.metrics.keys() != self.scores.keys():
            raise ValueError("legacy.metrics and scores are not of the same tasks")
        return self

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Directions by task."""
        return {task: task not in self.lower_is_better for task in self.scores}


class Accuracy(Section):
    """A printed row of scores, and the delta_m printed beside it.

    Attributes:
        row: What the source calls it.
        method: The method here that it is about, or the source's name of it.
        published: delta_m in % as printed, ``+2.23``.
        scores: By task as printed; the tasks of the reference.
    """

    row: str
    method: str
    table: str
    published: Annotated[str, Field(pattern=r"^[+-]\d+\.\d+$")]
    provenance: Provenance
    scores: Scores
    note: str = ""


class Statement(Section):
    """A claim that gives nothing to count or to compute with; ``why`` says what is missing."""

    row: str
    method: str
    table: str
    published: str
    provenance: Provenance
    why: str


class Source(Section):
    """One publication (one TOML file): what is common to its claims, and each of them.

    Attributes:
        convention: How its figures are counted, where a claim says nothing else.
        claims: Figures that are counted again.
        reference: What printed delta_m are relative to; or ``relative_to``, the file (without ``.toml``) that has it.
        needs: What it would take to measure its accuracies.
        accuracy: Printed scores.
        statements: Claims that give nothing to count.
    """

    source: str
    address: str
    convention: Convention | None = None
    base: dict[str, Any] = {}
    claims: tuple[Claim, ...] = ()
    reference: Reference | None = None
    relative_to: str | None = None
    needs: str = ""
    accuracy: tuple[Accuracy, ...] = ()
    statements: tuple[Statement, ...] = ()

    @model_validator(mode="after")
    def nothing_is_left_open(self) -> Self:
        """Refuse a file without claims, and claims without what they are judged by."""
        if not (self.claims or self.accuracy or self.statements):
            raise ValueError("there are neither claims nor accuracy nor statements in it")
        if self.convention is None and any(claim.convention is None for claim in self.claims):
            raise ValueError("neither the file nor every claim names its convention")
        if self.accuracy and not (self.needs and (self.reference or self.relative_to)):
            raise ValueError("accuracy goes with needs, and with reference or relative_to")
        return self


def read_claims(folder: Path) -> dict[str, Source]:
    """Read all files of claims in a folder, by file name.

    Raises:
        UsageError: There is none, or one is not TOML or has unknown keys.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise UsageError(f"There are no files of claims (*.toml) in {str(folder)!r}.")
    sources: dict[str, Source] = {}
    for path in paths:
        try:
            sources[path.name] = validate_section(Source, tomllib.loads(path.read_text(encoding="utf-8")), "")
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"The claims in {str(path)!r} are not valid TOML: {error}.") from None
        except UsageError as error:
            raise UsageError(f"The claims in {str(path)!r} cannot be read.\n{error}") from None
    return sources
