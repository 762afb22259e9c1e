"""W&B's messages: the glance at the usual layout of an item and the general parser must agree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.wire.proto import bytes_field
from lossdoctor.wire.wandb import parse_json, read_item, record_kind

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=200)


@given(texts, st.lists(texts, max_size=3), st.binary(max_size=200), st.permutations([0, 1, 2]), st.binary(max_size=9))
def test_items(key: str, nested: list[str], value: bytes, order: list[int], around: bytes) -> None:
    parts = [
        bytes_field(1, key.encode()) if key else b"",
        b"".join(bytes_field(2, n.encode()) for n in nested),
        bytes_field(16, value),
    ]
    item = b"".join(parts[i] for i in order)
    data = around + item + around
    expected = ".".join(nested) if nested else key
    assert read_item(data, len(around), len(around) + len(item)) == (expected, value)


def test_json_texts() -> None:
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    assert str(parse_json(b"NaN")) == "nan"
    assert parse_json(b"{") is None
    assert parse_json(b"[" * 100_000) is None
    assert parse_json(b"1" * (2 << 20)) is None


def test_kinds_of_records() -> None:
    record = bytes_field(2, b"history")
    assert record_kind(record) == ("history", 2, 9)
    assert record_kind(bytes_field(77, b"x"))[0] == ""
