"""wandb-summary.json: recognised, but there is no curve in it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError
from lossdoctor.readers.base import Source
from lossdoctor.readers.wandb_summary import WandbSummaryReader

REAL = Path(__file__).parents[1] / "data" / "real" / "wandb_summary" / "37" / "wandb-summary.json"
READER = WandbSummaryReader()


def source(data: bytes, name: str = "wandb-summary.json") -> Source:
    return Source(name, name, data=data)


def test_the_real_file() -> None:
    assert READER.sniff(Source.from_path(REAL)) == 95
    (history,) = READER.read(Source.from_path(REAL))
    assert history.curves == {}
    assert history.format == "wandb-summary"
    assert history.notes == [
        "W&B summary: last values only at step 0, so no curve to judge (System/Peak GPU Memory (MB) 9420.41)"
    ]


def test_many_values_and_nan() -> None:
    text = b'{"_step": 1200, "a": 1, "b": NaN, "c": 3.5, "d": "x", "e": true, "f": 5, "g": 6, "h": 7, "_runtime": 3}'
    (history,) = READER.read(source(text))
    assert history.notes == [
        "W&B summary: last values only at step 1,200, so no curve to judge (a 1, b nan, c 3.5, f 5, g 6 and 1 more)"
    ]


def test_empty_summary() -> None:
    (history,) = READER.read(source(b"{}"))
    assert history.notes == ["W&B summary: last values only, so no curve to judge (no metric in it)"]


@pytest.mark.parametrize(
    ("data", "name", "sure"),
    [
        (b'{"loss": 1, "_runtime": 3, "_wandb": {"runtime": 3}}', "summary.json", 80),
        (b'{"loss": 1, "_runtime": 3, "_step": 2}\n{"loss": 2}\n', "history.jsonl", 0),
        (b'{"loss": [1, 2]}', "history.json", 0),
        (b"[1, 2]", "wandb-summary.json", 0),
        (b"", "wandb-summary.json", 0),
    ],
)
def test_sniffing(data: bytes, name: str, sure: int) -> None:
    assert READER.sniff(source(data, name)) == sure


def test_broken_json_names_the_line() -> None:
    with pytest.raises(BrokenFileError) as caught:
        READER.read(source(b'{"loss": 1,\n "b": }'))
    assert caught.value.where == "line 2"
    with pytest.raises(NotRecognizedError):
        READER.read(source(b"[1]"))


@settings(deadline=None)
@given(st.integers(0, 200), st.binary(max_size=30), st.integers(0, 30))
def test_mutations_raise_only_our_errors(at: int, chunk: bytes, cut: int) -> None:
    raw = REAL.read_bytes()
    mutated = source(raw[:at] + chunk + raw[at + cut :])
    READER.sniff(mutated)
    with contextlib.suppress(ReadError):
        READER.read(mutated)


def test_deep_nesting_is_an_error_of_ours() -> None:
    with pytest.raises(ReadError):
        READER.read(source(b'{"a":' * 100_000))
