"""The page of a report, in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from petl_bench import escape
from petl_bench.report.analysis import Analysis
from petl_bench.report.flat import ERRORS, THRESHOLD
from petl_bench.report.load import Loaded
from petl_bench.report.tables import (
    better_table,
    flatness_table,
    headroom_table,
    main_table,
    noise_table,
    pictures_table,
    seeds_table,
    to_markdown,
)

SCENES_STATEMENT = (
    "These results test implementations, costs and relative effects on one synthetic transfer; they neither confirm "
    "nor refute a published PASCAL-Context figure."
)

_PAGE = """\
# petl-bench report
{% if scenes %}

> {{ scenes }}
{% endif %}
{% for note in notes %}

{{ note }}
{% endfor %}
{% for section in sections %}

## {{ section.analysis.comparison.title }}

{{ section.table }}

**{{ section.analysis.ranking }}**

Raw numbers: [{{ section.stem }}.csv](tables/{{ section.stem }}.csv), for LaTeX: \
[{{ section.stem }}.tex](tables/{{ section.stem }}.tex).

{% for note in section.notes %}
- {{ note }}
{% endfor %}
{% if section.analysis.missing %}

### Missing runs

{% for what, command in section.analysis.missing %}
- {{ what }}: `{{ command }}`
{% endfor %}
{% endif %}
{% for caption, file in section.figures %}

![{{ caption }}](figures/{{ file }})

{{ caption }}
{% endfor %}
{% if section.flatness %}

### Curves at the end

How the training loss of each task changed over the last fifth of the steps: the slope of a line through every step, \
in % of the loss for 100 steps, with its standard error by the scatter of the steps, mean over seeds. *falling*: by \
more than {{ threshold }} % and {{ errors }} standard errors; *flat*: surely not; *undecided*: the noise hides it.

{{ section.flatness }}
{% endif %}
{% if section.headroom %}

### Above the floor

By how many standard deviations of one seed every row is above `{{ section.analysis.headroom.floor }}`, the deviation \
pooled over the two: what a task leaves to be told apart.

{{ section.headroom }}
{% if section.noise %}

What moves the mean score per picture of one run, in the unit of the scores: other seeds with the same pictures, \
pooled over rows, and other pictures with the same model, the mean over runs.

{{ section.noise }}
{% endif %}
{% endif %}
{% if section.seeds %}

### Methods, over seeds

Would it be so with other seeds? delta_m of every row less that of `{{ section.analysis.seeds.reference }}`, seed by \
seed (one seed gives all rows the same images in the same order and the same initial decoders), with its 95 % t \
interval over seeds; the p of the exact sign-flip test, corrected by Holm for every two rows of the table; and the \
share of seeds in which the row was better, with its Clopper-Pearson interval. Rows that share a letter cannot be told \
apart: the letters are tiers, not ranks, and rows that were still falling have none. Every two rows: \
[{{ section.stem }}-seeds.csv](tables/{{ section.stem }}-seeds.csv).

{{ section.seeds }}

{{ section.better }}

{% for note in section.analysis.seeds.notes %}
- {{ note }}
{% endfor %}
{% endif %}
{% if section.pictures %}

### These trained models, over pictures

Would it be so on other pictures? By how much the models that were trained for a row are better than those of the \
reference, on the same test pictures and the same seeds: the mean difference of the per-picture scores, averaged over \
the seeds and signed so that positive is better, with its 95 % t interval over pictures and the p of Wilcoxon's \
signed-rank test, not corrected for the number of cells. None of it tells of other seeds: equal methods leave models \
that differ, and the test finds that they do. Raw numbers: \
[{{ section.stem }}-pictures.csv](tables/{{ section.stem }}-pictures.csv).

{{ section.pictures }}
{% endif %}

### What was run

{% for what, text in section.analysis.facts %}
- {{ what }}: {{ text }}
{% endfor %}
{% endfor %}
{% if failed %}

## Failed runs

{% for run in failed %}
- `{{ run.record.folder_name }}`: {{ (run.record.error or "no message") | first_lines }}
{% endfor %}
{% endif %}
"""


@dataclass(frozen=True)
class Section:
    """What the page shows of one comparison group.

    Attributes:
        notes: Those of the analysis and of its figures.
        figures: (caption, file name) in the order of the page.
    """

    analysis: Analysis
    notes: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]

    @property
    def stem(self) -> str:
        """Start of the names of the group's files."""
        return self.analysis.comparison.slug

    @property
    def table(self) -> str:
        """The main table."""
        return to_markdown(main_table(self.analysis))

    @property
    def flatness(self) -> str:
        """The table of slopes at the end, empty if no run tells."""
        table = flatness_table(self.analysis)
        return "" if table.empty else to_markdown(table)

    @property
    def headroom(self) -> str:
        """The table of rows above the floor, empty without a floor of two seeds."""
        found = self.analysis.headroom
        return to_markdown(headroom_table(found, self.analysis.columns)) if found else ""

    @property
    def noise(self) -> str:
        """The table of the noise of seeds and of pictures, empty if nothing tells."""
        found = self.analysis.headroom
        return to_markdown(noise_table(found, self.analysis.columns)) if found and found.noise else ""

    @property
    def seeds(self) -> str:
        """The table over seeds, empty if there is nothing to compare."""
        return to_markdown(seeds_table(self.analysis.seeds)) if self.analysis.seeds else ""

    @property
    def better(self) -> str:
        """The table of P(line better than column), empty like that over seeds."""
        return to_markdown(better_table(self.analysis.seeds)) if self.analysis.seeds else ""

    @property
    def pictures(self) -> str:
        """The table over pictures, empty if there are no pairs."""
        return to_markdown(pictures_table(self.analysis)) if self.analysis.pictures else ""


def render(sections: Sequence[Section], loaded: Loaded, notes: Sequence[str]) -> str:
    """Return the page."""
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["first_lines"] = _first_lines
    on_scenes = any(run.settings["dataset.name"] == "scenes" for run in (*loaded.runs, *loaded.failed))
    page = environment.from_string(_PAGE).render(
        sections=sections,
        failed=loaded.failed,
        notes=notes,
        scenes=SCENES_STATEMENT if on_scenes else "",
        threshold=f"{THRESHOLD:g}",
        errors=f"{ERRORS:g}",
    )
    return page.strip() + "\n"


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return escape.markdown(" ".join(lines)[:400])
