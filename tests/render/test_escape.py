"""Nothing from a log reaches a terminal, XML or a page as anything but text."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.render.escape import encodable, markup, visible

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)


@given(ANYTHING)
def test_visible_text_holds_no_control_and_can_be_encoded(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs")]
    assert "\u202e" not in shown
    assert visible(shown) == shown


def test_visible_keeps_what_people_write() -> None:
    assert visible("Überläufe: 損失 🙂 +3 %") == "Überläufe: 損失 🙂 +3 %"


def test_visible_bounds_the_length() -> None:
    assert len(visible("a" * 10_000, 100)) == 101


@given(ANYTHING)
def test_markup_cannot_leave_text_or_attribute(text: str) -> None:
    assert not set(markup(text)) & set("<>\"'")


@given(ANYTHING)
def test_encodable_changes_only_surrogates(text: str) -> None:
    assert encodable(text).encode("utf-8")[:0] == b""
    if not any(unicodedata.category(c) == "Cs" for c in text):
        assert encodable(text) == text
