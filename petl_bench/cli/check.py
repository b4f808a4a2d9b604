"""What ``petl-bench check`` does: run the kit under a progress bar, print a verdict per property."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from petl_bench import plugins
from petl_bench.backbones.base import in_words
from petl_bench.cli.support import NO, PROPERTIES, YES, write_support
from petl_bench.config import validate_section
from petl_bench.errors import UsageError, unknown_name
from petl_bench.terminal import bar, print_rows, print_table
from petl_bench.testing.checks import CHECKS, SLOW_CHECKS, promise
from petl_bench.testing.find import find_method, subjects
from petl_bench.testing.properties import properties
from petl_bench.testing.subject import IMAGE_SIZES, TINY, Subject, tiny_backbone
from petl_bench.testing.verdict import BUILDS, Verdict, judge, judge_all

ALL = "all"
SEEN = ("tasks", "start", "backward")


@dataclass(frozen=True)
class Checked:
    """A method on a family of backbones, and what was found."""

    method: str
    family: str
    verdicts: list[Verdict]


def check(
    asked: str, family: str | None, settings: Mapping[str, Any], *, slow: bool, form: str, write: bool = False
) -> bool:
    """Run the kit and print what it finds.

    Args:
        asked: A registered name, ``module:Class``, or ``all``.
        family: A family of backbones; all that the method is defined on if None.
        settings: Of the method, as typed.
        slow: Also the slow checks, on one method for every execution.
        form: ``table``, ``json`` or ``csv``.
        write: Write what was found on all networks to the table of ``petl-bench list backbones --support``.

    Returns:
        Whether every property holds.

    Raises:
        UsageError: There is no such method, family or setting.
    """
    if family is not None and family not in TINY:
        raise unknown_name("family of backbones", family, TINY, command=f"petl-bench check {asked} --backbone swin")
    if asked == ALL and settings:
        raise UsageError("Settings belong to one method.\nType: petl-bench check vmt --set method.rho=8")
    found, broken = _every_method(family) if asked == ALL else (_one_method(asked, family, settings), [])
    checked = broken + _run(found, slow=slow)
    if write:
        write_support(properties_of_all(found), PROPERTIES)
        write_support(support_rows({(one.method, one.family): all(v.passed for v in one.verdicts) for one in checked}))
    if form != "table":
        print_rows([row for one in checked for row in _rows(one)], form, "")
    else:
        _print_summary(checked) if asked == ALL else _print_properties(checked)
        for subject, one in zip(found, checked[len(broken) :], strict=True) if asked != ALL else ():
            if one.verdicts[0].passed:
                seen = properties(subject)
                print(f"seen on {one.family}: " + ", ".join(f"{key} {seen[key]}" for key in SEEN))
    return all(verdict.passed for one in checked for verdict in one.verdicts)


def _one_method(asked: str, family: str | None, settings: Mapping[str, Any]) -> list[Subject]:
    """Return the subjects of one method; a setting that does not fit is a mistake in what was typed."""
    found = subjects(find_method(asked), family, settings)
    for subject in found:
        try:
            subject.build()
        except UsageError:
            raise
        except Exception:  # a method is code of its author's and may raise anything: a verdict will say what
            continue
    return found


def _every_method(family: str | None) -> tuple[list[Subject], list[Checked]]:
    """Return the subjects of all registered methods, and a verdict on each that cannot be imported."""
    found: list[Subject] = []
    broken: list[Checked] = []
    for name, listing in plugins.listings("methods").items():
        if family is not None and tiny_backbone(family).missing(listing.attributes.get("needs", ())):
            continue
        verdict = judge(BUILDS, lambda name=name: found.extend(subjects(find_method(name), family, {})))
        broken += [] if verdict.passed else [Checked(name, family or "all", [verdict])]
    return found, broken


def _run(found: Sequence[Subject], *, slow: bool) -> list[Checked]:
    """Check subjects one after the other under a progress bar on stderr."""
    torch.set_num_threads(1)  # the networks are too small for more
    checked: list[Checked] = []
    with bar(Console(stderr=True)) as progress:
        shown = progress.add_task("check", total=len(found) * len(CHECKS), state="")
        for number, subject in enumerate(found, start=1):
            progress.update(shown, description=f"{subject.method.name} on {subject.family}")
            verdicts = judge_all(subject, CHECKS, lambda name: progress.update(shown, advance=1, state=name))
            checked.append(Checked(subject.method.name, subject.family, list(verdicts)))
            progress.update(shown, completed=number * len(CHECKS))
        for number in _one_an_execution(found, checked) if slow else ():
            progress.update(shown, description=f"{checked[number].method} on {checked[number].family}")
            verdicts = judge_all(found[number], SLOW_CHECKS, lambda name: progress.update(shown, state=name))
            checked[number].verdicts.extend(verdicts)
        progress.update(shown, description="check", state="")
    return checked


def _one_an_execution(found: Sequence[Subject], checked: Sequence[Checked]) -> list[int]:
    """Return the number of one subject for every execution, on the family with the smaller images."""
    built = [number for number, one in enumerate(checked) if one.verdicts[0].passed]
    built.sort(key=lambda number: IMAGE_SIZES[found[number].family], reverse=True)
    return list({found[number].build().method.execution: number for number in built}.values())


def support_rows(kept: Mapping[tuple[str, str], bool]) -> list[dict[str, str]]:
    """Return the rows of the table of support.

    Args:
        kept: Whether all promises are kept, by method and network, where the network has what the method needs.
    """
    rows: list[dict[str, str]] = []
    networks = {network: tiny_backbone(network) for network in TINY}
    for name in plugins.listings("methods"):
        method = plugins.load("methods", name)
        needs = method.needs_of(validate_section(method.Config, {"name": name}, "method"))
        for network, backbone in networks.items():
            missing = backbone.missing(needs)
            holds = not missing and kept.get((name, network), False)
            reason = "" if holds else f"lacks {in_words(missing)}" if missing else "a promise is broken"
            said = {"supported": YES if holds else NO, "reason": reason}
            rows.append({"method": name, "network": network, "family": backbone.family, **said})
    return rows


def properties_of_all(found: Sequence[Subject]) -> list[dict[str, str]]:
    """Return what is seen of every method, each on the first of its networks."""
    first = {subject.method.name: subject for subject in reversed(found)}
    return [properties(first[name]) for name in dict.fromkeys(subject.method.name for subject in found)]


def _rows(checked: Checked) -> list[dict[str, Any]]:
    return [
        {
            "method": checked.method,
            "backbone": checked.family,
            "property": verdict.check,
            "promise": promise(verdict.check),
            "verdict": verdict.outcome,
            "seen": verdict.detail,
            "seconds": round(verdict.seconds, 2),
        }
        for verdict in checked.verdicts
    ]


def _print_properties(checked: Sequence[Checked]) -> None:
    """Print one row a property and one column a family; below it what was seen where it is not simply ok."""
    names = list(dict.fromkeys(verdict.check for one in checked for verdict in one.verdicts))
    outcomes = {(one.family, verdict.check): verdict.outcome for one in checked for verdict in one.verdicts}
    families = [one.family for one in checked]
    rows = [[name, promise(name), *[outcomes.get((family, name), "-") for family in families]] for name in names]
    print_table(f"{checked[0].method}: what every method promises", ["property", "promise", *families], rows)
    _print_details(checked, "FAIL", "not applicable")


def _print_summary(checked: Sequence[Checked]) -> None:
    """Print one row a method and family; below it what failed."""
    header = ["method", "backbone", "ok", "FAIL", "not applicable", "seconds"]
    rows = [
        [
            one.method,
            one.family,
            *[str(sum(v.outcome == outcome for v in one.verdicts)) for outcome in header[2:5]],
            f"{sum(verdict.seconds for verdict in one.verdicts):.1f}",
        ]
        for one in checked
    ]
    print_table("what every method promises", header, rows)
    _print_details(checked, "FAIL")


def _print_details(checked: Sequence[Checked], *outcomes: str) -> None:
    for one in checked:
        for verdict in one.verdicts:
            if verdict.outcome in outcomes:
                print(f"{verdict.outcome}: {one.method} on {one.family}, {verdict.check}: {verdict.detail}")
