"""The numbers of one line, each with the words that belong to it: before it, as a rule, or after it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lossdoctor.readers.text.keys import Key, find_key
from lossdoctor.readers.text.prefix import CLOCK
from lossdoctor.readers.text.words import KNOWN_KINDS, ROLE_KINDS, SPACED_UNIT, UNIT, counter, kind_of, split_in

_TOTAL = frozenset({"/", "of", "out of"})
_ARROW = frozenset({"->", "-->", "→", "=>", "==>"})
_NOISE = frozenset({"-", ":", "x", "×", "<", "±", "+/-", "+-", "~", "^", "*", "..", "...", "–", "<?,"})
_GLUED_COUNTER = re.compile(r"(?:st|nd|rd|th)?[ -]?(epochs?|steps?|iters?|iterations?|batch)(?![\w=])")
PLURALS = ("epochs", "steps", "iterations", "iters", "updates", "batches")
_COUNTED = re.compile(
    r" ?(epochs?|steps?|iters|iterations?|updates|(?:mini)?batches|sequences|utterances|samples|sentences|examples)\b",
    re.I,
)
_AFTER = re.compile(r"(?P<name>(?: [A-Za-z][A-Za-z_/-]*){0,3}) ?(?P<end>[,;:|] ?|$)")
# What leads from a metric to the counter after it: "Average objective function for 'output' for minibatches".
_LEADS_ON = re.compile(r"(?: (?:at|after|for|in|on)(?: (['\"])[^'\"]*\1)?)+$")


@dataclass(slots=True)
class Item:
    """One number.

    Attributes:
        slot: which number of the line it is.
        key: the words that it belongs to.
        opener: the text before it, without blanks.
        total, average: slots of a total (``10/100``) and a running average (``6.9 (7.0)``) after it, -1 for none.
        unit: the unit glued to it or after it.
        ctx: the split that the line has named so far.
        head: the text before it.
        noise: nothing but a sign stands before it.
    """

    slot: int
    key: Key | None
    opener: str
    total: int = -1
    average: int = -1
    unit: str = ""
    ctx: str = ""
    head: str = ""
    noise: bool = False


def items_of(line: str, parts: list[str], starts: list[int], begin: int) -> list[Item]:
    """The numbers of a line that are no clock, in turn.

    Args:
        line: the line.
        parts: the same as text and numbers in turn.
        starts: where each number begins.
        begin: where the message begins.
    """
    if (named_after := _named_after(line, parts, starts, begin)) is not None:
        return named_after
    clock = {i for m in CLOCK.finditer(line) for i, s in enumerate(starts) if m.start() <= s < m.end()}
    items: list[Item] = []
    last: Item | None = None
    fresh = False  # the number before is the item's own value, so a unit after it is the item's
    context = ""
    carried = ""  # text whose "number" was the word nan or inf: "number of nan iterations: 0"
    for i, start in enumerate(starts):
        if start < begin:
            continue
        piece = parts[2 * i]
        if start - len(piece) < begin:
            piece = line[begin:start]
        elif last is not None and fresh:
            piece = _take_unit(last, piece)
        elif last is not None:
            piece = piece.lstrip("%")
        fresh = False
        piece, carried = carried + piece, ""
        core = piece.strip()
        if i in clock:
            context = split_in(piece) or context
            last = None
            continue
        if last is not None and core in _TOTAL and last.total < 0:
            last.total = i
            continue
        if last is not None and core == "(" and last.average < 0:
            last.average = i
            continue
        if last is not None and (core in _ARROW or (piece == "-" and _is_plural(last.key))):  # "minibatches 40-49"
            last.slot = i
            continue
        key = find_key(piece) if core and core not in _NOISE else None
        if key is None and (noun := _counted_after(piece, parts[2 * i + 2])):
            key = Key(noun, False, "", False)
        named = key is not None and (key.strong or kind_of(key.text) in KNOWN_KINDS)
        named = named or (key is None and last is not None and value_of(last, core) is not None)
        if parts[2 * i + 1][-1:].isalpha() and not named:
            carried, last = piece + parts[2 * i + 1], None
            continue
        context = (key.split if key else split_in(piece)) or context
        last = Item(i, key, core, ctx=context, head=piece, noise=core in _NOISE)
        items.append(last)
        fresh = True
    if last is not None and fresh:
        _take_unit(last, parts[-1])
    return items


def _take_unit(last: Item, piece: str) -> str:
    """Take the unit that belongs to the number before off the text; ``1epoch`` names its own counter."""
    if last.key is None:
        match = _GLUED_COUNTER.match(piece)
        if match and not piece.startswith((" ", "-")):
            last.key = Key(match.group(1), True, "", False)
            return piece[match.end() :]
    match = UNIT.match(piece) or SPACED_UNIT.match(piece)
    if not match:
        return piece
    last.unit = last.unit or match.group().strip()
    return piece[match.end() :]


def value_of(before: Item, opener: str) -> Key | None:
    """``Loss after epoch 5: 0.3``: the metric is named before the counter, the value stands after it.

    Deeplearning4j's "Score at iteration 5 is 0.3" is the value of its loss function.
    """
    if before.key is None or opener not in (":", "=", "is", "->") or counter(before.key.text) is None:
        return None
    head = before.head[: before.head.rfind(before.key.text)]
    head = _LEADS_ON.sub("", re.sub(r"\([^)]*\)\s*", "", head).strip(" \t-"))
    key = find_key(head)
    if key is not None and key.text == "Score" and before.key.text == "iteration" and opener == "is":
        return replace(key, text="Score (loss)")
    return key


def _is_plural(key: Key | None) -> bool:
    return key is not None and key.text.lower().endswith(PLURALS) and counter(key.text) is not None


def _counted_after(piece: str, following: str) -> str:
    """``After 280196 sequences``: what the number counts, in the words of a counter, or ``""``."""
    match = _COUNTED.match(following)
    if match is None or not piece.lower().rstrip().endswith("after"):
        return ""
    return match.group(1).lower() if counter(match.group(1)) else "step"


def _named_after(line: str, parts: list[str], starts: list[int], begin: int) -> list[Item] | None:
    """``931: 8.6, 7.9 avg, 0.001 rate, 64 images``: names that follow their numbers, None where they do not.

    The line has nothing else than a counter that opens it, and numbers with names between commas. Darknet leaves out
    the name of the loss before the average of it.
    """
    slots = [i for i, start in enumerate(starts) if start >= begin]
    if len(slots) < 3 or line[begin : starts[slots[0]]].strip():
        return None
    found = [_AFTER.fullmatch(parts[2 * i + 2]) for i in slots]
    if not all(found) or not parts[2 * slots[0] + 1].isdigit():
        return None
    names = [m["name"].strip() for m in found if m]
    if names[0] or sum(map(bool, names)) < max(2, len(names) - 3):
        return None
    for k in range(2, len(names)):
        if names[k] in ("avg", "avg loss") and not names[k - 1]:
            names[k - 1], names[k] = "loss", "avg loss"
            names = ["learning rate" if n == "rate" else n for n in names]
    if not any(kind_of(n) in KNOWN_KINDS for n in names):
        return None
    known = [n if kind_of(n) in KNOWN_KINDS | ROLE_KINDS else "" for n in names]
    return [Item(i, Key(n, True, "", False) if n else None, "") for i, n in zip(slots, known, strict=True)]
