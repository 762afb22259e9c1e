"""What a notebook shows of a run and of a diagnosis: static HTML with an inline SVG, no script."""

from __future__ import annotations

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.history import TrainingHistory
from lossdoctor.render import words
from lossdoctor.render.escape import markup
from lossdoctor.render.series import make_chart
from lossdoctor.render.svg import chart_svg

_POINTS = 500
_TINTS = {"critical": "#B3261E", "warning": "#8A5A00", "healthy": "#00795A", "insufficient_data": "#3A6EA5"}
_BOX = "font-family:system-ui,sans-serif;font-size:13px;max-width:760px;line-height:1.45"
# A notebook's theme is not ours to know: the picture brings its own white ground.
_GROUND = "background:#fff;border:1px solid #d8dee4;border-radius:6px;padding:6px"


def history_html(history: TrainingHistory) -> str:
    """A run as HTML: its name, its mapping and its curves."""
    name = markup(history.path or history.name or "run")
    roles = history.roles.names.items()
    mapping = "; ".join(f"{markup(role)} = {markup(', '.join(names[:4]))}" for role, names in roles)
    chart = chart_svg(make_chart(history, limit=_POINTS), label=f"loss curves of {history.path or history.name}")
    return (
        f'<div style="{_BOX}"><b>{name}</b> · {markup(history.format)} · {history.points:,} points<br>'
        f'<span style="opacity:.75">{mapping or "no loss recognised"}</span>'
        f'<div style="{_GROUND}">{chart}</div></div>'
    )


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """A diagnosis as HTML: status, basis, curves, and each finding with what to do."""
    d = diagnosis
    sign, word = words.UNICODE.signs[d.status], words.STATUS_WORDS[d.status]
    chart = chart_svg(make_chart(d.history, d, limit=_POINTS), label=f"loss curves of {words.title(d)}")
    findings = "".join(_finding(d, i) for i in range(len(d.findings)))
    notes = "".join(f"<div>note: {markup(n)}</div>" for n in d.notes[:6])
    needs = "; ".join(f"{markup(codes)} (needs {markup(need)})" for need, codes in words.abstentions(d))
    missing = f"<div>not judged: {needs}</div>" if needs else ""
    rest = f'<div style="opacity:.75;margin-top:6px">{notes}{missing}</div>' if notes or missing else ""
    return (
        f'<div style="{_BOX}"><b><span style="color:{_TINTS[d.status]}">{sign} {word}</span> '
        f"{markup(words.title(d))}</b> · {markup(words.span(d))}<br>{markup(words.basis(d))}"
        f'<div style="{_GROUND}">{chart}</div>{findings}{rest}</div>'
    )


def _finding(d: Diagnosis, index: int) -> str:
    f = d.findings[index]
    tint = _TINTS.get(f.severity, _TINTS["insufficient_data"])
    about = f"{f.severity} · {words.where(f, d.history.step_unit)} · {f.metric} · {words.confidence(f)}"
    todo = "; or ".join(markup(words.action(a)) for a in f.actions)
    causes = "; ".join(markup(words.cause(c)) for c in f.causes)
    return (
        f'<div style="border-left:4px solid {tint};padding:2px 0 2px 10px;margin-top:8px">'
        f"<b>{words.UNICODE.signs[f.severity]} {markup(f.code)} {markup(f.name)}</b> "
        f'<span style="opacity:.75">{markup(about)}</span><br>{markup(f.summary)}'
        + (f"<br><b>do:</b> {todo}" if todo else "")
        + (f'<br><span style="opacity:.75">causes: {causes}</span>' if causes else "")
        + "</div>"
    )
