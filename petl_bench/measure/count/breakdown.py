"""Where the parameters of a model are: by module, the blocks of a stage and the tasks folded into one line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from petl_bench.backbones.base import Block
from petl_bench.measure.count.meta import MetaModel
from petl_bench.model import MultiTaskModel

TRUNK = ".trunk."
DECODER = "decoder"


@dataclass
class FoldedModules:
    """Modules that differ by their block in a stage or their task alone."""

    modules: set[str] = field(default_factory=set)
    blocks: set[int] = field(default_factory=set)
    shapes: dict[str, None] = field(default_factory=dict)
    parameters: int = 0


def module_rows(asked: MetaModel) -> list[dict[str, Any]]:
    """Return one row per owner, origin and folded path of what is trained, and one for what is frozen.

    The origin is the trunk for its own parts that a method unfreezes.
    ``layers.2.blocks.0-5.mlp`` stands for blocks 0 to 5, ``*`` for the tasks. Stacked parameters have shapes [T, ...].
    """
    model = asked.model
    paths = {f"{block.path}.": block for block in model.method.backbone.blocks}
    lines: dict[tuple[str, str, str], FoldedModules] = {}
    for name, parameter, owner in _trained(model):
        native = owner != DECODER and model.method.belongs_to_backbone(name.removeprefix("method."))
        module, _, last = name.rpartition(".")
        folded, number = _fold(module, paths, model.tasks)
        line = lines.setdefault((folded, owner, "trunk" if native else "added"), FoldedModules())
        line.modules.add(module)
        line.blocks |= set() if number is None else {number}
        line.shapes[f"{last} [{', '.join(map(str, parameter.shape))}]"] = None
        line.parameters += parameter.numel()
    name = asked.config.method.name
    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    return [
        *(
            {
                "method": name,
                "module": folded.format(blocks=_ranges(sorted(line.blocks))).removeprefix("method."),
                "owner": owner,
                "origin": origin,
                "modules": len(line.modules),
                "shapes": list(line.shapes),
                "parameters": line.parameters,
            }
            for (folded, owner, origin), line in lines.items()
        ),
        {
            "method": name,
            "module": "all others",
            "owner": "frozen",
            "origin": "",
            "modules": None,
            "shapes": [],
            "parameters": frozen,
        },
    ]


def _trained(model: MultiTaskModel) -> Iterator[tuple[str, nn.Parameter, str]]:
    """Yield what is trained in the order of the modules, with its owner."""
    owned = model.method.owned()
    per_task = [*owned.stacked.values(), *(p for own in owned.private.values() for p in own.values())]
    owners = dict.fromkeys(map(id, owned.shared.values()), "shared")
    owners |= dict.fromkeys(map(id, owned.generator.values()), "generator")
    owners |= dict.fromkeys(map(id, per_task), "per task")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter, owners.get(id(parameter), DECODER)


def _fold(module: str, paths: Mapping[str, Block], tasks: Sequence[str]) -> tuple[str, int | None]:
    """Return a path with ``*`` and ``{blocks}`` in the place of its task and its block's number, and that number."""
    head, trunk, tail = module.partition(TRUNK)
    head = ".".join("*" if part in tasks else part for part in head.split("."))
    for path in paths if trunk else ():
        if f"{tail}.".startswith(path):
            parent, _, number = path.rstrip(".").rpartition(".")
            inside = f"{tail}.".removeprefix(path).rstrip(".")
            return f"{head}{trunk}{parent}.{{blocks}}{'.' if inside else ''}{inside}", int(number)
    return f"{head}{trunk}{tail}", None


def _ranges(numbers: Sequence[int]) -> str:
    """Write 0, 1, 2, 5 as ``0-2,5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
