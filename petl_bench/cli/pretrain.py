"""What the command ``pretrain`` shows while it works, and its answers."""

from pathlib import Path
from typing import Any

from rich.console import Console

from petl_bench.cli.options import pairs_of
from petl_bench.config import assign, parse_value, validate_section
from petl_bench.errors import UsageError
from petl_bench.terminal import bar


def pretrain_embedded(*, resume: bool, settings: list[str] | None, out: Path | None) -> str:
    """Pre-train the embedded backbone; return what to tell about it.

    Raises:
        UsageError: A setting is none of the recipe's, or another recipe would replace the shipped weights.
    """
    from petl_bench.backbones.embedded import WEIGHTS
    from petl_bench.pretrain.pretrain import pretrain
    from petl_bench.pretrain.recipe import Recipe

    given: dict[str, Any] = {}
    for key, value in pairs_of("--set", settings).items():
        assign(given, key, parse_value(value))
    recipe = validate_section(
        Recipe, given, "", hint="Type: petl-bench pretrain --set steps=500 --out DIR/weights.safetensors"
    )
    if given and out is None:
        raise UsageError(
            "--set makes other weights than those of the package, which they must not replace.\n"
            "Type: petl-bench pretrain --set ... --out DIR/weights.safetensors"
        )
    with bar(Console(stderr=True)) as progress:
        seen = progress.add_task("teacher", total=recipe.images, state="")
        shown = progress.add_task("pretrain", total=recipe.steps, state="")
        done = pretrain(
            recipe,
            resume=resume,
            taught=lambda images: progress.advance(seen, images),
            tell=lambda step, loss, speed: progress.update(
                shown, completed=step, state=f"loss {loss:.3f}  {speed:.0f} images/s"
            ),
            say=progress.console.print,
            weights=out or WEIGHTS,
        )
    return f"weights: {done.weights}\nlog: {done.log}\nseconds: {done.seconds:.0f}"


def probe_weights(weights: str) -> str:
    """Return what the probe found, a line each."""
    from petl_bench.pretrain.probe import probe

    return "\n".join(f"{name}: {value:.3f}" for name, value in probe(weights).items())
