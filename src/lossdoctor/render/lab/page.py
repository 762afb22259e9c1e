"""The lab's page: one HTML file that plays a descent, with its panels, tables and diagnosis; opens offline."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.lab.result import Experiment, Table
from lossdoctor.render import words
from lossdoctor.render.escape import markup
from lossdoctor.render.html import asset as report_asset
from lossdoctor.render.html import plotly_js
from lossdoctor.render.html_run import badge, finding_article
from lossdoctor.render.jsonout import to_json
from lossdoctor.render.lab.page_data import FRAMES, looks_data, panel_data, scene_data
from lossdoctor.render.lab.pens import numbering
from lossdoctor.render.lab.pictures import figure
from lossdoctor.render.lab.scene import Scene

_MOST_TOLD = 12  # diagnoses in full; of more runs, one line each


def page(experiment: Experiment, scene: Scene | None = None, diagnoses: Mapping[str, Diagnosis] | None = None) -> str:
    """An experiment as one HTML page.

    Args:
        scene: what the page plays: see :func:`lossdoctor.render.lab.scene.descent_scene`.
        diagnoses: label of a run -> what was found in it; told under the film.

    Every script is in the page and named by its hash in the content security policy: nothing else can run, and
    nothing is fetched.
    """
    panels = experiment.panels
    numbers = numbering(panels)
    data = {
        "looks": looks_data(),
        "scene": None if scene is None else scene_data(scene),
        "panels": [panel_data(p, numbers) for p in panels],
    }
    scripts = {"plotly": plotly_js(), "lab_js": _asset("lab.js")}
    parts = {
        "title": markup(experiment.title or experiment.name),
        "css": report_asset("report.css"),
        "body": _body(experiment, scene, diagnoses or {}),
        "still": _still(experiment, scene),
        # JSON that can stand in a script element: without a '<' nothing can close it or open a comment.
        "data": to_json(data).decode().replace("<", "\\u003c"),
        "script_hashes": " ".join(_hash(s) for s in scripts.values()),
        **scripts,
    }
    # One pass, so that a placeholder's text inside a label is never filled in.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m.group(1)], _asset("lab.html"))


@cache
def _asset(name: str) -> str:
    return resources.files("lossdoctor.render.lab").joinpath("assets", name).read_text("utf-8")


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


def _body(experiment: Experiment, scene: Scene | None, diagnoses: Mapping[str, Diagnosis]) -> str:
    parts = [f'<p class="lead">{markup(experiment.text)}</p>' if experiment.text else ""]
    if scene is not None:
        parts.append(_player(scene))
    parts.append(_verdicts(diagnoses))
    if experiment.panels:
        figures = "".join(
            f'<figure class="panel"><h3>{markup(p.title)}</h3><div role="img" aria-label="{markup(p.title)}"></div>'
            + (f"<figcaption>{markup(p.note)}</figcaption>" if p.note else "")
            + "</figure>"
            for p in experiment.panels
        )
        parts.append(f'<section class="block" aria-label="Pictures"><div class="panels">{figures}</div></section>')
    cells = "".join(_table(t) for t in experiment.tables) + _numbers(experiment.numbers)
    if cells:
        parts.append(f'<section class="block" aria-label="Tables">{cells}</section>')
    if experiment.sources:
        items = "".join(f"<li>{markup(s)}</li>" for s in experiment.sources)
        parts.append(f'<section class="block soft" aria-label="Sources"><h3>Sources</h3><ul>{items}</ul></section>')
    return "\n".join(p for p in parts if p)


def _player(scene: Scene) -> str:
    last = len(scene.seen(FRAMES)) - 1
    ground = scene.ground
    space = (
        '<button type="button" id="space" aria-pressed="false">3-D</button>'
        if ground is not None and ground.field is not None
        else ""
    )
    curve = '<div id="loss" role="img" aria-label="Loss over the steps"></div>'
    over = '<div id="map" role="img" aria-label="Paths over the surface"></div>' if ground is not None else ""
    speeds = "".join(
        f'<option value="{v}"{" selected" if v == 1 else ""}>× {label}</option>'
        for v, label in ((0.25, "¼"), (0.5, "½"), (1, "1"), (2, "2"), (4, "4"))
    )
    note = f'<p class="soft">{markup(scene.note)}</p>' if scene.note else ""
    return f"""<section aria-label="Film">
<div class="player"><button type="button" id="play" aria-pressed="false">Play</button>
<input type="range" id="slider" min="0" max="{last}" step="1" value="{last}" aria-label="Step of the film">
<output id="step" for="slider"></output>
<label>speed <select id="speed">{speeds}</select></label>{space}</div>
<div class="stage{"" if over else " alone"}">{over}{curve}</div>
{note}</section>"""


def _verdicts(diagnoses: Mapping[str, Diagnosis]) -> str:
    if not diagnoses:
        return ""
    told = "".join(_verdict(label, d, i < _MOST_TOLD) for i, (label, d) in enumerate(diagnoses.items()))
    return f'<section class="block" aria-label="Diagnosis"><h2>Diagnosis of the loss curve</h2>{told}</section>'


def _verdict(label: str, d: Diagnosis, full: bool) -> str:
    findings = "".join(finding_article(f, d) for f in d.findings) if full else ""
    basis = words.basis(d)
    return (
        f'<div class="verdict"><h3>{badge(d.status)} {markup(label)}</h3>'
        f"{f'<p>{markup(basis)}</p>' if basis else ''}{findings}</div>"
    )


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{markup(c)}</th>' for c in table.columns)
    rows = "".join(f"<tr>{''.join(_cell(v) for v in row)}</tr>" for row in table.rows)
    note = f'<p class="soft">{markup(table.note)}</p>' if table.note else ""
    return (
        f'<div class="cells"><table><caption>{markup(table.title)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{note}</div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f'<td class="num">{markup(words.number(value))}</td>'
    return f"<td>{markup(cell_text(value))}</td>"


def cell_text(value: object) -> str:
    """A cell for people: a dash where there is nothing, yes and no, four significant digits."""
    if value is None:
        return words.UNICODE.dash
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else words.number(value)


def _numbers(numbers: Mapping[str, float | str]) -> str:
    if not numbers:
        return ""
    rows = "".join(f'<tr><th scope="row">{markup(k)}</th>{_cell(v)}</tr>' for k, v in numbers.items())
    return f'<div class="cells"><table><caption>Numbers</caption><tbody>{rows}</tbody></table></div>'


def _still(experiment: Experiment, scene: Scene | None) -> str:
    """A picture for readers without scripts, as a data address."""
    panels = [*(scene.panels() if scene is not None else ()), *experiment.panels]
    if not panels:
        return "data:,"
    buffer = io.BytesIO()
    figure(panels[:8]).savefig(buffer, format="png", dpi=80)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
