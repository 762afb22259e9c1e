"""Mutated real logs and random text: only our own errors, and soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import ReadError
from lossdoctor.readers.base import Source
from lossdoctor.readers.textlog import TextLogReader

ROOT = Path(__file__).parents[1] / "data"
FILES = sorted([*(ROOT / "text").glob("*.log"), *(ROOT / "text_tools").glob("*.log")])
HEADS = [path.read_bytes()[:6_000] for path in FILES]
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

words = st.sampled_from(
    [
        *"loss step epoch val Test: Epoch [ ] ( ) { } | : = / 100%| - nan inf".split(),
        *"1 2.5 1e9 -3 1,234 99999999999999999999".split(),
        *(
            "1e400",
            "\t",
            "\r",
            "\x08",
            "\x1b[0m",
            "  ",
            "10/100",
            "[3][4/5]",
            "it/s",
            "lr",
            "'loss':",
            '"step":',
            "acc",
        ),
        *("----  ----", "rank0", "0:10:00", "2024-01-01 10:00:00", "->", "Epoch 1/3", "| loss | 0.1 |", "Validation:"),
        *("epoch  train_loss  val_loss", "loss at step", "1/2 [==>..] - loss: 2", "tensor(", "8 - loss"),
    ]
)
texts = st.lists(st.lists(words, max_size=12).map(" ".join), max_size=30).map("\n".join)


def survives(data: bytes) -> None:
    if data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        data = b" " + data  # compressed streams have tests of their own
    reader = TextLogReader()
    source = Source("fuzz.log", "fuzz.log", data=data)
    began = time.perf_counter()
    assert 0 <= reader.sniff(source) <= 100
    try:
        histories = reader.read(source)
    except ReadError:
        pass
    else:
        for history in histories:
            assert history.curves
            assert all(len(c) > 0 and len(c.steps) == len(c.values) for c in history.curves.values())
            assert history.roles is not None
    assert time.perf_counter() - began < 10


@QUICK
@given(texts)
def test_words_of_logs(text: str) -> None:
    survives(text.encode())


@QUICK
@given(st.integers(0, len(HEADS) - 1), st.data())
def test_mutated_logs(index: int, data: st.DataObject) -> None:
    raw = bytearray(HEADS[index])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        kind = data.draw(st.integers(0, 3))
        if kind == 0:
            raw[at : at + data.draw(st.integers(0, 200))] = b""
        elif kind == 1:
            raw[at:at] = data.draw(st.binary(max_size=20))
        elif kind == 2:
            raw[at:at] = data.draw(texts).encode()[:300]
        else:
            raw[at:at] = raw[: data.draw(st.integers(0, 400))]
    survives(bytes(raw))


@QUICK
@given(st.binary(max_size=2_000))
def test_random_bytes(data: bytes) -> None:
    survives(data)


@QUICK
@given(st.text(max_size=800))
def test_random_text(text: str) -> None:
    survives(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("index", range(0, len(HEADS), 7))
def test_every_cut_of_a_log(index: int) -> None:
    """A log cut anywhere is read up to the cut or refused, never half understood with an exception."""
    head = HEADS[index]
    for end in range(0, len(head), max(1, len(head) // 25)):
        survives(head[:end])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, len(HEADS) - 1))
def test_concatenated_logs(index: int) -> None:
    survives(HEADS[index] + b"\n" + HEADS[-1 - index] + b"\n" + HEADS[index])
