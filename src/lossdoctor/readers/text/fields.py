"""One line taken apart: which of its numbers are counters, which are metrics. Done once per shape."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lossdoctor.core.names import parse
from lossdoctor.readers.text.items import PLURALS, Item, items_of, value_of
from lossdoctor.readers.text.layout import NO_COUNTERS, Column, Layout
from lossdoctor.readers.text.prefix import STAMP, prefix_end, rank_of
from lossdoctor.readers.text.words import (
    KNOWN_KINDS,
    counter,
    is_cost,
    is_maximised_objective,
    kind_of,
    pure_split,
    setting,
    split_in,
)

MAX_NUMBERS = 400
_CODE = re.compile(
    r"\b(?:(?:def|import|return|assert|elif|lambda|except|yield) +[A-Za-z_(\[{\"']|class +[A-Z]"
    r"|self\.|print0?\(|printf\(|f\"|f')"
    r"|\{[a-zA-Z_][\w.]*[}:!(\[+]|[+\-*/]= | == |\)\s*:\s*$|\w\(\)|;\s*$"
    r"|^\s*(?:#include|//|>>> |if |for |while |with )|%\("
)
_SKIP = re.compile(
    r"^\s*wandb:|mAP50-95|@\[|copypaste:|^\s*(?:Collecting|Downloading|Requirement already|Installing)\b|https?://"
)
_KERAS = re.compile(r"\[[=>.]+\]|━{2,}|^[^:]*\s-\s")
_TQDM = re.compile(r"\d%\s?\||\d%[|\s]*[█▏▎▍▌▋▊▉#━]|\[\d\d:\d\d<|it/s\]")


@dataclass(frozen=True, slots=True)
class Fields:
    """A layout and where its columns stand among the numbers of the line."""

    layout: Layout
    slots: tuple[int, ...]


def analyse(line: str, parts: list[str]) -> Fields | None:
    """What the line holds, or None when it is no record.

    Args:
        line: the line, runs of blanks collapsed.
        parts: the same line as text and numbers in turn.
    """
    begin = prefix_end(line)
    if _SKIP.search(line) or _CODE.search(line[begin:]):
        return None
    if len(parts) > 2 * MAX_NUMBERS:
        return None
    starts = _offsets(parts)
    items = items_of(line, parts, starts, begin)
    if len(items) > 1 or not line.lstrip().startswith(("|", "│", "║", "┃")):
        for item in items:  # "| name | 1.2 | name | 3.4 |" is a table of results, not of metrics over time
            if item.key is not None and item.key.boxed:
                item.key = None
    if not items:
        return None
    columns, slots, split = _classify(items, line, parts, begin)
    if not columns:
        return None
    rank, rank_at = rank_of(line)
    if rank_at in starts and not any(c.role == "rank" for c in columns):
        columns.append(Column("rank", "rank"))
        slots.append(starts.index(rank_at))
        rank = -1
    metrics = [c for c in columns if c.role == "metric"]
    counters = [c for c in columns if c.role not in NO_COUNTERS]
    single = len(metrics) + len(counters) == 1 and _only_one(line[begin:], items, starts, begin)
    if metrics and not counters and not single and not any(_is_known(c) or setting(c.key) for c in metrics):
        return None
    timed = _stamp_slots(line, starts)
    bar = ""
    if metrics and items[0].key is None and columns[0].total and columns[0].role == "pos" and _KERAS.search(line):
        bar = "keras"
    elif _TQDM.search(line):
        bar = "tqdm"
    boxed = single and line.lstrip()[:1] in "|│║┃\"'"
    layout = Layout(tuple(columns), split, bar, rank, single, bool(timed), boxed=boxed)
    return Fields(layout, tuple(2 * s + 1 for s in (*slots, *timed)))


def _is_metric(text: str) -> bool:
    return kind_of(text) in KNOWN_KINDS


def _is_known(column: Column) -> bool:
    return kind_of(column.name) in KNOWN_KINDS


def _offsets(parts: list[str]) -> list[int]:
    starts, at = [], 0
    for i in range(0, len(parts) - 1, 2):
        at += len(parts[i])
        starts.append(at)
        at += len(parts[i + 1])
    return starts


def _only_one(message: str, items: list[Item], starts: list[int], begin: int) -> bool:
    """Whether the message is one key and one value: few words, no sentence around it."""
    if len(items) != 1 or items[0].key is None or len(message.split()) > 9:
        return False
    numbers = sum(s >= begin for s in starts)
    return numbers == 1 + (items[0].total >= 0) + (items[0].average >= 0)


def _stamp_slots(line: str, starts: list[int]) -> list[int]:
    """Slots of year, month, day, hour, minute, second when the line begins with a full timestamp."""
    match = STAMP.search(line, 0, 120)
    if not match:
        return []
    found = [starts.index(match.start(g)) for g in range(1, 7) if match.start(g) in starts]
    return found if len(found) == 6 else []


def _classify(items: list[Item], line: str, parts: list[str], begin: int) -> tuple[list[Column], list[int], str]:
    bar = bool(_TQDM.search(line))
    timed = "reader_cost" in line  # Paddle's: so is the batch_cost beside it
    columns: list[Column] = []
    slots: list[int] = []
    names: set[str] = set()
    line_split = "val" if "Saving dict for" in line else ""  # TensorFlow's Estimator after an evaluation
    if "CurrentEval:" in line:  # Paddle's evaluators of the batches it trains on
        for item in items:
            item.ctx = ""
    if bar and items[0].key is not None and items[0].unit == "%":  # "valid: 100%|███| 1/1 [00:00<00:00, loss=0.3]"
        line_split = pure_split(items[0].key.text)
    before = ""  # the split that the metric before named itself
    head_word, head_at = "", 0
    for n, item in enumerate(items):
        following = items[n + 1] if n + 1 < len(items) else None
        column: Column | None
        if item.key is None and n > 0:
            item.key = value_of(items[n - 1], item.opener)
        if item.key is None:
            column = _unkeyed(n, item, items, line, parts, begin)
        else:
            column, counted = _counter(item, following)
            line_split = counted or line_split
            if column is None and not (timed and is_cost(item.key.text)):
                if word := _metric_word(item):
                    head_word, head_at = word, len(columns)
                whole = parts[2 * item.slot + 1].strip(" +-").isdigit()
                column = _metric(item, line_split, before, head_word, names, whole=whole, bar=bar)
                if column is not None:
                    before = parse(column.key).split or before
        if column is None:
            continue
        columns.append(column)
        slots.append(item.slot)
        if column.total:
            slots.append(item.total)
        if column.average:
            slots.append(item.average)
        if column.role == "metric":
            names.add(column.name)
    _name_leads(columns)
    _name_terms(columns, head_word, head_at)
    _share_split(columns)
    if not any(c.role == "metric" for c in columns):
        line_split = line_split or split_in(line[begin:])
    if not line_split:
        contexts = [i.ctx for i in items if i.ctx]
        line_split = contexts[0] if contexts else ""
    return columns, slots, line_split


def _counter(item: Item, following: Item | None) -> tuple[Column | None, str]:
    """The counter column of a keyed number, and the split that its key names (``Train Epoch: 1``)."""
    assert item.key is not None
    text = re.sub(r"\s*\([^)]*\)", "", item.key.text)
    found = counter(text)
    split = split_in(item.key.text)
    if found is None:
        if pure_split(text) and item.total >= 0 and item.key.bracket:  # "Test: [10/48]"
            return Column("pos", "", order=3, total=True), pure_split(text)
        if pure_split(text) and following is not None and following.key is None and following.opener.endswith("["):
            return Column("epoch", item.key.text, total=item.total >= 0), pure_split(text)
        return None, ""
    role, order = found
    plural = text.lower().endswith(PLURALS) and not text.lower().endswith("timesteps")
    plural_setting = plural and item.total < 0 and following is None
    if plural_setting or item.unit not in ("", "k", "K", "M"):
        return None, ""
    return Column(role, item.key.text, order=order, total=item.total >= 0), split or item.key.split


def _unkeyed(n: int, item: Item, items: list[Item], line: str, parts: list[str], begin: int) -> Column | None:
    """A number without a key: a position ``[50/1000]``, or the one that opens the line (``[10]``, ``10:``)."""
    if item.unit or item.noise:
        return None
    after = parts[2 * item.slot + 2].lstrip()
    if item.total >= 0:
        return Column("pos", "", order=3, total=True)
    first = n == 0 and not line[begin:].lstrip()[: len(item.opener)].strip("[(#| ")
    if first and len(item.opener) <= 1 and after[:1] in ("]", ")", ":", "|", ",", "-", "\t", "/"):
        return Column("lead", after[:1], order=4)
    if n > 0 and "[" in item.opener.replace(" ", "")[-2:] and after.startswith("]") and len(item.opener) <= 4:
        return Column("pos", "", order=3)
    if n == 1 and item.opener == "," and after.startswith("]") and items[0].key is None:
        return Column("pos", "", order=3)
    return None


def _name_terms(columns: list[Column], head_word: str, head_at: int) -> None:
    """``Loss => total: 1.5, g: 0.5``: what stands under a heading is of its kind."""
    if not head_word or any("loss" in c.name.lower() for c in columns):
        return
    for i, c in enumerate(columns):
        if i >= head_at and c.role == "metric" and kind_of(c.name) in ("other", "loss"):
            columns[i] = replace(c, name=f"{head_word}/{c.name}")


def _share_split(columns: list[Column]) -> None:
    """``val Loss: 0.6 Acc: 0.8``: where one split is named, it holds for the line's other metrics."""
    metrics = [c for c in columns if c.role == "metric"]
    own = {parse(c.key).split for c in metrics} - {""}
    if own not in ({"val"}, {"test"}) or not parse(metrics[0].key).split:
        return
    (split,) = own
    taken = {parse(c.key).bare for c in metrics if parse(c.key).split}
    for i, c in enumerate(columns):
        if c.role == "metric" and not c.split and parse(c.key).bare not in taken:
            columns[i] = replace(c, name=f"{split}/{c.name}", split=split)


