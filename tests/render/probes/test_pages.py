"""A checkup's page and what notebooks show: whole, self-contained, and nothing in them that could act."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest

from lossdoctor.probes.chart import Chart
from lossdoctor.probes.checkups.report import CheckupReport
from lossdoctor.probes.result import ProbeResult
from lossdoctor.render.escape import visible
from lossdoctor.render.probes import notebook, page
from lossdoctor.render.probes.svg import chart_svg, width_of
from tests.render.probes.samples import Shown, bars, checkup, evil, failed, several, signed, sweep
from tests.render.samples import EVIL
from tests.render.test_html import Reader

SVG = (bars(), several(), signed(), sweep())


def boxes(svg: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Every level text of a picture with its box, as wide as this package takes it to be."""
    found = []
    for node in ET.fromstring(svg).iter("text"):
        if "transform" in node.attrib or not node.text:
            continue
        x, y = float(node.attrib["x"]), float(node.attrib["y"])
        wide = width_of(node.text, 11.0) * 0.92
        left = {"middle": x - wide / 2, "end": x - wide}.get(node.get("text-anchor", ""), x)
        found.append((node.text, (left, y - 9, left + wide, y + 2)))
    return found


@pytest.mark.parametrize("chart", SVG, ids=lambda c: c.title[:16])
def test_no_text_of_an_svg_meets_another_or_leaves_it(chart: Chart) -> None:
    svg = chart_svg(chart)
    *_, width, height = map(float, str(ET.fromstring(svg).get("viewBox")).split())
    texts = boxes(svg)
    met = [
        (a, b)
        for (a, p), (b, q) in combinations(texts, 2)
        if p[0] < q[2] and q[0] < p[2] and p[1] < q[3] and q[1] < p[3]
    ]
    assert met == []
    assert [t for t, b in texts if b[0] < -1 or b[1] < 0 or b[2] > width + 1 or b[3] > height + 1] == []


def test_an_svg_holds_curves_bands_marks_and_names() -> None:
    root = ET.fromstring(chart_svg(sweep()))
    texts = [t.text for t in root.iter("text")]
    assert {"Loss while the learning rate rises", "learning rate", "loss", "smoothed", "usable range"} <= set(texts)
    assert {"suggestion 0.01", "steepest", "chance: ln 10"} <= set(texts)
    assert len(list(root.iter("path"))) == 2
    assert len(list(root.iter("rect"))) == 2
    assert root.get("role") == "img"
    assert root.get("aria-label") == sweep().title


def test_bars_of_an_svg_have_lengths_by_their_axis() -> None:
    rows = list(ET.fromstring(chart_svg(bars())).iter("rect"))
    wide = [float(r.attrib["width"]) for r in rows]
    assert len(wide) == 10  # zero and NaN have none
    steps = [a - b for a, b in pairwise(wide)]
    assert steps == pytest.approx([steps[0]] * 9, abs=0.2)  # half a power of ten each


@pytest.mark.parametrize("chart", [Chart("nothing"), Chart("", lines=()), Chart("b", bars=(("a", float("nan")),))])
def test_odd_charts_are_valid_pictures(chart: Chart) -> None:
    ET.fromstring(chart_svg(chart))


def test_a_fragment_of_a_result_has_all_of_it_and_is_well_formed() -> None:
    html = notebook(failed())
    told = " ".join(Reader(html).text)
    for word in ("✗ failed", "Gradients", failed().verdict, "first layers over last", "blocks.0."):
        assert word in told
    assert html.count("<svg") == 3
    assert "<script" not in html


def test_a_result_shows_itself() -> None:
    assert ProbeResult(outcome="passed", verdict="a < b")._repr_html_() == notebook(
        ProbeResult(outcome="passed", verdict="a < b")
    )
    assert checkup()._repr_html_() == notebook(checkup())


def test_a_fragment_of_a_checkup_opens_with_its_summary() -> None:
    reader = Reader(checkup()._repr_html_())
    told = " ".join(reader.text)
    assert told.index("Next steps") < told.index("Learning-rate range test")
    assert [tag for tag, _ in reader.tags].count("details") == 4
    assert "Curvature, Gradient noise could not be run: train.py:12: " in told


@pytest.mark.parametrize("made", [notebook(evil()), page(CheckupReport(EVIL, (evil(),)))], ids=["notebook", "page"])
def test_names_of_the_user_are_shown_and_cannot_act(made: str) -> None:
    reader = Reader(made)
    assert [s for s in reader.scripts if "alert" in s] == []
    assert visible(EVIL) in " ".join(reader.text)
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert "\x1b" not in made
    assert "\u202e" not in made


def test_the_page_tells_first_what_was_found_and_what_to_do() -> None:
    told = " ".join(Reader(page(checkup())).text)
    order = ["What was found", "Likeliest causes", "Next steps", "largest stable rate", "Could not be run", "Not run"]
    assert [told.index(word) for word in order] == sorted(told.index(word) for word in order)
    for word in ("critical", "gradients vanish", "87%", "12,345", "204 steps", "there is no 'val' in what was given"):
        assert word in told


def test_the_page_refers_to_nothing_outside_itself() -> None:
    made = page(checkup())
    reader = Reader(made)
    assert not reader.attribute("src")
    links = reader.attribute("href")
    ids = set(reader.attribute("id"))
    assert len(links) > 4
    assert all(link[0] == "#" and link[1:] in ids for link in links)
    assert not re.search(r"\b(https?|wss?|ftp):|url\(|\bfetch\(|@import", made)
    assert len(made) < 120_000


def test_the_one_script_is_named_in_the_policy() -> None:
    reader = Reader(page(checkup()))
    policy = next(str(a["content"]) for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    (script,) = reader.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_placeholder_in_a_name_is_never_filled_in() -> None:
    assert "{{css}}" in page(CheckupReport("{{css}}", (Shown(outcome="passed", verdict="{{results}}"),)))
