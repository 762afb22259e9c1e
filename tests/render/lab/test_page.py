"""The page that plays: whole, offline, and deaf to what a label says."""

from __future__ import annotations

import json
import re

from lossdoctor.lab.result import Experiment, Line, Panel, Table
from lossdoctor.render.lab.page import page
from lossdoctor.render.lab.scene import Scene, Track
from tests.render.lab.samples import EVIL, experiment, history, scene


def data(html: str) -> dict[str, object]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(found)  # type: ignore[no-any-return]


def test_the_page_holds_film_panels_tables_numbers_and_diagnosis() -> None:
    made = experiment()
    html = page(made, scene(), {label: h.diagnose() for label, h in made.runs.items()})
    assert {"An experiment", "It shows something.", "What came out", "final loss", "A paper (2020)"} <= set(
        re.findall(r">([^<>]+)<", html)
    )
    assert "LD101" in html
    assert 'id="play"' in html
    assert 'id="space"' in html
    found = data(html)
    assert len(found["scene"]["tracks"]) == 2  # type: ignore[index, call-overload]
    assert [len(p["lines"]) for p in found["panels"]] == [1, 5]  # type: ignore[union-attr, attr-defined]


def test_nothing_is_fetched_and_only_our_scripts_may_run() -> None:
    html = page(experiment(), scene())
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in html
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!data:|#)', outside)
    assert html.count("'sha256-") == html.count("<script>") == 2


def test_evil_words_stay_words() -> None:
    steps = scene().tracks[0]
    track = Track(EVIL, steps.x, steps.y, steps.steps, steps.loss)
    panel = Panel(EVIL, EVIL, EVIL, (Line(EVIL, steps.steps, steps.loss),), note=EVIL)
    table = Table(EVIL, (EVIL,), ((EVIL,),), EVIL)
    made = Experiment(EVIL, EVIL, EVIL, (panel,), (table,), {EVIL: EVIL}, {EVIL: history()}, sources=(EVIL,))
    html = page(made, Scene(EVIL, scene().ground, (track,), EVIL), {EVIL: history().diagnose()})
    assert html.count("<script>") == 2
    assert EVIL not in html
    assert "<b>$x^2$" not in html
    assert data(html)["panels"][0]["lines"][0]["label"] == EVIL  # type: ignore[index]


def test_an_experiment_without_pictures_is_a_page_too() -> None:
    html = page(Experiment("bare", "Bare", "Words only."))
    assert "Words only." in html
    assert data(html)["scene"] is None


def test_the_page_stays_small() -> None:
    from lossdoctor.render.html import plotly_js

    html = page(experiment(), scene(12, 5_000))
    assert len(html) - len(plotly_js()) < 900_000