def _name_leads(columns: list[Column]) -> None:
    """Settle numbers that open a line: ``[1, 2000]`` is epoch and position, ``3: step 10`` is a rank and a step."""
    leads = [i for i, c in enumerate(columns) if c.role == "lead"]
    pairs = [i for i, c in enumerate(columns) if c.role == "pos"]
    has_epoch = any(c.role == "epoch" for c in columns)
    has_step = any(c.role == "step" for c in columns)
    if leads:
        lead = columns[leads[0]]
        if pairs and not has_epoch:
            columns[leads[0]] = Column("epoch", "", total=lead.total)
        elif has_step or has_epoch:
            columns[leads[0]] = Column("rank", "rank") if lead.key == ":" else Column("lead", "", order=6)
        elif not any(c.role == "metric" for c in columns):
            del columns[:]
    elif len(pairs) >= 2 and not has_epoch and not has_step:
        first = columns[pairs[0]]
        columns[pairs[0]] = Column("epoch", "", total=first.total)


def _metric_word(item: Item) -> str:
    """A loss or accuracy named before the key without a number of its own: ``Loss - train: 0.5``."""
    assert item.key is not None
    head = item.head[: item.head.rfind(item.key.text)] if item.key.text in item.head else ""
    words: list[str] = re.findall(r"[A-Za-z_]+", head)
    for word in reversed(words):
        if kind_of(word) in KNOWN_KINDS:
            return word
    return ""


