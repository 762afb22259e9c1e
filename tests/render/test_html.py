"""The HTML report as text: one file, nothing remote, nothing from a log that could act."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.report import Report
from lossdoctor.render.html import plotly_js, report_html
from lossdoctor.render.html_run import chart_data
from lossdoctor.render.notebook import diagnosis_html, history_html
from lossdoctor.render.series import make_chart
from lossdoctor.render.svg import Axis, sparkline_svg
from tests.render.samples import EVIL, evil, exploded, healthy, many, overfitted, report, resumed, tiny

VOID = {"meta", "input", "br", "link", "img", "hr", "wbr"}


class Reader(HTMLParser):
    """Collects tags, attributes and scripts, and checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text.append(data)

    def attribute(self, name: str) -> list[str]:
        return [str(a[name]) for _, a in self.tags if name in a]


@pytest.fixture(scope="module")
def page() -> str:
    return report_html(report())


def own(text: str) -> str:
    """The page without Plotly's library."""
    return text.replace(plotly_js(), "")


def test_page_is_well_formed_and_holds_everything(page: str) -> None:
    reader = Reader(page)
    text = " ".join(reader.text)
    for word in (
        "LD101 loss-nonfinite",
        "LD301 overfitting",
        "Restore checkpoint",
        "learning rate too high",
        "last record",
    ):
        assert word in text
    assert "capacity exceeds data" in text
    assert "Training and validation fall together" in text
    assert "runs/bad.csv" in text
    assert "LD207, LD202: needs number of classes" in text


def test_page_refers_to_nothing_outside_itself(page: str) -> None:
    reader = Reader(page)
    assert not reader.attribute("src")
    assert all(h.startswith("#") for h in reader.attribute("href"))
    assert not re.search(r"\b(https?|wss?|ftp):|url\(|\bfetch\(|XMLHttpRequest", own(page))
    assert "@import" not in own(page)


