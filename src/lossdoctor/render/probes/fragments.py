"""What a notebook shows of a test and of a checkup: static HTML with inline SVG, no script."""

from __future__ import annotations

from lossdoctor.probes.checkups.report import CheckupReport
from lossdoctor.probes.result import ProbeResult
from lossdoctor.render import words
from lossdoctor.render.escape import markup
from lossdoctor.render.probes.outcome import Outcome, outcome_of, status_of
from lossdoctor.render.probes.svg import chart_svg
from lossdoctor.render.probes.terminal import name_of

# White on these reads on any ground, dark or light.
_TINTS = {
    "critical": "#B3261E",
    "warning": "#8A5A00",
    "healthy": "#00795A",
    "info": "#2F629B",
    "insufficient_data": "#57606a",
}
_BOX = "font-family:system-ui,sans-serif;font-size:13px;max-width:1080px;line-height:1.45"
# A notebook's theme is not ours to know: the picture brings its own white ground.
_GROUND = (
    "background:#fff;border:1px solid #d8dee4;border-radius:6px;padding:6px;margin-top:6px;"
    "display:flex;flex-wrap:wrap;gap:8px;align-items:flex-start"
)
_BADGE = "color:#fff;border-radius:4px;padding:1px 7px;font-weight:700;white-space:nowrap"
_CELL = "text-align:left;padding:0 14px 0 0;background:none;border:0;vertical-align:top"


def notebook(result: ProbeResult | CheckupReport) -> str:
    """A result as an HTML fragment: outcome, verdict, numbers and charts. Whatever is shown is escaped.

    A checkup is what was found and what to do, then every test behind a click.

    >>> notebook(ProbeResult(outcome="passed", verdict="1 < 2")).count("1 &lt; 2")
    1
    """
    return f'<div style="{_BOX}">{_report(result) if isinstance(result, CheckupReport) else _result(result)}</div>'


def _report(report: CheckupReport) -> str:
    causes = "; ".join(f"{words.plain(c.name)} {words.percent(c.likelihood)}" for c in report.causes)
    steps = "".join(f"<li>{markup(step)}</li>" for step in report.next_steps)
    results = "".join(
        f"<details><summary>{_badge(outcome_of(r))} <b>{markup(name_of(r))}</b></summary>{_body(r)}</details>"
        for r in report.results
    )
    errors = "".join(
        f"<div>{markup(', '.join(titles))} could not be run: {markup(f'{e.where}: ' if e.where else '')}"
        f"{markup(e.error)}</div>"
        for e, titles in report.broken
    )
    skipped = "".join(f"<div>{markup(report.title(s.test))} was not run: {markup(s.why)}</div>" for s in report.skipped)
    return (
        f"{_badge(status_of(report))} <b>{markup(report.target)}</b><br>{markup(report.basis)}"
        + (f"<div><b>Likeliest causes:</b> {markup(causes)}</div>" if causes else "")
        + (f"<b>Next steps</b><ol style='margin:0 0 6px'>{steps}</ol>" if steps else "")
        + f'{results}<div style="opacity:.75">{errors}{skipped}</div>'
    )


def _result(result: ProbeResult) -> str:
    return f"{_badge(outcome_of(result))} <b>{markup(name_of(result))}</b>{_body(result)}"


def _badge(outcome: Outcome) -> str:
    return f'<span style="background:{_TINTS[outcome.status]};{_BADGE}">{outcome.sign} {outcome.word}</span>'


def _body(result: ProbeResult) -> str:
    rows = "".join(
        f'<tr style="background:none"><th style="{_CELL};font-weight:400;opacity:.75" scope="row">{markup(name)}</th>'
        f'<td style="{_CELL}">{markup(value)}</td></tr>'
        for name, value in result.rows()
    )
    charts = "".join(f'<div style="flex:1 1 380px;max-width:520px">{chart_svg(c)}</div>' for c in result.charts())
    return (
        f'<div style="margin-top:4px">{markup(result.verdict)}</div>'
        + (f'<table style="border-collapse:collapse;margin:4px 0">{rows}</table>' if rows else "")
        + (f'<div style="{_GROUND}">{charts}</div>' if charts else "")
    )
