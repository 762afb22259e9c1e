"""From the text before a number to the key that the number belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lossdoctor.readers.text.words import KNOWN_KINDS, ROLE_KINDS, counter, kind_of, split_in, strip_filler

_WRAP = re.compile(r"(?:\b(?:tensor|np\.\w+|jnp\.\w+|array|Array|DeviceArray|float\d*|Decimal)\(|[\[({'\"$~≈])+\s*$")
_TRAILING_PAREN = re.compile(r"^(.*?)\s*\(([^()]*)\)\s*$", re.S)
_DELIMITER = re.compile(
    r"[|,;\t\]\[{}()\"│┃║━─•»]|(?<!\w)'|'(?!\w)|\s[-–—*]+\s|(?<!\b[Vv]al)(?<!\b[Aa]vg)(?<!\b[Aa]cc)[.!?]\s|:\s|\s{2,}|[-=]+>|→|\s\*|^\s*[-*#>]+\s"
)
_PAIR = re.compile(r"[(\[]\s*(['\"]?)([A-Za-z][\w ./@%+-]{0,79})\1\s*,$")
_BRACKETED = re.compile(r"\[\s*([A-Za-z][\w ./%-]{0,40}?)\s*\]$")
_SEPARATORS = ":=|│┃║"
_WORD = re.compile(r"[A-Za-z_][\w./'@%+-]*$")
_UNIT_NOTE = re.compile(r"^(?:%|\w{1,3}|ms|sec(?:s|onds)?|MB|GB|avg|running|smoothed|it/s|[\w ]*/[\w ]*)$")
_PREPOSITIONS = frozenset({"at", "after", "on", "in", "for"})
MAX_KEY = 80
REACH = 240  # a key stands close to its number; this also keeps every pattern below cheap on hostile lines


@dataclass(frozen=True, slots=True)
class Key:
    """A key found before a number.

    Attributes:
        text: the key as the log writes it.
        strong: a separator (``:``, ``=``, ``|``) stands between key and number.
        split: the split named in the text before the key, ``""`` when none.
        bracket: the number stands in an opening bracket (``Epoch [1]``).
        boxed: only a table border stands between key and number (``| loss | 0.1 |``).
    """

    text: str
    strong: bool
    split: str
    bracket: bool
    boxed: bool = False


def find_key(text: str) -> Key | None:
    """The key at the end of ``text``, or None when the number that follows has none.

    >>> find_key(" | learning rate: ")
    Key(text='learning rate', strong=True, split='', bracket=False, boxed=False)
    >>> find_key("Test set: Average loss: ").split
    'test'
    """
    text = text[-REACH:].rstrip()
    bare = _WRAP.sub("", text).rstrip()
    bracket = len(bare) < len(text) and text[-1] in "[("
    strong = boxed = False
    while bare and bare[-1] in _SEPARATORS:
        boxed = bare[-1] in "|│┃║" and (boxed or not strong)
        bare, strong = bare[:-1].rstrip(), True
    if not bare:
        return None
    if bare[-1] in "'\"":
        return _quoted(bare, strong, bracket)
    if pair := _PAIR.search(bare):
        return _of_pair(bare[: pair.start()], pair.group(2).strip())
    if bare[-1] == "]" and (inside := _BRACKETED.search(bare)):  # "[Loss] 0.3 | [step] 104"
        known = _known(inside.group(1))
        return Key(inside.group(1), True, split_in(bare[: inside.start()]), bracket) if known else None
    note = _TRAILING_PAREN.match(bare)
    suffix = ""
    if note:
        if split_in(note.group(2)):
            suffix = f" ({note.group(2)})"
        elif not _UNIT_NOTE.match(note.group(2).strip()):
            if not (strong and note.group(1)[-1:].isalpha() and bare[note.end(1)] == "("):
                return None
            suffix = f"({note.group(2)})"  # "Obj(log[Pzx]) = -34"
        bare = note.group(1)
    start = 0
    for match in _DELIMITER.finditer(bare):
        if match.end() < len(bare):
            start = match.end()
    chunk = bare[start:].strip(" \t:=-–—#*>.`\u2022")
    head = bare[:start]
    words = strip_filler(chunk.split())
    if words and len(words) > 1 and words[-1].lower() == "value":  # Megatron: "lm loss value"
        words = words[:-1]
    if not words or len(chunk) > MAX_KEY or not any(c.isalpha() for c in chunk):
        return None
    if len(words) > 2 and counter(words[-1]) and any(w.lower() in _PREPOSITIONS for w in words[:-1]):
        head += " " + " ".join(words[:-1])  # "Cost after iteration 100: 0.3"
        words = words[-1:]
    name = _strong_name(words) if strong else _weak_name(words, clean_start=start > 0 or bare[:start] == "")
    if name is None:
        return None
    used = len(name.split())
    if used < len(words):
        head += " " + " ".join(words[: len(words) - used])
    return Key(name + suffix, strong, split_in(suffix) or split_in(head), bracket, boxed)


def _of_pair(before: str, name: str) -> Key:
    """The key of a pair of name and value; what is set to the pair names it better: ``Validation-acc=('acc', 0.9)``."""
    outer = find_key(before) if before.rstrip()[-1:] in ("=", ":") else None
    if outer is not None and kind_of(outer.text) in KNOWN_KINDS:
        return outer
    return Key(name, True, split_in(before), False)


def _quoted(bare: str, strong: bool, bracket: bool) -> Key | None:
    quote = bare[-1]
    opening = bare.rfind(quote, 0, len(bare) - 1)
    name = bare[opening + 1 : -1].strip()
    if opening < 0 or not name or len(name) > MAX_KEY or not strong:
        return None
    return Key(name, strong, split_in(bare[:opening]), bracket)


def _strong_name(words: list[str]) -> str | None:
    """A key before a separator may be any phrase, but not a sentence."""
    if not _WORD.search(words[-1]) and not re.search(r"[\w)%]$", words[-1]):
        return None
    if len(words) <= 5:
        return " ".join(words)
    return _weak_name(words, clean_start=False)


def _weak_name(words: list[str], *, clean_start: bool) -> str | None:
    """Before a blank only a known metric or counter is a key, or one bare word right after a delimiter."""
    if not _WORD.match(words[-1]):
        return None
    whole = " ".join(words)
    plain = not any(c.isdigit() for w in words[:-1] for c in w)
    if len(words) <= 3 and _known(whole) and (len(words) == 1 or (clean_start and plain)):
        return whole
    for count in range(1, min(4, len(words)) + 1):
        phrase = " ".join(words[-count:])
        if _known(phrase):
            if counter(phrase):
                return phrase
            before = words[: len(words) - count]
            while before and _is_adjective(before[-1]) and len(phrase.split()) < 4:
                phrase = f"{before.pop()} {phrase}"
            return phrase
    if clean_start and len(words) == 1 and len(words[0]) > 1:
        return words[0]
    return None


def _known(phrase: str) -> bool:
    kind = kind_of(phrase)
    return kind in KNOWN_KINDS or kind in ROLE_KINDS or kind == "not" or counter(phrase) is not None


_ADJECTIVES = frozenset(
    {"train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev", "total", "average", "avg"}
    | {"mean", "running", "smoothed", "lm", "mlm", "nsp", "cls", "box", "d", "g", "gen", "disc", "recon", "kl", "ce"}
    | {
        "reconstruction",
        "generator",
        "discriminator",
        "classification",
        "regression",
        "batch",
        "epoch",
        "step",
        "cross",
    }
    | {"aux", "auxiliary", "main", "overall", "best", "final", "pixel", "per-token", "student", "teacher", "grad"}
)


def _is_adjective(word: str) -> bool:
    return word.lower().strip(".:") in _ADJECTIVES