def test_every_script_that_runs_is_named_in_the_policy(page: str) -> None:
    reader = Reader(page)
    policy = next(str(a["content"]) for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-inline' ; script" not in policy
    script_rule = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    assert "unsafe" not in script_rule
    kinds = [a.get("type") for t, a in reader.tags if t == "script"]
    for kind, text in zip(kinds, reader.scripts, strict=True):
        if kind is None:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in script_rule
    assert len(kinds) == len(report().runs) + 3


def test_no_button_sends_data_to_a_server(page: str) -> None:
    assert "showSendToCloud: false" in page


def test_evil_text_stays_text() -> None:
    plain = Reader(report_html(Report([healthy(), healthy()])))
    reader = Reader(report_html(Report([evil(), evil()], [{"path": EVIL, "error": EVIL}]), title=EVIL, footer=EVIL))
    assert {t for t, _ in reader.tags} <= {t for t, _ in plain.tags} | {
        *("section", "article", "code", "details", "summary", "ol", "ul", "li", "small", "title", "h3", "circle"),
        *("table", "caption", "tr", "th", "td", "div", "p", "wbr"),
    }
    assert len(reader.scripts) == len(plain.scripts)
    assert not [name for _, a in reader.tags for name in a if name.startswith("on")]
    text = " ".join(reader.text)
    assert "<script>alert('x')</script>\\x1b[31m" in text
    assert "{{css}}" in text  # a placeholder in a log is not filled in
    for script in reader.scripts[:-3]:
        assert "<" not in script
        json.loads(script)


def test_ids_are_unique_and_labels_lead_somewhere(page: str) -> None:
    reader = Reader(page)
    ids = reader.attribute("id")
    assert len(ids) == len(set(ids))
    for name in ("for", "aria-labelledby", "data-run"):
        assert set(reader.attribute(name)) <= set(ids)
    assert {h[1:] for h in reader.attribute("href")} <= set(ids)
    for tag, attributes in reader.tags:
        if tag == "svg":
            assert attributes.get("aria-label")


def test_the_index_names_a_shared_folder_once_and_the_headings_in_full() -> None:
    text = own(report_html(many(12)))
    index, runs = text.split("<main", 1)
    assert "Runs under <code>runs/sweep/</code>" in index
    assert ">0007/<wbr>metrics.csv</a>" in index
    assert "</span> runs/sweep/0007/metrics.csv</h2>" in runs


def test_one_run_needs_no_index() -> None:
    assert "Index of runs" not in report_html(Report([healthy()]))
    assert "No runs" in report_html(Report())


def test_long_curves_are_reduced_and_keep_their_extremes() -> None:
    n = 200_000
    values = np.sin(np.arange(n) / 9_000) + 2
    values[77_777] = 99.5
    history = TrainingHistory({"loss": (np.arange(n), values)})
    data = chart_data(make_chart(history))
    line = data["lines"][0]
    assert len(line["y"]) <= 2000
    assert max(line["y"]) == 99.5
    assert line["x"][line["y"].index(99.5)] == 77_777
    assert len(line["mx"]) == len(line["my"]) <= 1000


def test_data_of_a_plot() -> None:
    data = chart_data(make_chart(exploded().history, exploded()))
    assert [line["role"] for line in data["lines"]] == ["train_loss", "val_loss", "learning_rate", "grad_norm"]
    assert data["best"][0] == 1900
    assert [m["start"] for m in data["marks"]] == [1991, 1905, 701]
    train = data["lines"][0]
    assert [701, "Inf"] in train["bad"]
    assert train["badCount"] == 611
    assert data["yscale"] == "linear"
    gaps = chart_data(make_chart(resumed().history))["lines"][0]
    assert gaps["y"].count(None) == 1
    assert len(gaps["old"]["x"]) == 200


@pytest.mark.parametrize("value", [1.23456789e-300, 1e300, -9.87654321, 0.0, 5e-324, 1.7e308, 123456789.0])
def test_numbers_of_a_plot_keep_six_digits(value: float) -> None:
    history = TrainingHistory({"loss": ([0, 1], [value, value])})
    found = chart_data(make_chart(history))["lines"][0]["y"][0]
    assert found == pytest.approx(value, rel=1e-5, abs=0)


def test_two_hundred_runs_are_made_fast_and_stay_small() -> None:
    start = time.perf_counter()
    page = report_html(many(200))
    assert time.perf_counter() - start < 20  # about one second on a quiet machine
    assert len(page) < 25e6
    assert page.count('<section class="run"') == 200


@pytest.mark.parametrize("made", [exploded, overfitted, resumed, tiny, evil, healthy])
def test_notebook_html_is_static_and_safe(made: Any) -> None:
    d = made()
    for text in (diagnosis_html(d), history_html(d.history)):
        reader = Reader(text)
        assert not reader.scripts
        assert not [name for _, a in reader.tags for name in a if name.startswith("on")]
        assert len(text) < 200_000
    assert d._repr_html_() == diagnosis_html(d)
    assert d.history._repr_html_() == history_html(d.history)


@pytest.mark.parametrize(
    "values", [[], [1.0], [float("nan")] * 3, [-1e308, 1e308, 0.0], [5e-324, 1e308], [0.0, 0.0], [float("inf"), 1.0]]
)
def test_svg_of_odd_values_has_only_finite_numbers(values: list[float]) -> None:
    history = TrainingHistory({"loss": (range(len(values)), values)})
    for text in (history_html(history), sparkline_svg(history), report_html(Report([tiny()]))[-3000:]):
        assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', text.split("<text", 1)[0])
        Reader(text) if text.startswith("<") else None


def test_axis_ticks_are_round_and_inside() -> None:
    assert Axis(0, 2600, 0, 100).ticks() == [0, 500, 1000, 1500, 2000, 2500]
    assert Axis(0.4, 2.7, 0, 100).ticks() == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert Axis(0.02, 300, 0, 100, "log").ticks() == pytest.approx([0.1, 1, 10, 100])
