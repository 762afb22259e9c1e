"""One run of the HTML report: its section, and the data that its interactive plot is drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.render import words
from lossdoctor.render.escape import markup, visible
from lossdoctor.render.jsonout import to_json
from lossdoctor.render.series import Chart, Line, make_chart, scale
from lossdoctor.render.svg import chart_svg

_STATIC_POINTS = 400
_OTHERS = 6


def run_section(d: Diagnosis, index: int, *, limit: int, linked: bool) -> str:
    """The section of a run.

    Args:
        index: its number, which makes its ids.
        limit: most points per line.
        linked: whether there is an index to go back to.
    """
    chart = make_chart(d.history, d, limit=limit, others=_OTHERS)
    small = make_chart(d.history, d, limit=min(limit, _STATIC_POINTS), others=1)
    name = markup(words.title(d))
    back = '<a class="top-link" href="#index">back to the index</a>' if linked else ""
    mapping = "".join(f"<li>{markup(role)} = <code>{markup(names)}</code></li>" for role, names in words.mapping(d))
    told = f"<p>{markup(words.basis(d))}</p>" if words.basis(d) else ""
    label = f"Loss curves of {words.title(d)}: {words.STATUS_WORDS[d.status]}. {d.basis}"
    return f"""<section class="run" id="run-{index}" aria-labelledby="name-{index}">
