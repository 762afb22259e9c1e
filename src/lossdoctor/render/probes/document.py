"""A checkup as one HTML file that holds everything, opens offline, and asks no server for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources

from lossdoctor.probes.checkups.report import CheckupReport
from lossdoctor.probes.result import ProbeResult
from lossdoctor.render import words
from lossdoctor.render.escape import markup
from lossdoctor.render.html import asset as report_asset
from lossdoctor.render.probes.outcome import Outcome, outcome_of, status_of
from lossdoctor.render.probes.svg import chart_svg
from lossdoctor.render.probes.terminal import name_of, speaks
from lossdoctor.render.style import STYLES


def page(report: CheckupReport) -> str:
    """The report as a page: what was found, the likeliest causes and the next steps, then each test with its charts.

    Its one script, which changes the theme, is named by its hash in the content security policy: nothing else can run,
    and nothing is fetched.

    >>> page(CheckupReport("train.py:make")).startswith("<!doctype html>")
    True
    """
    script = _asset("theme.js")
    parts = {
        "title": markup(f"Checkup of {report.target}"),
        "heading": f"{_badge(status_of(report))} {markup(report.target)}",
        "counts": " · ".join([*(f"{markup(k)} {markup(v)}" for k, v in report.facts), markup(_cost(report))]),
        "css": report_asset("report.css"),
        "cycles": _cycles(),
        "summary": _summary(report),
        "results": "\n".join(_result(r, i) for i, r in enumerate(report.results)) or "<p>No test gave a result.</p>",
        "missing": _missing(report),
        "footer": "Tests leave no trace: the model, its optimizer and the random generators are as they were.",
        "script_hashes": "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'",
        "theme_js": script,
    }
    # One pass, so that a placeholder's text inside a name is never filled in.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m.group(1)], _asset("checkup.html"))


@cache
def _asset(name: str) -> str:
    return resources.files("lossdoctor.render.probes").joinpath("assets", name).read_text("utf-8")


def _cycles() -> str:
    """The colours of curves on both grounds."""
    light, dark = (
        " ".join(f"--ld-cycle-{i}: {color};" for i, color in enumerate(STYLES[name].cycle[:6]))
        for name in ("light", "dark")
    )
    return (
        f":root {{ {light} }} :root[data-theme=dark] {{ {dark} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ {dark} }} }}\n"
        f"@media print {{ :root, :root[data-theme=dark], :root:not([data-theme=light]) {{ {light} }} }}"
    )


def _cost(report: CheckupReport) -> str:
    seed = "" if report.seed is None else f", seed {report.seed}"
    return f"{report.steps:,} steps in {report.seconds:,.1f} s{seed}"


def _summary(report: CheckupReport) -> str:
    links = "".join(
        f'<li><a href="#test-{i}">{markup(name_of(r))}</a> {_badge(outcome_of(r))}</li>'
        for i, r in enumerate(report.results)
    )
    found = "".join(
        f"<li>{_badge(outcome_of(r))} <b>{markup(name_of(r))}</b>: {markup(r.verdict)}</li>"
        for r in report.worst_first()
    )
    steps = "".join(f"<li>{markup(s)}</li>" for s in report.next_steps)
    parts = [f'<p class="lead">{markup(report.basis)}</p>']
    if found:
        parts.append(f'<h2>What was found</h2><ul class="found">{found}</ul>')
    if report.causes:
        rows = "".join(_cause(report, c.name, c.likelihood) for c in report.causes)
        parts.append(f'<h2>Likeliest causes</h2><div class="facts"><table>{rows}</table></div>')
    if steps:
        parts.append(f"<h2>Next steps</h2><ol>{steps}</ol>")
    if links:
        parts.append(f'<nav aria-label="Tests"><ul class="tests">{links}</ul></nav>')
    return f'<section class="summary" aria-label="Summary">{"".join(parts)}</section>'


def _cause(report: CheckupReport, name: str, likelihood: float) -> str:
    wide = round(100 * min(max(likelihood, 0.0), 1.0))
    return (
        f'<tr><th scope="row">{markup(words.plain(name))}</th><td class="bar"><span style="width:{wide}%"></span></td>'
        f'<td>{words.percent(likelihood)}</td><td class="text soft">{markup(speaks(report, name))}</td></tr>'
    )


def _badge(outcome: Outcome) -> str:
    return f'<span class="badge {outcome.status}">{outcome.sign} {outcome.word}</span>'


def _result(result: ProbeResult, index: int) -> str:
    rows = "".join(
        f'<tr><th scope="row">{markup(name)}</th><td>{markup(value)}</td></tr>' for name, value in result.rows()
    )
    table = f'<table class="rows">{rows}</table>' if rows else ""
    charts = [f"<div>{chart_svg(c)}</div>" for c in result.charts()]
    # One chart stands beside the numbers, several have rows of their own.
    shown = f'<div class="charts">{"".join(charts)}</div>' if charts else ""
    body = f'<div class="beside"><div>{table}</div>{charts[0]}</div>' if table and len(charts) == 1 else table + shown
    return f"""<section class="run" id="test-{index}" aria-labelledby="name-{index}">
<div class="head"><h2 id="name-{index}">{_badge(outcome_of(result))} {markup(name_of(result))}</h2>
<span class="soft">{result.steps:,} steps, {result.seconds:.1f} s</span></div>
<p class="verdict">{markup(result.verdict)}</p>
{body}
</section>"""


def _missing(report: CheckupReport) -> str:
    """What could not be run, and what was left out."""
    out = ""
    if report.errors:
        items = "".join(
            f"<li><b>{markup(', '.join(titles))}</b>: "
            + (f"<code>{markup(e.where)}</code>: " if e.where else "")
            + f"{markup(e.error)}</li>"
            for e, titles in report.broken
        )
        out += f'<section class="errors" aria-label="Errors"><h2>Could not be run</h2><ul>{items}</ul></section>'
    if report.skipped:
        items = "".join(f"<li>{markup(report.title(s.test))}: {markup(s.why)}</li>" for s in report.skipped)
        out += f'<section class="soft" aria-label="Not run"><h2>Not run</h2><ul>{items}</ul></section>'
    return out
