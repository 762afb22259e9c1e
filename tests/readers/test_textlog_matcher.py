"""The fast way through lines of one kind gives what the slow way gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lossdoctor.readers.text.scan as module
from lossdoctor.readers.text.lines import _clean
from lossdoctor.readers.text.matcher import matcher_of
from lossdoctor.readers.text.scan import HOT, Scan
from lossdoctor.readers.text.shapes import split

DATA = Path(__file__).parents[1] / "data"
LOGS = [p for folder in ("text", "text_tools") for p in sorted((DATA / folder).glob("*.log"))]

NUMBERS = st.one_of(
    st.integers(-10, 2_000_000).map(str),
    st.integers(1000, 2_000_000).map("{:,}".format),
    st.floats(-1e6, 1e6, allow_nan=False).map(repr),
    st.floats(0, 1e-3).map("{:.3e}".format),
    st.sampled_from(
        ["nan", "NaN", "-inf", "Infinity", ".5", "5.", "+3", "007", "1e5", "1,2345", "12:30", "3/4", "-", "1_0"]
    ),
)
TEXTS = st.sampled_from(
    [
        "",
        " ",
        "  ",
        ",",
        ", ",
        ": ",
        "=",
        " loss ",
        "step",
        "e",
        ".",
        "/",
        "[",
        "](",
        "-",
        "nan",
        "x",
        "%",
        "ms",
        "@",
        " lr:",
    ]
)


def contents(scan: Scan) -> object:
    return (
        {layout: (rows.order.tobytes(), rows.values.tobytes()) for layout, rows in scan.rows.items()},
        (scan.sections, scan.events, scan.echoes, list(scan.fillers), scan.lines),
        (scan.numbers_only.tobytes(), scan.numbered.tobytes()),
    )


def scanned(lines: list[str], monkeypatch: pytest.MonkeyPatch, hot: int) -> object:
    monkeypatch.setattr(module, "HOT", hot)
    scan = Scan()
    for start in range(0, len(lines), 50):
        scan.feed(start + 1, lines[start : start + 50])
    return contents(scan)


@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.stem)
def test_every_sample_is_read_alike(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _clean(path.read_text(encoding="utf-8"))
    assert scanned(lines, monkeypatch, 1) == scanned(lines, monkeypatch, 10**9)


SHORT = st.sampled_from(["5", "0.3", "1", "234", "1,234", "1e5", "-2", ".5", "nan", "12.5", "07"])
JOINTS = st.sampled_from([",", ", ", ".", "e", "e-", " ", ":", "-", "[", "/", "%", " x ", "=", "]"])


def lines_alike(texts: st.SearchStrategy[str], numbers: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    """Two lines of the same texts with different numbers."""
    rows = st.lists(st.tuples(texts, numbers, numbers), min_size=1, max_size=4)
    return st.tuples(rows, texts).map(
        lambda made: ("".join(t + a for t, a, _ in made[0]) + made[1], "".join(t + b for t, _, b in made[0]) + made[1])
    )


@settings(max_examples=300, deadline=None)
@given(st.one_of(lines_alike(JOINTS, SHORT), lines_alike(TEXTS, NUMBERS)), st.booleans())
@example(("5,0.3", "1,234"), False)
def test_a_matcher_takes_only_what_is_cut_alike(pair: tuple[str, str], every: bool) -> None:
    """Of a line with other numbers: it is refused, or cut by the matcher as in general."""
    line, other = (" ".join(text.split("  ")) for text in pair)
    parts, cut = split(line), split(other)
    match = matcher_of(parts, range(1, len(parts), 2), every=every)
    found = match(other) if match is not None else None
    if found is not None:
        assert cut[::2] == parts[::2]
        assert list(found.groups()) == cut[1::2]


def test_a_matcher_takes_other_numbers_and_more_blanks() -> None:
    parts = split("step 1/9 | loss: 0.5 tok/s 1,234")
    match = matcher_of(parts, (1, 5))
    assert match is not None
    found = match("step  20/9 |  loss: -1.5e-3 tok/s 56,789")
    assert found is not None
    assert found.groups() == ("20", "-1.5e-3")
    assert match("step 20/9 | loss: nan tok/s 5") is None
    every = matcher_of(parts, (1, 5), every=True)
    assert every is not None
    assert every("step 20/9 | loss: nan tok/s inf") is not None


def test_mixed_kinds_in_any_order_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    kinds = [
        lambda i: f"step {i} loss {rng.random():.4f} tokens {i * 977:,}",
        lambda i: f"2024-05-01 10:{i % 60:02d}:07 INFO step   {i} | lr {rng.random() * 1e-5:.2e}",
        lambda _: f"val loss: {rng.choice(['nan', '0.5', 'inf', '1e-3'])}",
        lambda i: f"loaded shard {i} in {rng.random():.1f} s",
        lambda _: "saving checkpoint",
        lambda i: f"\r{i}%|##  | {i}/900 [00:0{i % 10}<00:10, 4.9it/s, loss={rng.random():.3f}]",
    ]
    lines = [rng.choice(kinds)(i) for i in range(900)]
    assert scanned(lines, monkeypatch, 3) == scanned(lines, monkeypatch, 10**9)


def test_events_keep_their_line_numbers() -> None:
    scan = Scan()
    scan.feed(1, ["step 1 loss 2.0"] * 30 + ["RuntimeError: CUDA out of memory."])
    scan.feed(32, ["a\rb", "c\rTraceback (most recent call last):"])
    assert [e["line"] for e in scan.events] == [31, 33]


def test_lines_of_one_kind_are_seldom_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(module, "split", lambda line: taken.append(line) or split(line))
    lines = [f"step {i} | loss {1 / (i + 1):.4f} | tokens {i * 977:,}" for i in range(1000)]
    Scan().feed(1, [x for pair in zip(lines, ["tick"] * 1000, strict=True) for x in pair])
    assert len(taken) <= 10 * HOT