<div class="head"><h2 id="name-{index}">{badge(d.status)} {name}</h2>{back}</div>
<p class="meta">{markup(d.history.format)} · {markup(words.span(d))}</p>
{told}
<ul class="mapping" aria-label="Which metric plays which role">{mapping or "<li>no loss recognised</li>"}</ul>
{_controls(index)}
<div class="plot" role="img" aria-label="{markup(label)}"></div>
<div class="static">{chart_svg(small, label=visible(label))}</div>
{"".join(finding_article(f, d) for f in d.findings)}
{_rest(d)}
<script type="application/json">{_embedded(chart_data(chart))}</script>
</section>"""


def badge(status: str) -> str:
    """A status by sign, word and colour."""
    return f'<span class="badge {status}">{words.UNICODE.signs[status]} {words.STATUS_WORDS[status]}</span>'


def _controls(index: int) -> str:
    def pair(axis: str) -> str:
        buttons = "".join(
            f'<button type="button" data-axis="{axis}" data-scale="{kind}" aria-pressed="false">{kind}</button>'
            for kind in ("linear", "log")
        )
        return f"<fieldset><legend>{axis} axis</legend>{buttons}</fieldset>"

    return (
        f'<div class="controls"><span><label for="smooth-{index}">smoothing</label> '
        f'<input type="range" id="smooth-{index}" min="0" max="0.99" step="0.01" value="0"> '
        f'<output for="smooth-{index}">0.00</output></span>{pair("y")}{pair("x")}'
        '<label><input type="checkbox" name="raw" checked> raw curve</label></div>'
    )


def finding_article(f: Finding, d: Diagnosis) -> str:
    """A finding in full: what, since when, what to do, likely causes, evidence."""
    about = f"{f.severity} · {words.where(f, d.history.step_unit)} · {f.metric} · {words.confidence(f)}"
    steps = "".join(
        f"<li>{markup(words.action(a))}" + ("" if a.action == "none" else f" <small>{words.grade(a)}</small>") + "</li>"
        for a in f.actions
    )
    todo = f'<div class="todo"><ol aria-label="What to do">{steps}</ol></div>' if steps else ""
    causes = "".join(_cause_row(words.plain(c.name), c.likelihood, c.test) for c in f.causes)
    evidence = "".join(_evidence_row(k, v) for k, v in words.evidence(f))
    tables = (f"<table><caption>Likely causes</caption>{causes}</table>" if causes else "") + (
        f"<table><caption>Evidence</caption>{evidence}</table>" if evidence else ""
    )
    explains = f'<p class="soft">Explains {markup(", ".join(f.explains))}</p>' if f.explains else ""
    return (
        f'<article class="finding {f.severity}"><h3>{words.UNICODE.signs[f.severity]} {markup(f.code)} '
        f"{markup(f.name)}<small>{markup(about)}</small></h3><p>{markup(f.summary)}</p>"
        f'{todo}<div class="facts">{tables}</div>{explains}</article>'
    )


def _evidence_row(name: str, value: str) -> str:
    return f'<tr><th scope="row">{markup(name)}</th><td class="text">{markup(value)}</td></tr>'


def _cause_row(name: str, likelihood: float, test: str | None) -> str:
    wide = round(100 * min(max(likelihood, 0.0), 1.0))
    told = f"test: <code>{markup(test)}</code>" if test else ""
    return (
        f'<tr><th scope="row">{markup(name)}</th><td class="bar"><span style="width:{wide}%"></span></td>'
        f"<td>{words.percent(likelihood)}</td><td>{told}</td></tr>"
    )


def _rest(d: Diagnosis) -> str:
    """Notes in the open; events, missing data and crashed rules behind a click."""
    notes = "".join(f"<li>{markup(n)}</li>" for n in d.notes)
    out = f'<ul class="soft" aria-label="Notes">{notes}</ul>' if notes else ""
    parts = [
        ("Events", [words.event(e, d.history.step_unit) for e in d.events]),
        ("Rules that failed inside", [visible(e) for e in d.internal_errors]),
        ("Not judged", [f"{codes}: needs {need}" for need, codes in words.abstentions(d)]),
    ]
    for title, lines in parts:
        if lines:
            items = "".join(f"<li>{markup(line)}</li>" for line in lines)
            out += f"<details><summary>{title} ({len(lines)})</summary><ul>{items}</ul></details>"
    return out


def chart_data(chart: Chart) -> dict[str, Any]:
    """What assets/plot.js draws from; a null among values is a gap."""
    lines = [*chart.main, *chart.others, *chart.panels]
    kind = scale([line.finite() for line in (chart.main or chart.others)])[0]
    return {
        "unit": chart.unit,
        "first": chart.first,
        "last": chart.last,
        "comparable": chart.comparable,
        "yscale": "log" if kind == "log" else "linear",
        "best": chart.best,
        "marks": [
            {"code": m.finding.code, "name": m.finding.name, "severity": m.finding.severity, "start": m.start}
            for m in chart.marks
        ],
        "lines": [_line_data(line) for line in lines],
    }


def _line_data(line: Line) -> dict[str, Any]:
    kind = "linear" if line.role == "learning_rate" else scale([line.finite()])[0]
    out: dict[str, Any] = {
        "name": visible(line.name, 200),
        "role": line.role,
        "x": line.steps.tolist(),
        "y": _short(line.values),
        "factor": _factor(line),
        "bad": [[int(s), k] for s, k in zip(line.bad_steps, line.bad, strict=True)],
        "badCount": line.bad_count,
        "scale": "log" if kind == "log" else "linear",
    }
    if line.reduced:
        out["mx"], out["my"] = line.mean_steps.tolist(), _short(line.means)
    if len(line.old):
        out["old"] = {"x": line.old_steps.tolist(), "y": _short(line.old)}
    return out


def _factor(line: Line) -> float:
    """Less smoothing than in a picture: a page's average runs forward only, and would lag behind the curve."""
    n = int(np.isfinite(line.means).sum())
    return round(min(0.9, max(0.0, 1 - 120 / max(n, 1))), 2)


def _short(values: NDArray[np.float64]) -> list[float | None]:
    """Six significant digits, which is more than a screen shows and a third of the bytes; gaps as None."""
    fine = np.isfinite(values)
    out = np.zeros(len(values))
    some = fine & (np.abs(values) > 1e-290) & (np.abs(values) < 1e290)
    digits = 5 - np.floor(np.log10(np.abs(values[some])))
    up = 10.0 ** np.clip(digits, 0, 300)
    down = 10.0 ** np.clip(-digits, 0, 300)
    out[some] = np.round(values[some] * up / down) / up * down
    out[fine & ~some] = values[fine & ~some]
    return [v if ok else None for v, ok in zip(out.tolist(), fine.tolist(), strict=True)]


def _embedded(data: dict[str, Any]) -> str:
    """JSON that can stand in a script element: without a '<' nothing can close it or open a comment."""
    return to_json(data).decode().replace("<", "\\u003c")
