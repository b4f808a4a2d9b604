"""What a record must be beyond its schema before anything is made of it: types and bounds of its config and counts."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from petl_bench.records.run import RunRecord

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.:+@/ -]{0,199}$")]
Hash = Annotated[str, Field(pattern=r"^[\w.:+@-][\w.:+@/-]{0,199}$")]
Count = Annotated[int, Field(ge=0, le=10**15)]
Number = Annotated[int, Field(ge=1, le=10**9)]
Side = Annotated[int, Field(ge=1, le=100_000)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Named(_Part):
    name: Name


class _Backbone(_Named):
    weights: str


class _Dataset(_Named):
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)]


class _Train(_Part):
    steps: Number
    batch_size: Number
    learning_rate: dict[str, float] = {}


class _Config(_Part):
    method: _Named
    backbone: _Backbone
    decoder: _Named
    dataset: _Dataset
    tasks: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    budget: Name
    train: _Train
    seed: Count


class _Record(_Part):
    config: _Config
    fingerprint: Hash
    group: Hash
    weights_hash: Hash
    data_hash: Hash
    hash_version: Count
    engine_version: Count
    parameters: dict[str, Count | None] | None


def is_sound(record: RunRecord) -> bool:
    """Return whether config, hashes and counts of a record are of the types and sizes that a run gives them."""
    fields = ("config", "fingerprint", "group", "weights_hash", "data_hash", "hash_version", "engine_version")
    content: dict[str, Any] = {name: getattr(record, name) for name in fields}
    content["parameters"] = None if record.parameters is None else record.parameters.model_dump()
    try:
        _Record.model_validate(content)
    except ValidationError:
        return False
    return ".." not in record.fingerprint + record.group
