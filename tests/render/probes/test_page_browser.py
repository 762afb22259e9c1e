"""A checkup's page in a real browser: no text meets another, the theme changes, nothing is fetched or complained of."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from lossdoctor.render.probes import page as checkup_page
from tests.render.devtools import HINT, Page, chromium
from tests.render.probes.samples import checkup

pytestmark = pytest.mark.skipif(chromium() is None, reason=HINT)
BOXES = (
    "[...document.querySelectorAll('svg')].map(s => [...s.querySelectorAll('text')].map(t => {"
    " const b = t.getBoundingClientRect(), r = s.getBoundingClientRect();"
    " return [t.textContent, b.left - r.left, b.top - r.top, b.right - r.left, b.bottom - r.top, r.width, r.height];"
    " }))"
)


def show(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "checkup.html"
    path.write_text(checkup_page(checkup()), "utf-8")
    page.open(path)


def test_no_two_texts_of_a_chart_overlap(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path)
    charts = page.run(BOXES)
    assert len(charts) == 7
    for texts in charts:
        for a, b in combinations(texts, 2):
            # A line of text is higher than its letters.
            apart = a[3] <= b[1] or b[3] <= a[1] or a[4] <= b[2] + 3 or b[4] <= a[2] + 3
            assert apart, (a[0], b[0])
        assert [t[0] for t in texts if t[1] < -1 or t[3] > t[5] + 1 or t[4] > t[6] + 1] == []


def test_the_theme_follows_the_system_and_the_button(page: Page, tmp_path: Path) -> None:
    page.emulate(dark=True)
    show(page, tmp_path)
    ground = "getComputedStyle(document.body).backgroundColor"
    curve = "getComputedStyle(document.querySelector('svg path[stroke-width=\"1.9\"]')).stroke"
    assert (page.run(ground), page.run(curve)) == ("rgb(20, 24, 29)", "rgb(86, 180, 233)")
    page.run("document.getElementById('theme').click()")
    assert (page.run(ground), page.run(curve)) == ("rgb(255, 255, 255)", "rgb(0, 114, 178)")


def test_on_a_narrow_screen_nothing_is_wider_than_it(page: Page, tmp_path: Path) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=380, height=800, deviceScaleFactor=1, mobile=False)
    try:
        show(page, tmp_path)
        assert page.run("document.documentElement.scrollWidth") <= 380
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
