"""W&B's log framing: blocks, split records, padding, damage."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.wire.leveldb import BLOCK, MAGIC, WandbLog, fragment

HEAD = MAGIC + b"\0"


def written(records: list[bytes]) -> bytes:
    """The file that LevelDB's log writer would write."""
    out = bytearray(HEAD)
    for record in records:
        begun = False
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += bytes(left)
                left = BLOCK
            part, record = record[: left - 7], record[left - 7 :]
            kind = (3 if begun else 2) if record else (4 if begun else 1)
            out += fragment(kind, part)
            begun = True
            if not record:
                break
    return bytes(out)


def read(data: bytes, piece: int = 1 << 30) -> tuple[list[bytes], WandbLog]:
    log = WandbLog()
    records = [r for i in range(0, len(data), piece) for r in log.feed(data[i : i + piece])]
    return records, log


sizes = st.lists(st.one_of(st.integers(0, 100), st.integers(BLOCK - 40, BLOCK + 40), st.just(100_000)), max_size=8)


@settings(deadline=None, max_examples=60)
@given(sizes, st.sampled_from([1000, 7, 32768, 1 << 30]))
def test_round_trip(lengths: list[int], piece: int) -> None:
    records = [bytes([65 + i]) * n for i, n in enumerate(lengths)]
    found, log = read(written(records), max(piece, 500))
    assert found == records
    assert log.damage == []
    assert log.cut_off is None


@settings(deadline=None, max_examples=60)
@given(sizes, st.floats(0, 1))
def test_a_cut_gives_the_records_before_it(lengths: list[int], where: float) -> None:
    records = [bytes([65 + i]) * n for i, n in enumerate(lengths)]
    data = written(records)
    cut = int(where * len(data))
    found, log = read(data[:cut])
    assert found == records[: len(found)]
    assert log.damage == []
    if cut == len(data):
        assert len(found) == len(records)


def test_a_damaged_block_is_left_out_and_the_next_is_read() -> None:
    records = [bytes([65 + i % 26]) * 1000 for i in range(100)]
    data = bytearray(written(records))
    data[BLOCK + 500] ^= 1
    found, log = read(bytes(data))
    assert 60 < len(found) < 100
    assert found[:32] == records[:32]
    assert found[-30:] == records[-30:]
    assert log.damaged >= 1
    assert log.damage[0].reason == "checksum"


def test_zeros_to_the_end_are_padding() -> None:
    found, log = read(written([b"abc"]) + bytes(3 * BLOCK))
    assert found == [b"abc"]
    assert log.damage == []
    assert log.cut_off is None


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_rubbish_never_raises(data: st.DataObject) -> None:
    raw = bytearray(written([b"a" * 300] * 5))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(raw)))
        chunk = data.draw(st.binary(max_size=40))
        raw[at : at + data.draw(st.integers(0, 40))] = chunk
    found, _ = read(HEAD + bytes(raw[len(HEAD) :]), data.draw(st.integers(10, 5000)))
    assert len(found) <= len(raw)
