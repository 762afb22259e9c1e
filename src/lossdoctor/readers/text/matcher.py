"""A line kind that comes again and again gets an expression of its own, which is faster than taking each line apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# What a number looks like, as in shapes; only ".5" is left to the general way.
_PLAIN = r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
_ANY = (
    rf"(?:{_PLAIN}|(?<!\d:)(?<![\[(])[1-9][0-9]{{0,2}}(?:,[0-9]{{3}}){{1,6}}(?![0-9]|,[0-9])(?:\.[0-9]+)?"
    r"|[-+]?[nN][aA][nN](?!\w)|[-+]?[iI][nN][fF](?:inity)?(?!\w))"
)
_GOES_ON = ".eE0123456789"  # after a number, these may belong to it
_OPEN_SIGN = re.compile(r"[^\w.@][-+]$")  # before a number without a sign, this would be its sign
MOST_NUMBERS = 120
MOST_TEXT = 2_000

Match = Callable[[str], "re.Match[str] | None"]


def matcher_of(parts: Sequence[str], slots: Sequence[int], *, every: bool = False) -> Match | None:
    """A test whether a line is of the kind of ``parts``, whose groups are the numbers at ``slots``, from left to right.

    A line that it takes would be cut by :func:`lossdoctor.readers.text.shapes.split` into the same texts (after runs
    of blanks are collapsed) and at the same numbers. So it is None where the text about a number decides where it
    begins or ends: ``1`` and ``234`` with a comma between, ``1`` and ``e``, ``--2``.

    Args:
        parts: text and numbers in turn.
        slots: indices into ``parts``, each once.
        every: take numbers of every form in every place, not only of the form that they have in ``parts``.

    >>> match = matcher_of(["step ", "1", " loss ", "0.5", ""], (3,))
    >>> match("step 20   loss -1.5e-3").groups(), match("step 20 loss .5")
    (('-1.5e-3',), None)
    """
    texts = parts[::2]
    if len(texts) > MOST_NUMBERS or sum(map(len, texts)) > MOST_TEXT or len(set(slots)) < len(slots):
        return None
    if any(not t or t == "," for t in texts[1:-1]) or any(t[:1] in _GOES_ON for t in texts[1:] if t):
        return None
    if texts[0] in ("-", "+") or any(_OPEN_SIGN.search(t) for t in texts[:-1]):
        return None
    wanted = set(slots)
    pattern = []
    for i, part in enumerate(parts):
        if i % 2 == 0:
            pattern.append(" +".join(map(re.escape, part.split(" "))))
        else:
            plain = part[-1:].isdigit() and "," not in part and not every  # choices cost time
            number = _PLAIN if plain else _ANY
            pattern.append(f"({number})" if i in wanted else number)
    return re.compile("".join(pattern)).fullmatch
