"""The HTML report in a real browser: plots are drawn, controls work, nothing is fetched, nothing complains."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossdoctor.core.report import Report
from lossdoctor.render.html import report_html
from tests.render.devtools import HINT, Page, chromium
from tests.render.samples import evil, exploded, many, report

pytestmark = pytest.mark.skipif(chromium() is None, reason=HINT)
FIRST = "document.querySelector('#run-0 .plot')"


def show(page: Page, tmp_path: Path, made: Report) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_html(made), "utf-8")
    page.open(path)
    page.wait("document.querySelector('.run.drawn .main-svg')")


def test_plot_shows_curves_onsets_best_and_what_is_not_finite(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, Report([exploded()]))
    names = page.run(f"{FIRST}.data.map(t => t.name || '')")
    assert {"loss", "val_loss", "lr", "grad_norm", "gap", "NaN or Inf (618)"} <= set(names)
    assert any(name.startswith("best ") for name in names)
    texts = page.run(f"[...{FIRST}.querySelectorAll('.annotation-text')].map(t => t.textContent)")
    assert texts == ["LD103 loss-spike", "LD102 loss-divergence", "LD101 loss-nonfinite"]
    crosses = page.run(f"{FIRST}.data.find(t => (t.name || '').startsWith('NaN')).x")
    assert min(crosses) == 701
    assert len(crosses) > 400
    assert page.run("getComputedStyle(document.querySelector('.static')).display") == "none"


def test_annotation_texts_do_not_overlap(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, Report([exploded()]))
    boxes = page.run(
        f"[...{FIRST}.querySelectorAll('.annotation-text')].map(t => {{ const b = t.getBoundingClientRect();"
        " return [b.left, b.top, b.right, b.bottom]; })"
    )
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 1 or b[3] <= a[1] + 1, (a, b)


def test_smoothing_slider_redraws_with_bias_correction(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, Report([exploded()]))
    loss = f"Array.from({FIRST}.data.find(t => t.name === 'loss').y)"
    page.run(
        "(() => { const s = document.querySelector('#run-0 input[type=range]'); s.value = '0.9';"
        " s.dispatchEvent(new Event('input')); })()"
    )
    page.wait("document.querySelector('#run-0 output').textContent === '0.90'")
    page.wait(f"{FIRST}.data.filter(t => t.legendgroup === 'loss').length === 2")
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    raw = page.run("JSON.parse(document.querySelector('#run-0 script').textContent).lines[0]")
    found = page.run(loss)
    total = weight = 0.0
    for value, smooth in zip(raw.get("my", raw["y"]), found, strict=True):
        total, weight = 0.9 * total + 0.1 * value, 0.9 * weight + 0.1
        assert smooth == pytest.approx(total / weight, rel=1e-9)
    assert page.run("LossdoctorPlot.smooth([4, null, 2, NaN, 3], 0.5)") == [4, None, 2, None, 3]


def test_axes_switch_between_linear_and_log(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, Report([exploded()]))
    for axis in "xy":
        button = f"document.querySelector('#run-0 button[data-axis={axis}][data-scale=log]')"
        page.run(f"{button}.click()")
        page.wait(f"{FIRST}._fullLayout.{axis}axis.type === 'log'")
        assert page.run(f"{button}.getAttribute('aria-pressed')") == "true"
    places = page.run(f"{FIRST}.layout.annotations.map(a => a.x)")
    assert places[0] == pytest.approx(2.8457, abs=1e-3)  # log10(701)
    page.run("document.querySelector('#run-0 input[name=raw]').click()")
    page.wait(f"{FIRST}.data.filter(t => t.legendgroup === 'loss').length === 1")


def test_theme_follows_the_system_and_the_button(page: Page, tmp_path: Path) -> None:
    page.emulate(dark=True)
    show(page, tmp_path, Report([exploded()]))
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.run(ground) == "rgb(20, 24, 29)"
    assert page.run(f"{FIRST}.layout.paper_bgcolor") == "#14181d"
    page.run("document.getElementById('theme').click()")
    assert page.run(ground) == "rgb(255, 255, 255)"
    page.wait(f"{FIRST}.layout.paper_bgcolor === '#ffffff'")


def test_print_shows_static_plots_in_light(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, Report([exploded()]))
    page.emulate(dark=True, media="print")
    assert page.run("getComputedStyle(document.querySelector('.static')).display") == "block"
    assert page.run(f"getComputedStyle({FIRST}).display") == "none"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_plots_are_drawn_when_they_come_into_view(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, many(200))
    assert page.run("Number(document.documentElement.dataset.drawn)") < 10
    page.run("document.getElementById('run-150').scrollIntoView()")
    page.wait("document.querySelector('#run-150.drawn .main-svg')")
    assert page.run("Number(document.documentElement.dataset.drawn)") < 40


def type_filter(page: Page, text: str) -> None:
    page.run(f"document.getElementById('filter').value = '{text}'")
    page.run("document.getElementById('filter').dispatchEvent(new Event('input'))")


def test_index_filters_and_sorts(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, many(30))
    shown = "[...document.querySelectorAll('.index tbody tr')].filter(r => !r.hidden).length"
    assert page.run(shown) == 30
    type_filter(page, "LD301")
    assert page.run(shown) == 5
    assert page.run("document.getElementById('shown').textContent") == "5 of 30 runs"
    assert page.run("[...document.querySelectorAll('.run')].filter(r => !r.hidden).length") == 5
    type_filter(page, "")
    page.run("document.querySelector('input[name=status][value=healthy]').click()")
    assert page.run(shown) == 10
    points = "[...document.querySelectorAll('.index tbody tr')].map(r => r.cells[5].dataset.key)"
    page.run("document.querySelectorAll('.index th button')[4].click()")
    assert page.run("document.querySelectorAll('.index th')[5].getAttribute('aria-sort')") == "ascending"
    ascending = page.run(points)
    assert ascending == sorted(ascending, key=float)
    page.run("document.querySelectorAll('.index th button')[4].click()")
    assert page.run(points) == sorted(ascending, key=float, reverse=True)


def test_everything_can_be_reached_by_keyboard(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, report())
    focusable = "a[href], button, input, summary, [tabindex]"
    assert page.run(f"[...document.querySelectorAll('{focusable}')].every(e => e.tabIndex >= 0)")
    unnamed = page.run(
        "[...document.querySelectorAll('button, input, [role=img], nav, section')].filter(e =>"
        " !(e.textContent.trim() || e.ariaLabel || e.getAttribute('aria-labelledby') || e.labels?.length)).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("width", [360, 500, 1080])
def test_the_index_fits_its_box(page: Page, tmp_path: Path, width: int) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    try:
        show(page, tmp_path, many(12))
        box = "document.querySelector('.tablewrap')"
        for side in ("Width", "Height"):
            assert page.run(f"{box}.scroll{side} <= {box}.client{side}"), side
        finding = "document.querySelector('.index td.finding-name')"
        assert page.run(f"{finding}.textContent") == "LD101 loss-nonfinite +1"
        assert page.run(f"{finding}.getBoundingClientRect().right <= {box}.getBoundingClientRect().right")
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_narrow_screens_do_not_scroll_sideways(page: Page, tmp_path: Path) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=420, height=800, deviceScaleFactor=1, mobile=False)
    try:
        show(page, tmp_path, report())
        assert page.run("document.documentElement.scrollWidth") <= 420
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_evil_text_does_nothing(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, Report([evil(), evil()]))
    page.run("document.getElementById('run-1').scrollIntoView()")
    page.wait("document.querySelectorAll('.run.drawn').length === 2")
    assert page.run("document.querySelectorAll('body > script:not([type]), main script:not([type])').length") == 3
    legend = page.run(f"[...{FIRST}.querySelectorAll('.legendtext')].map(t => t.textContent).join(' ')")
    assert "</script>" in legend


def test_the_policy_stops_a_script_that_got_in(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "hacked.html"
    path.write_text(
        report_html(Report([exploded()])).replace("<main", "<script>window.hacked = 1</script><main", 1), "utf-8"
    )
    browser.open(path)
    assert browser.run("typeof window.hacked") == "undefined"
    assert any("Content Security Policy" in p for p in browser.problems)
