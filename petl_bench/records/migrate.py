"""Older records, brought to the present schema when they are read: one function a step. Files are never rewritten."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from petl_bench.identity import HASH_VERSION, identify
from petl_bench.records.run import SCHEMA_VERSION

Raw = dict[str, Any]

# Version 1 hashed the renderer's source, which drew the pictures of scenes version 1.
SCENES_1 = frozenset({"b0a07cd4020d51fbb13a74971b626e4c4e704e9032982302b90a2e307cd59d68"})
# The shipped weights of version 1; all other initial weights had seen no labels of any data set.
SHIPPED_1 = "dbb41c9e76404f420a4868e65834efec07c1e80450ebd65334880b2697af3f2f"
THRESHOLDS_1 = {"max_miou": "[0.20:0.90:15]", "max_f": "[0.20:0.90:15]", "pixel_f": "[0.01:0.99:99]"}
UNITS_1 = {"mean_angular_error": "deg", "median": "deg", "rmse": "deg", "abs_rel": ""}
LOWER_IS_BETTER_1 = frozenset({"mean_angular_error", "median", "rmse", "abs_rel"})

# What methods of version 1 trained of the trunk: nothing, or everything. Of the others a ledger does not tell.
# fmt: off
ADDED_ALONE_1 = frozenset(
    {
        "adapter", "adaptformer", "compacter", "decoders", "hyperformer", "lora", "low-rank-adapter", "phm",
        "polyhistor", "polyhistor-lite", "relative-bias", "shared-adapter", "ssf", "vmt", "vmt-lite", "vpt",
    }
)
# fmt: on
TRUNK_ALONE_1 = frozenset({"full", "single"})


def migrate(raw: Mapping[str, Any]) -> Raw:
    """Return the content of a record file in the present schema.

    Raises:
        ValueError: The content is of no known version.
    """
    is_present = raw.get("schema_version") == SCHEMA_VERSION
    content = dict(raw) if is_present else copy.deepcopy(dict(raw))  # a copy takes twice as long as the reading
    while (version := content.get("schema_version")) != SCHEMA_VERSION:
        if not isinstance(version, int) or version not in STEPS:
            raise ValueError(f"schema_version = {version!r} is none of {', '.join(map(str, [*STEPS, SCHEMA_VERSION]))}")
        content = STEPS[version](content)
    return content


def _to_2(old: Raw) -> Raw:
    """Say every number's unit, direction and convention, hash beyond the defaults, and let comparison be the report's.

    Parameters that are the trunk's own are told apart where it is known of the method.

    What was seen in pre-training belonged to the data set alone, though only the shipped weights had seen anything.
    """
    new = {key: value for key, value in old.items() if key not in ("comparison", "rates_tuned")}
    config = old["config"]
    new |= {"schema_version": 2, "hash_version": HASH_VERSION, "engine_version": 1}
    if old["data_hash"] in SCENES_1:
        new["data_hash"] = "scenes/1"
    new |= identify(config, weights_hash=old["weights_hash"], data_hash=new["data_hash"], engine_version=1).model_dump()
    seen = old["weights_hash"] == SHIPPED_1
    new["parameters"] = _ledger(old.get("parameters"), config["method"]["name"])
    new["metrics"] = {task: _task_result(result, config, seen=seen) for task, result in old["metrics"].items()}
    return new


def _ledger(old: Raw | None, method: str) -> Raw | None:
    if old is None or method not in ADDED_ALONE_1 | TRUNK_ALONE_1:
        return old
    return {**old, "trunk": old["shared"] + old["per_task"] if method in TRUNK_ALONE_1 else 0}


def _task_result(old: Raw, config: Raw, *, seen: bool) -> Raw:
    size, images = config["dataset"]["image_size"], config["dataset"]["test_images"]
    return {
        "primary": old["primary"],
        "metrics": {
            name: {
                "value": old["values"][name],
                "trivial": old["trivial"][name],
                "unit": old["unit"] if name == old["primary"] else UNITS_1.get(name, "%"),
                "higher_is_better": name not in LOWER_IS_BETTER_1,
                "convention": f"{name}/1{THRESHOLDS_1.get(name, '')}@{size}x{size}/test:{images}",
            }
            for name in old["values"]
        },
        "seen_in_pretraining": old.get("seen_in_pretraining", False) and seen,
    }


STEPS: Mapping[int, Callable[[Raw], Raw]] = {1: _to_2}
