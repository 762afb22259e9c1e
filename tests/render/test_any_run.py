"""Whatever a log holds, every way to show it works and stays strict."""

from __future__ import annotations

import json
import warnings
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.core.curve import Curve
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Action, Cause, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.report import Report
from lossdoctor.core.vocabulary import SEVERITIES, STATUSES
from lossdoctor.render.html_run import run_section
from lossdoctor.render.jsonout import report_json
from lossdoctor.render.junit import report_junit
from lossdoctor.render.notebook import diagnosis_html
from lossdoctor.render.pictures import plot_history
from lossdoctor.render.sarif import report_sarif
from lossdoctor.render.text import report_text

TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
NAMES = st.sampled_from(["loss", "val_loss", "lr", "grad_norm", "train/ce", "acc"]) | TEXT
STEPS = st.integers(-(2**40), 2**40) | st.integers(0, 30)
POINTS = st.lists(st.tuples(STEPS, st.floats()), max_size=60)
EVIDENCE = st.dictionaries(TEXT, st.floats() | st.integers() | TEXT | st.booleans() | st.none(), max_size=3)


@st.composite
def diagnoses(draw: st.DrawFn) -> Diagnosis:
    curves = {}
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        points = draw(POINTS)
        curves[name] = Curve.make([p[0] for p in points], [p[1] for p in points])
    history = TrainingHistory(curves, path=draw(TEXT), name=draw(TEXT), format=draw(TEXT), notes=[draw(TEXT)])
    findings = tuple(
        Finding(
            *(
                "LD301",
                "overfitting",
                draw(st.sampled_from(SEVERITIES)),
                draw(st.floats(0, 1)),
                draw(NAMES),
                "x" + draw(TEXT),
            ),
            onset_step=draw(st.none() | STEPS),
            evidence=draw(EVIDENCE),
            causes=(Cause("label-noise", draw(st.floats(0, 1)), "check_data"),),
            actions=(Action("stop_early", draw(TEXT)),),
            segment=draw(st.integers(0, 3)),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    events = ({draw(TEXT): draw(TEXT | st.floats())},)
    return Diagnosis(draw(st.sampled_from(STATUSES)), draw(TEXT), findings, history, events=events)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(diagnoses(), max_size=3))
def test_text_json_sarif_and_junit(runs: list[Diagnosis]) -> None:
    report = Report(runs)
    assert "\x1b" not in report_text(report, width=60)
    for data in (report_json(report), report_sarif(report)):
        json.loads(data, parse_constant=refuse)
    ElementTree.fromstring(report_junit(report, fail_on="warning"))


def refuse(word: str) -> None:
    raise AssertionError(f"bare {word} in JSON")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(diagnoses())
def test_pages(diagnosis: Diagnosis) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = run_section(diagnosis, 0, limit=50, linked=True) + diagnosis_html(diagnosis)
    text.encode("utf-8")
    start = text.index('<script type="application/json">') + 32
    json.loads(text[start : text.index("</script>", start)], parse_constant=refuse)
    for path in text.split(' d="')[1:]:
        assert "nan" not in path.split('"')[0]
        assert "inf" not in path.split('"')[0]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(diagnoses())
def test_pictures(diagnosis: Diagnosis) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # missing glyphs, and Matplotlib's arithmetic at the edge of doubles
        plot_history(diagnosis.history, diagnosis, size=(5, 4)).canvas.draw()
