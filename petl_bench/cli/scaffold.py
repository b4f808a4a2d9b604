"""What ``petl-bench new method`` writes: a method that works and its test, from the two files in ``templates``."""

import keyword
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from petl_bench import plugins
from petl_bench.errors import UsageError

TEMPLATES = Path(__file__).parents[1] / "templates"
TEMPLATE_MODULE = "petl_bench.templates.my_method"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class NewMethod:
    """A method that is about to be written.

    Attributes:
        name: As it will be registered: ``my-method``.
        path: The file of the method; ``test_path`` that of its test.
    """

    name: str
    path: Path
    test_path: Path

    @property
    def class_name(self) -> str:
        """``MyMethod`` for ``my-method``."""
        return "".join(word.capitalize() for word in self.name.split("-"))

    @property
    def root(self) -> Path:
        """The first folder above the file that is no package: where Python must look from."""
        folder = self.path.parent
        while (folder / "__init__.py").is_file():
            folder = folder.parent
        return folder

    @property
    def module(self) -> str:
        """What the file is imported as from ``root``."""
        return ".".join(self.path.relative_to(self.root).with_suffix("").parts)

    def filled(self, template: str) -> str:
        """Return the text of a template with this method's names."""
        text = (TEMPLATES / template).read_text(encoding="utf-8").replace(TEMPLATE_MODULE, self.module)
        words = {"MyMethod": self.class_name, "my-method": self.name, "my_method": self.path.stem}
        for word, ours in words.items():
            text = text.replace(word, ours)
        return text


def new_method(name: str, out: Path | None) -> str:
    """Write a method and its test and return what to tell about it.

    Args:
        name: Lower-case words of letters and digits joined by hyphens.
        out: Folder of both files; by default ``methods`` and ``tests`` in a checkout, else the working folder.

    Raises:
        UsageError: The name is not allowed or is taken, or a file is there already or cannot be written.
    """
    _require_free_name(name)
    folder, test_folder = (out, out) if out is not None else _default_folders()
    stem = name.replace("-", "_")
    new = NewMethod(name, folder.resolve() / f"{stem}.py", test_folder.resolve() / f"test_{stem}.py")
    for path in (new.path, new.test_path):
        if path.exists():
            raise UsageError(
                f"{str(path)!r} is there already and is not overwritten.\nType: petl-bench new method NAME"
            )
    if new.module == stem and find_spec(stem) is not None:
        raise UsageError(
            f"A file {stem}.py would hide the Python module {stem!r}.\nType: petl-bench new method my-{name}"
        )
    _write({new.path: new.filled("my_method.py"), new.test_path: new.filled("test_my_method.py")})
    return _next_steps(new)


def _require_free_name(name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or name == "all":
        likely = "-".join(re.findall(r"[a-z0-9]+", name.lower()))
        allowed = NAME.fullmatch(likely) and likely != name
        raise UsageError(
            f"The name {name!r} is not allowed: lower-case letters and digits, words joined by hyphens, no word of "
            f"Python's and not 'all'.\nType: petl-bench new method {likely if allowed else 'my-method'}"
        )
    held = plugins.listings("methods").get(name)
    if held is not None:
        raise UsageError(f"The method {name!r} is there already: {held.module}.\nType: petl-bench list methods")


def _default_folders() -> tuple[Path, Path]:
    """Return ``methods`` and the folder of unit tests in a checkout, else the working folder twice."""
    here = Path.cwd()
    package, tests = here / "methods", here / "tests"
    marked = (package / "__init__.py").is_file() and plugins.MARKER in (package / "__init__.py").read_text("utf-8")
    if not marked or not tests.is_dir():
        return here, here
    return package, tests / "unit" if (tests / "unit").is_dir() else tests


def _write(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}.\nType: --out FOLDER") from None


def _next_steps(new: NewMethod) -> str:
    registered = new.name in plugins.listings("methods")
    asked = new.name if registered else f"{new.module}:{new.class_name}"
    steps = [f"petl-bench check {asked}", f"python -m pytest {_shown(new.test_path)}"]
    if registered:
        steps.append(f"petl-bench run --method {new.name} --budget smoke")
    elif new.root != Path.cwd():
        steps[0] = f"cd {_shown(new.root)} && {steps[0]}"
    lines = [
        f"wrote {_shown(new.path)}",
        f"wrote {_shown(new.test_path)}",
        "Both pass as they are. Edit them, and type:",
    ]
    lines += [f"  {step}" for step in steps]
    if not registered:
        lines.append(
            "`petl-bench run` finds it once it lies in a package of methods: see CONTRIBUTING.md, Add a method."
        )
    return "\n".join(lines)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
