"""The page in a real browser: it plays, slides, turns, changes its theme, and nothing complains."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossdoctor.lab.result import Experiment
from lossdoctor.render.lab.page import page as make_page
from lossdoctor.render.lab.scene import Scene
from tests.render.devtools import HINT, Page, chromium
from tests.render.lab.samples import classes, curves, experiment, plane, scene

pytestmark = pytest.mark.skipif(chromium() is None, reason=HINT)
STEP = "document.documentElement.dataset.step"
LOSS = "document.getElementById('loss').data"
MAP = "document.getElementById('map').data"
# A browser without a graphics card says these of any WebGL; they are no fault of the page.
EXCUSED = ("WebGL", "GL Driver Message", "willReadFrequently")


def show(page: Page, tmp_path: Path, made: Experiment, film: Scene | None) -> None:
    path = tmp_path / "lab.html"
    path.write_text(make_page(made, film, {label: h.diagnose() for label, h in made.runs.items()}), "utf-8")
    page.open(path)
    page.wait("document.documentElement.dataset.drawn")


def slide(page: Page, frame: int) -> None:
    page.run(
        f"(() => {{ const s = document.getElementById('slider'); s.value = '{frame}';"
        " s.dispatchEvent(new Event('input')); })()"
    )


def test_the_slider_moves_paths_and_losses_together(page: Page, tmp_path: Path) -> None:
    film = scene(2, 30)
    show(page, tmp_path, experiment(), film)
    assert page.run(STEP) == "30"
    slide(page, 12)
    assert page.run(STEP) == "12"
    assert page.run("document.getElementById('step').textContent") == "step 12"
    track = film.tracks[1]
    path, head = f"{MAP}.filter(t => t.name === 'start 1')[0]", f"{MAP}.filter(t => t.name === 'start 1')[1]"
    assert page.run(f"Array.from({path}.x)") == pytest.approx(track.x[:13].tolist(), rel=1e-4)
    assert page.run(f"Array.from({head}.y)") == pytest.approx([track.y[12]], rel=1e-4)
    assert page.run(f"Array.from({LOSS}.filter(t => t.name === 'start 1')[0].y)") == pytest.approx(
        track.loss[:13].tolist(), rel=1e-4
    )


def test_play_runs_to_the_end_and_starts_anew(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, experiment(), scene(2, 20))
    play = "document.getElementById('play')"
    page.run(f"{play}.click()")
    assert page.run(f"{play}.textContent") == "Pause"
    page.wait(f"Number({STEP}) > 0 && Number({STEP}) < 20")
    page.wait(f"{STEP} === '20' && {play}.textContent === 'Play'")


def test_the_surface_can_be_seen_in_space_and_back(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, experiment(), scene())
    page.run("document.getElementById('space').click()")
    page.wait(f"{MAP}.some(t => t.type === 'surface')")
    slide(page, 5)
    assert page.run(f"{MAP}.filter(t => t.type === 'scatter3d')[0].z.length") == 6
    page.run("document.getElementById('space').click()")
    page.wait(f"{MAP}.some(t => t.type === 'contour')")
    assert page.run(f"{MAP}.filter(t => t.name === 'start 0')[0].x.length") == 6


def test_all_kinds_of_panels_are_drawn(page: Page, tmp_path: Path) -> None:
    panels = (plane("log"), curves(), classes())
    show(page, tmp_path, Experiment("all", "All", "", panels), scene(on_curve=True))
    assert page.run("document.querySelectorAll('.panel .main-svg').length") >= 3
    names = page.run("[...document.querySelectorAll('.panel > div')].map(d => d.data.map(t => t.name || ''))")
    assert {"one path", "minimum", "saddle"} <= set(names[0])
    assert {"training", "validation", "theory", "spread", "stop", "floor", "best"} <= set(names[1])
    assert page.run("document.querySelectorAll('.panel > div')[2].data[0].type") == "heatmap"


def test_the_theme_changes_every_plot(page: Page, tmp_path: Path) -> None:
    page.emulate(dark=True)
    show(page, tmp_path, experiment(), scene())
    assert page.run("document.getElementById('loss').layout.paper_bgcolor") == "#14181d"
    page.run("document.getElementById('theme').click()")
    for box in ("document.getElementById('map')", "document.querySelector('.panel > div')"):
        page.wait(f"{box}.layout.paper_bgcolor === '#ffffff'")


def test_the_diagnosis_is_under_the_film(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, experiment(), scene())
    top = "document.querySelector('.stage').getBoundingClientRect().bottom"
    assert page.run(f"document.querySelector('.verdict').getBoundingClientRect().top > {top} - 1")
    assert "LD101" in page.run("document.querySelector('[aria-label=Diagnosis]').textContent")


def test_narrow_screens_do_not_scroll_sideways_and_controls_have_names(page: Page, tmp_path: Path) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=420, height=800, deviceScaleFactor=1, mobile=False)
    try:
        show(page, tmp_path, experiment(), scene())
        assert page.run("document.documentElement.scrollWidth") <= 420
        unnamed = "e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)"
        assert page.run(f"[...document.querySelectorAll('button, input, select')].filter({unnamed}).length") == 0
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
