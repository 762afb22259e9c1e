"""A browser for the tests of pages. A module may name in EXCUSED what its pages may complain of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.render.devtools import Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with Page() as page:
        yield page


@pytest.fixture
def page(browser: Page, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page; in the end nothing was fetched and nothing complained."""
    browser.problems.clear()
    browser.requests.clear()
    browser.emulate()
    yield browser
    excused = getattr(request.module, "EXCUSED", ())
    assert [p for p in browser.problems if not any(word in p for word in excused)] == []
    assert [r for r in browser.requests if not r.startswith(("file:", "data:", "blob:"))] == []
