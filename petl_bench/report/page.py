"""The page of a report, in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from petl_bench import escape
from petl_bench.report.analysis import Analysis
from petl_bench.report.load import Loaded
from petl_bench.report.tables import main_table, paired_table, to_markdown

SCENES_STATEMENT = (
    "These results test implementations, costs and relative effects on one synthetic transfer; they neither confirm "
    "nor refute a published PASCAL-Context figure."
)
UNTUNED = "rates not tuned: no ranking"

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

**{{ untuned }}**

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
{% if section.paired %}

### Paired over images

By how much every row is better than the reference, on the same test images and the same seeds: the mean difference \
of the per-image scores, averaged over the seeds and signed so that positive is better, with its 95 % bootstrap \
interval and the p of Wilcoxon's signed-rank test. Both tell of other images, not of other seeds; p is not corrected \
for the number of cells. Raw numbers: [{{ section.stem }}-paired.csv](tables/{{ section.stem }}-paired.csv).

{{ section.paired }}
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
    def paired(self) -> str:
        """The table paired over images, empty if there are no pairs."""
        return to_markdown(paired_table(self.analysis)) if self.analysis.paired else ""


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
        untuned=UNTUNED,
    )
    return page.strip() + "\n"


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return escape.markdown(" ".join(lines)[:400])
