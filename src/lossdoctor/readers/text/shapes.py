"""The shape of a line: its text with the numbers taken out. Lines of one print statement share a shape."""

from __future__ import annotations

import re

# A number that is not part of a word. The first item is a plain set of characters, which lets the regex engine skip
# quickly; the lookbehinds then decide by that first character. Every branch is linear.
_NUMBER = re.compile(
    r"([-+.0-9nNiI](?<![\w.@][-+.0-9nNiI])(?:"
    r"(?<=[1-9])(?<!\d:.)(?<![\[(].)[0-9]{0,2}(?:,[0-9]{3}){1,6}(?![0-9]|,[0-9])(?:\.[0-9]+)?"
    r"|(?<=[0-9])[0-9]*(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
    r"|(?<=[-+])(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|[nN][aA][nN](?!\w)|[iI][nN][fF](?:inity)?(?!\w))"
    r"|(?<=\.)[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|(?<=[nN])[aA][nN](?!\w)"
    r"|(?<=[iI])[nN][fF](?:inity)?(?!\w)))"
)
split = _NUMBER.split
"""Text and numbers in turn: ``["loss ", "2.31", " lr ", "1e-4", ""]``. Thousands separators stay in the number."""

_VOLATILE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-f]{8,}|[0-9]{4,}")


def loose(shape: str) -> str:
    """The shape without what differs from line to line inside words: addresses, hashes, run-together dates."""
    return _VOLATILE.sub("0", shape)


def to_float(text: str) -> float:
    """A number as :data:`split` finds it; NaN for what ``float`` refuses.

    >>> to_float("1,234.5")
    1234.5
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return float("nan")
