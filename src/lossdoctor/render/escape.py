"""Logs are untrusted: what comes from them is made harmless here before it reaches a terminal, XML or a page."""

from __future__ import annotations

import html
import re

# C0 and C1 controls, line and paragraph separators, marks that reorder text (they can disguise a name), zero-width
# characters, the byte-order mark, lone surrogates (undecodable bytes of a path) and non-characters.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)


def visible(text: object, limit: int = 2_000) -> str:
    r"""One line of text with every unsafe character written out; line ends and tabs become blanks.

    >>> visible("a\x1b[31mred\nb")
    'a\\x1b[31mred b'
    """
    line = str(text)
    if len(line) > limit:
        line = line[:limit] + "…"
    return _UNSAFE.sub(_written_out, line)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code in (0x09, 0x0A, 0x0D):
        return " "
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def markup(text: object, limit: int = 2_000) -> str:
    """Text for HTML and SVG, in content and in quoted attributes.

    >>> markup("<script>")
    '&lt;script&gt;'
    """
    return html.escape(visible(text, limit), quote=True)


def encodable(text: str) -> str:
    r"""Text that UTF-8 can encode: lone surrogates are written out, everything else stays.

    >>> encodable("run-\udcff")
    'run-\\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
