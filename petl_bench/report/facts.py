"""What was run, in words: the settings and machines behind a table, and where its rows differ in them."""

from collections.abc import Callable, Iterator, Sequence

from petl_bench.config import in_words
from petl_bench.identity import flatten
from petl_bench.records.run import Environment
from petl_bench.report.aggregate import Row
from petl_bench.report.load import Run

_COMMON = (
    ("Backbone", "backbone.name"),
    ("Decoder", "decoder.name"),
    ("Dataset", "dataset.name"),
    ("Image size (pixels)", "dataset.image_size"),
    ("Training images", "dataset.train_images"),
    ("Test images", "dataset.test_images"),
    ("Budget", "budget"),
    ("Steps", "train.steps"),
    ("Batch size", "train.batch_size"),
    ("Precision", "train.precision"),
)
_OF_FILES = (("Protocol", "dataset.protocol"), ("Scored at", "dataset.eval_at"))
"""Settings that not every data set has."""
_RATE = "train.learning_rate."


def facts(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield (what, text) for the runs of a table; where rows differ the text names them."""
    for what, key in _COMMON:
        yield what, _most_and_rest(_holders(rows, lambda run, key=key: in_words(run.settings.get(key, "-"))))
    for what, key in _OF_FILES:
        if any(key in run.settings for row in rows for run in row.runs):
            yield what, _most_and_rest(_holders(rows, lambda run, key=key: run.settings.get(key, "-")))
    yield "Tasks", _most_and_rest(_holders(rows, lambda run: ", ".join(run.tasks)))
    yield "Initial weights (hash)", _most_and_rest(_holders(rows, _weights))
    yield "Data (hash)", _most_and_rest(_holders(rows, lambda run: _data(run)))
    yield "Peak learning rates", _most_and_rest(_holders(rows, _learning_rates))
    seeds = {run.folder: ", ".join(map(str, row.seeds)) for row in rows for run in row.runs}
    yield "Training loop (version)", _most_and_rest(_holders(rows, lambda run: run.record.engine_version))
    yield "Seeds", _most_and_rest(_holders(rows, lambda run: seeds[run.folder]))
    yield "Execution", _most_and_rest(_holders(rows, lambda run: run.record.execution))
    yield "Commit", _most_and_rest(_holders(rows, lambda run: _commit(run.record.environment)))
    yield "Versions", _most_and_rest(_holders(rows, lambda run: _versions(run.record.environment)))
    yield "Device", _most_and_rest(_holders(rows, lambda run: _device(run.record.environment)))
    yield "Number type", _most_and_rest(_holders(rows, lambda run: run.record.environment.dtype))
    yield "Threads", _most_and_rest(_holders(rows, lambda run: run.record.environment.threads))
    yield "Platform", _most_and_rest(_holders(rows, lambda run: run.record.environment.platform))


def environment_notes(rows: Sequence[Row]) -> list[str]:
    """Return one sentence for every field of the environment that is not the same in all runs."""
    environments = [dict(flatten(run.record.environment.model_dump())) for row in rows for run in row.runs]
    notes: list[str] = []
    for key in sorted({key for environment in environments for key in environment}):
        holders = _holders(rows, lambda run, key=key: _field(run.record.environment, key))
        if len(holders) > 1:
            notes.append(f"The environment differs among rows in `{key}`: {_in_words(holders)}.")
    return notes


def _data(run: Run) -> str:
    """Return the data's hash with as much of its digest as tells one from another."""
    named, slash, digest = run.record.data_hash.rpartition("/")
    return named + slash + digest[:12]


def _holders(rows: Sequence[Row], value_of: Callable[[Run], object]) -> dict[str, list[str]]:
    """Return every value that a run holds, with the rows that hold it."""
    holders: dict[str, list[str]] = {}
    for row in rows:
        for run in row.runs:
            labels = holders.setdefault(str(value_of(run)), [])
            if row.label not in labels:
                labels.append(row.label)
    return holders


def _most_and_rest(holders: dict[str, list[str]]) -> str:
    """Return the value that most rows hold, then the other values with the rows that hold them."""
    most = max(holders, key=lambda value: len(holders[value]))
    rest = _in_words(holders, but=most)
    return f"{most}; but {rest}" if rest else most


def _in_words(holders: dict[str, list[str]], *, but: str | None = None) -> str:
    """Return every value but one with the rows that hold it; of a value that most rows hold, those that do not."""
    rows = dict.fromkeys(label for labels in holders.values() for label in labels)
    said: list[str] = []
    for value, labels in holders.items():
        others = [label for label in rows if label not in labels]
        if len(labels) < 3 or len(others) >= len(labels):
            held = _quoted(labels)
        else:
            held = f"in every row but {_quoted(others)}" if others else "in every row"
        said += [f"{value} ({held})"] if value != but else []
    return "; ".join(said)


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _field(environment: Environment, key: str) -> object:
    return dict(flatten(environment.model_dump())).get(key, "none")


def _weights(run: Run) -> str:
    source = str(run.settings["backbone.weights"]).partition(":")[0]
    return source if source == run.weights else f"{source} ({run.weights[:12]})"


def _learning_rates(run: Run) -> str:
    rates = {key.removeprefix(_RATE): value for key, value in run.settings.items() if key.startswith(_RATE)}
    return ", ".join(f"{name} {value:g}" for name, value in rates.items())


def _commit(environment: Environment) -> str:
    if environment.commit is None:
        return "unknown"
    state = {True: " with uncommitted changes", False: "", None: " (state unknown)"}[environment.dirty]
    return f"{environment.commit[:12]}{state}"


def _versions(environment: Environment) -> str:
    return ", ".join(f"{name} {version}" for name, version in environment.versions.items())


def _device(environment: Environment) -> str:
    return f"{environment.device}, {environment.device_name}"
