"""Find plug-ins without importing them: files are parsed, and only the file of a used name is ever imported.

Methods come from packages named by the entry-point group ``petl_bench.methods``; tasks, datasets and decoders from the
harness's own folders.
"""

import ast
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from petl_bench.backbones.names import EMBEDDED, find_backbone
from petl_bench.errors import UsageError, unknown_name
from petl_bench.plan import Vocabulary

ENTRY_POINTS = "petl_bench.methods"
SHIPPED = "builtin"
"""The entry point of the methods that come with petl-bench."""
MARKER = "PETL_BENCH_API"
API = 1
CONTRACTS = {  # the module that holds the contract and the registry of a kind
    "methods": "petl_bench.method",
    "tasks": "petl_bench.tasks.base",
    "datasets": "petl_bench.data.base",
    "decoders": "petl_bench.decoders.base",
}
OWN_PACKAGES = {"tasks": "petl_bench.tasks", "datasets": "petl_bench.data", "decoders": "petl_bench.decoders"}


@dataclass(frozen=True)
class Listing:
    """What a file says of the class it registers, read without importing it.

    Attributes:
        name: The registered name.
        module: The module to import.
        summary: First line of the module's docstring.
        provenance: The paragraph of the docstring that begins with "Differs from the paper:".
        attributes: Literal class attributes, such as ``paper`` or ``executions``.
    """

    name: str
    module: str
    summary: str
    provenance: str
    attributes: Mapping[str, Any]


def listings(kind: str) -> dict[str, Listing]:
    """Return every plug-in of a kind (``methods``, ``tasks``, ``datasets``, ``decoders``) by name.

    Raises:
        UsageError: The package of the shipped ones is missing, or another one hides it.
    """
    return _found(kind)[0]


def set_aside(kind: str) -> tuple[str, ...]:
    """Return in words which packages, files and names of a kind are left out, so that the others can be used."""
    return _found(kind)[1]


def _found(kind: str) -> tuple[dict[str, Listing], tuple[str, ...]]:
    own = [(OWN_PACKAGES[kind], _folder(OWN_PACKAGES[kind]))] if kind in OWN_PACKAGES else []
    packages, aside = (own, list[str]()) if own else _method_packages()
    by_name: dict[str, list[Listing]] = {}
    for package, folder in packages:
        for path, module in _files(package, folder):
            try:
                for listing in _parse_file(path, module, kind.upper(), path.stat().st_mtime_ns):
                    by_name.setdefault(listing.name, []).append(listing)
            except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
                aside.append(f"{str(path)!r} cannot be read: {type(error).__name__}: {error}")
    for name in [name for name, there in by_name.items() if len(there) > 1]:
        modules = " and ".join(listing.module for listing in by_name.pop(name))
        aside.append(f"Two files register the {kind[:-1]} {name!r}: {modules}. Rename one of them.")
    return {name: there[0] for name, there in sorted(by_name.items())}, tuple(aside)


def load(kind: str, name: str) -> Any:
    """Return the class that is registered as ``name``, importing the file that registers it.

    Raises:
        UsageError: There is no such name, or its file cannot be imported.
    """
    if name not in _present(kind):
        listing = _require(kind, name)
        try:
            import_module(listing.module)
        except Exception as error:  # whatever a file of somebody else's does when it is imported
            at = traceback.extract_tb(error.__traceback__)[-1]
            raise UsageError(
                f"The {kind[:-1]} {name!r} cannot be used: importing {listing.module} ends in {type(error).__name__}: "
                f"{error} ({at.filename}, line {at.lineno}).\nType: petl-bench list {kind}   for the others"
            ) from error
    return getattr(import_module(CONTRACTS[kind]), kind.upper())[name]


class Catalogue:
    """Every class of a kind by name: listed without importing anything, loaded when it is looked up."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getitem__(self, name: str) -> Any:
        return load(self.kind, name)

    def __contains__(self, name: object) -> bool:
        return name in _present(self.kind) or name in listings(self.kind)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*listings(self.kind), *_present(self.kind)}))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{self.kind}: {', '.join(self)}>"

    def register(self, name: str) -> Callable[[type], type]:
        """Register the decorated class under ``name``, for as long as the process lives if it is no plug-in's file."""
        return getattr(import_module(CONTRACTS[self.kind]), self.kind.upper()).register(name)


METHODS, TASKS, DATASETS, DECODERS = (Catalogue(kind) for kind in CONTRACTS)


def _present(kind: str) -> Any:
    """Return the registry of a kind, with what was registered so far; empty as long as its contract is not imported."""
    module = sys.modules.get(CONTRACTS[kind])
    return () if module is None else getattr(module, kind.upper())


