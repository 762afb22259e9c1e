"""The HTML report: one file that holds everything, opens offline, and asks no server for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.report import Report
from lossdoctor.core.vocabulary import STATUSES, severity_rank
from lossdoctor.render import words
from lossdoctor.render.escape import markup
from lossdoctor.render.html_run import badge, run_section
from lossdoctor.render.series import LIMIT
from lossdoctor.render.svg import sparkline_svg

# Points of all curves together: beyond it the page would be slow to open, so each curve gets fewer.
_BUDGET = 400_000
_LEAST = 200
_LONG = 25  # from more runs on, the index scrolls by itself


def report_html(report: Report, *, title: str = "lossdoctor report", footer: str = "") -> str:
    """The report as one HTML page with interactive curves.

    Every script is in the page and named by its hash in the content security policy: nothing else can run, and
    nothing is fetched. Curves longer than 2,000 points are drawn by their extremes.

    >>> report_html(Report()).startswith("<!doctype html>")
    True
    """
    runs = report.worst_first()
    limit = max(_LEAST, min(LIMIT, _BUDGET // max(1, 4 * len(runs))))
    sections = [run_section(d, i, limit=limit, linked=len(runs) > 1) for i, d in enumerate(runs)]
    scripts = {"plotly": plotly_js(), "plot_js": asset("plot.js"), "page_js": asset("page.js")}
    parts = {
        "title": markup(title),
        "counts": _counts(report),
        "css": asset("report.css"),
        "index": _index(runs) if len(runs) > 1 else "",
        "runs": "\n".join(sections) or "<p>No runs.</p>",
        "errors": _errors(report),
        "footer": markup(footer or _footer(limit)),
        "script_hashes": " ".join(_hash(s) for s in scripts.values()),
        **scripts,
    }
    # One pass, so that a placeholder's text inside a run's name is never filled in.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m.group(1)], asset("page.html"))


@cache
def asset(name: str) -> str:
    """A file of this package's ``assets`` folder."""
    return resources.files("lossdoctor.render").joinpath("assets", name).read_text("utf-8")


@cache
def plotly_js() -> str:
    """Plotly's browser library, from the installed package's data (without importing its Python side)."""
    from importlib.metadata import files

    for file in files("plotly") or ():
        if file.name == "plotly.min.js":
            return str(file.locate().read_text("utf-8"))  # type: ignore[attr-defined]
    return resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


def _footer(limit: int) -> str:
    return f"Curves with more than {limit:,} points are drawn by the extremes and means of their stretches."


def _counts(report: Report) -> str:
    counts = report.counts()
    n = len(report.runs)
    parts = [f"{counts[s]:,} {badge(s)}" for s in ("critical", "warning", "healthy", "insufficient_data") if counts[s]]
    text = f"{n:,} run{'' if n == 1 else 's'}" + (": " + ", ".join(parts) if n > 1 else "")
    if report.errors:
        text += f" · {len(report.errors):,} could not be read"
    if report.skipped:
        text += f" · {report.skipped:,} file{'' if report.skipped == 1 else 's'} skipped"
    return text


def _errors(report: Report) -> str:
    if not report.errors:
        return ""
    items = "".join(f"<li><code>{markup(e['path'])}</code>: {markup(e['error'])}</li>" for e in report.errors)
    return f'<section class="errors" aria-label="Errors"><h2>Could not be read</h2><ul>{items}</ul></section>'


_COLUMNS = (
    ("status", "number", ""),
    ("run", "text", ""),
    ("loss", "", "opt"),
    ("finding", "text", ""),
    ("onset", "number", "opt"),
    ("points", "number", "opt"),
    ("format", "text", "opt"),
)


def _index(runs: Sequence[Diagnosis]) -> str:
    """The table of all runs, sortable by its headings and filtered by words and statuses."""
    present = [s for s in reversed(STATUSES) if any(d.status == s for d in runs)]
    boxes = "".join(
        f'<label><input type="checkbox" name="status" value="{s}" checked> {badge(s)}</label>' for s in present
    )
    heads = "".join(
        f'<th scope="col" data-kind="{kind}" class="{extra}">'
        + (f'<button type="button">{name}</button>' if kind else name)
        + "</th>"
        for name, kind, extra in _COLUMNS
    )
    base = words.shared_folder(runs)
    rows = "\n".join(_row(d, i, words.title_under(base, d)) for i, d in enumerate(runs))
    under = f'<p class="soft under">Runs under <code>{markup(base)}</code></p>' if base else ""
    long = " long" if len(runs) > _LONG else ""
    return f"""<nav id="index" aria-label="Index of runs">
<div class="tools"><input type="search" id="filter" placeholder="filter by words" aria-label="Filter runs by words">
{boxes}<span id="shown" class="soft" aria-live="polite"></span></div>
{under}<div class="tablewrap{long}" tabindex="0" role="region" aria-label="Runs"><table class="index">
<thead><tr>{heads}</tr></thead>
<tbody>{rows}</tbody></table></div></nav>"""


def _row(d: Diagnosis, index: int, shown_name: str) -> str:
    name = words.title(d)
    first = d.findings[0] if d.findings else None
    breakable = markup(shown_name).replace("/", "/<wbr>")  # a narrow column breaks at folders first
    finding = f"{first.code} {first.name}" if first else ""
    others = sum(severity_rank(f.severity) >= 1 for f in d.findings[1:])
    more = f' <span class="soft">+{others}</span>' if others else ""
    shown = f'<span class="{first.severity}">{markup(finding)}</span>' if first else ""
    onset = first.onset_step if first else None
    text = " ".join([name, d.status, d.history.format, *(f"{f.code} {f.name}" for f in d.findings)]).lower()
    rank = {"critical": 0, "warning": 1, "insufficient_data": 2, "healthy": 3}[d.status]
    spark = sparkline_svg(d.history, label=f"loss of {name}")
    return (
        f'<tr data-run="run-{index}" data-status="{d.status}" data-text="{markup(text)}">'
        f'<td class="status" data-key="{rank}">{badge(d.status)}</td>'
        f'<td class="name" data-key="{markup(name)}">'
        f'<a href="#run-{index}" title="{markup(name)}">{breakable}</a></td>'
        f'<td class="opt" data-key="">{spark}</td>'
        f'<td class="finding-name" data-key="{markup(finding)}">{shown}{more}</td>'
        f'<td class="num opt" data-key="{"" if onset is None else onset}">{"" if onset is None else f"{onset:,}"}</td>'
        f'<td class="num opt" data-key="{d.history.points}">{d.history.points:,}</td>'
        f'<td class="opt" data-key="{markup(d.history.format)}">{markup(d.history.format)}</td></tr>'
    )
