"""Mutated real logs through the public door: no exception but our own, no hang, no bad history, bounded memory.

Every file under ``tests/data`` is material. The mutations are drawn by Hypothesis, so that a failure shrinks to the
smallest damage that shows it; the slow variant draws many more.
"""

from __future__ import annotations

import gzip
import os
import resource
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import ReadError
from lossdoctor.readers import Scan, scan
from lossdoctor.readers.registry import registry

DATA = Path(__file__).parents[1] / "data"
LARGEST = 60_000  # bytes of a sample that are used: damage needs no more to be found, and many small runs find more
PATIENCE = 10.0  # seconds for one damaged file, on a busy machine
SPECIALS = (
    *(b"\0", b"\xff\xfe", b"\r", b"\r\n", b"\n", b"\n\n\n", b"\x1b[31m", b"\xc3\x28", b"\xef\xbb\xbf"),
    *(b"nan", b"NaN", b"-inf", b"1e999", b"-0", b"9" * 400, b"0x1F", b"1_000", b"1,234,567", b"1e-400", b"\xd9\xa3"),
    *(
        b'"',
        b"'",
        b"{",
        b"}",
        b"[" * 2000,
        b"]",
        b",",
        b"," * 300,
        b"\t",
        b";",
        b":",
        b"|",
        b"=",
        b"\\",
        b"null",
        b"true",
    ),
    *(b'{"loss": ', b"loss", b"step", b"epoch 1", b"Traceback (most recent call last):", b"100%|####|", b"\xff" * 64),
    (2**63).to_bytes(8, "little"),
)


@lru_cache
def samples() -> tuple[Path, ...]:
    files = [p for p in sorted(DATA.rglob("*")) if p.is_file() and p.suffix not in (".py", ".md", ".yaml")]
    assert len(files) > 30, "the logs that the readers are held to are gone"
    return tuple(files)


@lru_cache(maxsize=256)
def content(path: Path) -> bytes:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)[:LARGEST]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A real log with one to four things done to it, under its own name or another."""
    path = draw(st.sampled_from(samples()))
    data = bytearray(content(path))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.sampled_from((1, 2, 4, 8, 40, 700, 5000)))
        match draw(
            st.sampled_from(("cut", "flip", "drop", "repeat", "insert", "replace", "swap", "other", "zero", "head"))
        ):
            case "cut":
                del data[at:]
            case "head":
                del data[:at]
            case "flip":
                for i in range(at, min(at + size, len(data))):
                    data[i] ^= draw(st.integers(1, 255))
                    if i > at + 7:
                        break
            case "drop":
                del data[at : at + size]
            case "repeat":
                data[at:at] = data[at : at + size] * draw(st.integers(1, 5))
            case "insert":
                data[at:at] = draw(st.sampled_from(SPECIALS))
            case "replace":
                special = draw(st.sampled_from(SPECIALS))
                data[at : at + len(special)] = special
            case "swap":
                data[at : at + 2 * size] = data[at + size : at + 2 * size] + data[at : at + size]
            case "other":
                data[at:at] = content(draw(st.sampled_from(samples())))[: draw(st.sampled_from((100, 5000, LARGEST)))]
            case "zero":
                data[at : at + size] = bytes(min(size, max(len(data) - at, 0)))
    name = draw(
        st.sampled_from((path.name, "log.csv", "metrics.json", "x.jsonl", "train.log", "r.parquet", "e.tfevents.1"))
    )
    packed = draw(st.sampled_from((None, None, None, "whole", "broken")))
    if packed:
        data = bytearray(gzip.compress(bytes(data), 1))
        if packed == "broken" and len(data) > 20:
            data[draw(st.integers(10, len(data) - 1))] ^= draw(st.integers(1, 255))
            data = data[: draw(st.integers(10, len(data)))]
    return name, bytes(data)


def hold(result: Scan) -> None:
    """What must be so of everything that was read, whatever was read."""
    for error in result.errors:
        assert isinstance(error, ReadError)
        assert "this is a fault of the reader" not in str(error), str(error)
        assert "ran out of memory" not in str(error), str(error)
    for history in result.histories:
        assert history.path
        assert history.name
        assert history.format in registry().names
        assert all(isinstance(note, str) for note in history.notes)
        for name, curve in history.curves.items():
            assert isinstance(name, str)
            assert curve.steps.dtype == np.int64
            assert curve.values.dtype == np.float64
            assert curve.steps.shape == curve.values.shape
            assert curve.times is None or curve.times.shape == curve.steps.shape
        assert history.roles is not None
        assert history.segments is not None
    paths = [h.path for h in result.histories]
    assert len(paths) == len(set(paths))


def through_the_door(files: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for k, (name, data) in enumerate(files):
            place = Path(folder, *(("run", str(k % 2)) if k else ()))
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        begin = time.perf_counter()
        hold(scan([os.path.join(folder, files[0][0])]))
        if len(files) > 1:
            hold(scan([folder]))
        assert time.perf_counter() - begin < PATIENCE * len(files)


FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
LONG = settings(FAST, max_examples=6000)


@FAST
@given(damaged())
def test_a_damaged_log_is_read_or_refused(file: tuple[str, bytes]) -> None:
    through_the_door([file])


@settings(FAST, max_examples=30)
@given(st.lists(damaged(), min_size=2, max_size=4))
def test_a_folder_of_damaged_logs_is_read_or_refused(files: list[tuple[str, bytes]]) -> None:
    through_the_door(files)


@pytest.mark.slow
@LONG
@given(damaged())
def test_a_damaged_log_is_read_or_refused_at_length(file: tuple[str, bytes]) -> None:
    through_the_door([file])


@pytest.mark.slow
@settings(LONG, max_examples=1500)
@given(st.lists(damaged(), min_size=2, max_size=5))
def test_a_folder_of_damaged_logs_is_read_or_refused_at_length(files: list[tuple[str, bytes]]) -> None:
    through_the_door(files)


@settings(FAST, max_examples=60)
@given(st.binary(max_size=2000), st.sampled_from(("x", "x.csv", "x.json", "x.jsonl", "x.log", "x.wandb", "x.parquet")))
def test_random_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    through_the_door([(name, data)])


def test_every_sample_is_read_as_it_is() -> None:
    hold(scan([DATA]))


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"step,loss\n" + b"1," * 500_000,
        b"loss " * 200_000,
        b'"' + b"x" * 1_000_000,
        b"\n" * 1_000_000,
        b"1,2,3\n" * 100_000,
        b"\0" * 1_000_000,
        gzip.compress(b"0" * 50_000_000),
    ],
    ids=["brackets", "objects", "wide row", "one line", "open quote", "newlines", "no header", "zeros", "gzip bomb"],
)
def test_bulk_of_one_kind_neither_hangs_nor_fills_memory(data: bytes, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "log").write_bytes(data)
    begin = time.perf_counter()
    hold(scan([tmp_path / "log"]))
    assert time.perf_counter() - begin < PATIENCE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # KiB