def _require(kind: str, name: str) -> Listing:
    found = listings(kind)
    if name not in found:
        unknown = unknown_name(kind[:-1], name, found, command=f"petl-bench list {kind}")
        raise UsageError("\n".join([str(unknown), *(f"Left out: {words}" for words in set_aside(kind))]))
    return found[name]


def vocabulary(names: Mapping[str, str], root: Path | None = None) -> Vocabulary:
    """Return the Config classes and defaults of the chosen ``{"method": name, "backbone": name, ...}``.

    ``root`` is the folder of the data set's files, where some data sets say which tasks they have.
    """
    for kind in ("method", "decoder", "dataset"):
        if names[kind] not in _present(f"{kind}s"):
            _require(f"{kind}s", names[kind])
    backbone = find_backbone(names["backbone"])
    embedded = backbone.name == EMBEDDED
    dataset = load("datasets", names["dataset"])
    method = load("methods", names["method"])
    decoder = load("decoders", names["decoder"])
    defaults: dict[str, Any] = {
        "backbone": {"weights": "pretrained" if embedded else "random"},
        "dataset": {"image_size": backbone.image_size},
        "method": method.embedded_defaults if embedded else {},
    }
    if embedded and "width" in decoder.Config.model_fields:
        defaults["decoder"] = {"width": 64}
    return Vocabulary(
        method=method.Config,
        decoder=decoder.Config,
        dataset=dataset.Config,
        dataset_tasks=tuple(dataset.tasks_in(root)),
        train_images=lambda config: dataset.count_train_images(config, root),
        defaults=defaults,
    )


def _method_packages() -> tuple[list[tuple[str, Path]], list[str]]:
    """Return the packages of methods, and in words those that are left out; without the shipped one nothing goes."""
    packages, aside = list[tuple[str, Path]](), list[str]()
    for entry in sorted(set(metadata.entry_points(group=ENTRY_POINTS)), key=lambda entry: (entry.name, entry.value)):
        try:
            packages.append((entry.value, _marked_folder(entry)))
        except (ImportError, ValueError) as error:  # of which a UsageError is one
            if entry.name == SHIPPED:
                raise
            aside.append(f"methods of {entry.name!r}: {error}")
    return packages, aside


def _marked_folder(entry: metadata.EntryPoint) -> Path:
    folder = _folder(entry.value)
    try:
        said = _literals(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body).get(MARKER)
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"{str(folder / '__init__.py')!r} cannot be read: {type(error).__name__}: {error}") from None
    if said != API:
        expected = entry.dist.locate_file(entry.value) if entry.dist else "unknown"
        raise UsageError(
            f"The package {entry.value!r} found at {str(folder)!r} is not a package of methods for petl-bench: "
            f"its __init__.py does not say {MARKER} = {API}. The one that was installed belongs at "
            f"{str(expected)!r}.\nAnother package of that name hides it: remove or rename {str(folder)!r}."
        )
    return folder


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None:
        raise UsageError(f"The package {package!r} is not installed.\nType: pip install petl-bench")
    if spec.origin is None or Path(spec.origin).name != "__init__.py":
        found = spec.origin or ", ".join(spec.submodule_search_locations or ())
        raise UsageError(
            f"{found!r} is found first under the name {package!r}, and is not a package of petl-bench: it has no "
            f"__init__.py.\nIt hides the one that was installed: remove or rename {found!r}."
        )
    return Path(spec.origin).parent


def _files(package: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files that may register something, with the names of their modules."""
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(folder).with_suffix("")
        if not any(part.startswith("_") for part in relative.parts):
            yield path, ".".join([package, *relative.parts])


@cache
def _parse_file(path: Path, module: str, variable: str, _modified: int) -> tuple[Listing, ...]:
    text = path.read_text(encoding="utf-8")
    if f"@{variable}.register(" not in text:
        return ()
    tree = ast.parse(text, str(path))
    doc = ast.get_docstring(tree) or ""
    found: list[Listing] = []
    for node in tree.body:
        for name in _registered(node, variable):
            assert isinstance(node, ast.ClassDef)
            found.append(Listing(name, module, doc.partition("\n")[0], _provenance(doc), _literals(node.body)))
    return tuple(found)


def _registered(node: ast.stmt, variable: str) -> Iterator[str]:
    for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="register"), args=[ast.Constant(value=str(name))]
            ) if owner == variable:
                yield name
            case _:
                pass


def _provenance(doc: str) -> str:
    marker = "Differs from the paper:"
    _, _, rest = doc.partition(marker)
    return " ".join(rest.partition("\n\n")[0].split())


def _literals(body: list[ast.stmt]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for node in body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    values[name] = ast.literal_eval(value)
                except (ValueError, TypeError):
                    continue
            case _:
                pass
    return values