def _metric(
    item: Item, line_split: str, before: str, head_word: str, names: set[str], *, whole: bool, bar: bool
) -> Column | None:
    assert item.key is not None
    key = item.key.text
    own = pure_split(key)
    name = key
    if key == "best" and before in ("val", "test"):  # CatBoost: it tells which way the metric is to go
        return Column("best", key)
    if own:
        if (item.unit and item.unit != "%") or whole or bar:
            return None
        name = f"{key}/{head_word or 'loss'}"
    kind = kind_of(name)
    if setting(key):
        kind = "setting"
    if kind in ("not", "clock", "epoch"):
        return None
    if item.unit and item.unit != "%" and (kind not in KNOWN_KINDS or is_cost(key)):  # "cost: 12.3 s" is a time
        return None
    if upside_down := is_maximised_objective(key):
        name = f"-{key}"
    split = parse(name).split
    if not split:
        split = item.ctx or line_split
        if split in ("val", "test"):
            name = f"{split}/{name}"
    if name in names:
        name = f"{before}/{key}" if before in ("val", "test") else f"{key}#2"
        split = before
        if name in names:
            return None
    fraction = item.total >= 0 and kind in ("accuracy", "score")
    average = item.average >= 0 and not fraction
    return Column("metric", key, name, split, total=fraction, average=average, negated=upside_down)
