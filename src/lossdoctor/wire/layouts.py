"""The fast path: many events of one layout at once.

Events of the same length whose bytes agree everywhere but in their *holes* (wall time, step, values) say the same
thing with other numbers. Of each such layout one record is parsed by the general parser; the others are recognised by
comparing words of eight bytes, checked by their CRC, and read through the holes, all in NumPy. Nothing is known here of
any particular writer: holes come from the parser. What fits no layout is left to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.wire.crc import byte_table, crc32c, masked_array
from lossdoctor.wire.event import Event, parse_event
from lossdoctor.wire.framing import HEADER
from lossdoctor.wire.proto import WireError
from lossdoctor.wire.tensor import Hole, decode_rows, unaligned

LEAST_ROWS = 8  # fewer records of one length are quicker one by one
LONGEST = 1 << 16  # longer records are rare; a row with the norms of 500 layers has 20,000 bytes
_ROUNDS = 16
_PEELS = 6
_CACHE = 8192

Rows = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the holes of a record of ``length`` bytes lie; ``mask`` has ones where its bytes must agree."""

    length: int
    holes: tuple[Hole, ...]
    mask: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A shape with its constant bytes: everything that can be told without looking at the numbers.

    Attributes:
        skeleton: the masked words that every record of the layout has.
        crc: CRC of the record with its holes zeroed.
        holed: positions of all bytes in holes.
        tags, plugins: of each value.
    """

    skeleton: tuple[int, ...]
    crc: int
    holed: tuple[int, ...]
    wall: Hole | None
    step: Hole | None
    values: tuple[Hole, ...]
    tags: tuple[str, ...]
    plugins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a layout gave: record numbers int64[n], steps int64[n], times float64[n], one float64[n] per value."""

    layout: Layout
    rows: Rows
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: list[NDArray[np.float64]]


class LayoutReader:
    """Decodes groups of equally long records; remembers the layouts it has met."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[Shape, int], Layout | None] = {}

    def read(
        self, data: bytes, starts: NDArray[np.int64], rows: Rows, length: int
    ) -> tuple[list[Batch], list[Rows], Rows]:
        """Decode the records ``rows`` (indices into ``starts``) of content ``length``.

        Returns:
            batches, arrays of rows whose content fails its CRC, and the rows that fit no layout (unchecked).
        """
        batches: list[Batch] = []
        damaged: list[Rows] = []
        left: list[Rows] = []
        if not 8 <= length <= LONGEST:
            return batches, damaged, rows
        buffer = np.frombuffer(data, dtype=np.uint8)
        begins = starts[rows] + HEADER
        words = _words(buffer, begins, length)
        index: Rows = np.arange(len(rows), dtype=np.int64)
        for attempt in range(_ROUNDS):
            if len(index) < LEAST_ROWS:
                break
            pivot = attempt * 7919 % len(index)  # 0 first, then anywhere: the first few may be odd ones
            begin = int(begins[index[pivot]])
            shape = _shape_of(data[begin : begin + length])
            if shape is None:  # not plain: to the general parser, and try another
                left.append(rows[index[pivot : pivot + 1]])
                index = np.delete(index, pivot)
                continue
            index, done = self._round(data, words, begins, index, shape, pivot)
            for layout, members in done:
                good, bad = _check(buffer, words, begins, members, length, layout)
                if len(bad):
                    damaged.append(rows[bad])
                if len(good):
                    batches.append(_decode(buffer, begins[good], rows[good], layout))
        left.append(rows[index])
        return batches, damaged, np.concatenate(left)

    def _round(
        self, data: bytes, words: Words, begins: NDArray[np.int64], index: Rows, shape: Shape, pivot: int
    ) -> tuple[Rows, list[tuple[Layout, Rows]]]:
        """Sort the rows ``index`` into layouts of the pivot's shape.

        Returns the rows that have another shape, and (layout, its rows) for the others.
        """
        keys = _keys(words if len(index) == words.shape[1] else words[:, index], shape.mask)
        done: list[tuple[Layout, Rows]] = []
        others: list[Rows] = []
        pivot_key = int(keys[pivot])
        for key, members in _groups(keys, index):
            layout = None
            if len(members) > 1 or key == pivot_key:  # single ones mostly have another shape: not worth a parse
                layout = self._layout(data, int(begins[members[0]]), shape, key)
            if layout is None:
                others.append(members)
                continue
            same = np.ones(len(members), dtype=bool)
            for word, mask, skeleton in zip(words, shape.mask, layout.skeleton, strict=True):
                picked = word if len(members) == words.shape[1] else word[members]
                same &= (picked & np.uint64(mask)) == np.uint64(skeleton)
            if same.all():
                done.append((layout, members))
            else:  # two skeletons with one key: practically never, but never wrong either
                done.append((layout, members[same]))
                others.append(members[~same])
        rest = np.sort(np.concatenate(others)) if others else np.zeros(0, dtype=np.int64)
        return rest, done

    def _layout(self, data: bytes, begin: int, shape: Shape, key: int) -> Layout | None:
        known = (shape, key)
        if known not in self._layouts:
            if len(self._layouts) >= _CACHE:
                self._layouts.clear()
            self._layouts[known] = _layout_of(data[begin : begin + shape.length], shape)
        return self._layouts[known]


def _words(buffer: NDArray[np.uint8], begins: NDArray[np.int64], length: int) -> Words:
    """uint64[w, n]: the contents in words of eight bytes; the last word overlaps when the length needs it."""
    source = unaligned(buffer, np.dtype("<u8"))
    offsets = _word_offsets(length)
    out = np.empty((len(offsets), len(begins)), dtype="<u8")
    for k, offset in enumerate(offsets):
        out[k] = source[begins + offset]
    return out


def _word_offsets(length: int) -> list[int]:
    offsets = list(range(0, length - 7, 8))
    return offsets if length % 8 == 0 else [*offsets, length - 8]


def _holes(event: Event) -> tuple[Hole, ...] | None:
    if not event.plain:
        return None
    holes = [h for h in (event.wall_hole, event.step_hole) if h is not None]
    return (*holes, *(v.hole for v in event.values if v.hole is not None))


def _parse(content: bytes) -> Event | None:
    try:
        return parse_event(content)
    except WireError:
        return None


def _shape_of(content: bytes) -> Shape | None:
    event = _parse(content)
    holes = None if event is None else _holes(event)
    if holes is None:
        return None
    mask = bytearray(b"\xff" * len(content))
    for hole in holes:
        # of a varint the upper bits say how long it is: they belong to the skeleton
        mask[hole.offset : hole.offset + hole.width] = (b"\0" if hole.fixed else b"\x80") * hole.width
    return Shape(len(content), holes, _as_words(bytes(mask)))


def _as_words(content: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(content[o : o + 8], "little") for o in _word_offsets(len(content)))


def _layout_of(content: bytes, shape: Shape) -> Layout | None:
    event = _parse(content)
    if event is None or _holes(event) != shape.holes:
        return None
    holed = tuple(sorted(p for h in shape.holes for p in range(h.offset, h.offset + h.width)))
    zeroed = bytearray(content)
    for position in holed:
        zeroed[position] = 0
    return Layout(
        skeleton=tuple(w & m for w, m in zip(_as_words(content), shape.mask, strict=True)),
        crc=crc32c(bytes(zeroed)),
        holed=holed,
        wall=event.wall_hole,
        step=event.step_hole,
        values=tuple(v.hole for v in event.values if v.hole is not None),
        tags=tuple(v.tag for v in event.values),
        plugins=tuple(v.plugin for v in event.values),
    )


def _keys(words: Words, mask: tuple[int, ...]) -> Words:
    """One uint64 per row from its masked words (multiply and add with odd constants; collisions are caught later)."""
    keys = np.zeros(words.shape[1], dtype=np.uint64)
    factor = 0x9E3779B97F4A7C15
    for word, m in zip(words, mask, strict=True):
        factor = (factor * 0xD1342543DE82EF95 + 2) & 0xFFFFFFFFFFFFFFFF
        keys ^= keys >> np.uint64(29)
        keys += (word & np.uint64(m)) * np.uint64(factor | 1)
    return keys


def _groups(keys: Words, index: Rows) -> list[tuple[int, Rows]]:
    """Rows with equal keys. The first few groups are peeled off, which is cheap; many are sorted."""
    out: list[tuple[int, Rows]] = []
    for _ in range(_PEELS):
        if len(index) == 0:
            return out
        same = keys == keys[0]
        out.append((int(keys[0]), index[same]))
        if len(out[-1][1]) == len(index):
            return out
        keys, index = keys[~same], index[~same]
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    for members in np.split(order, cuts):
        if len(members):
            out.append((int(keys[members[0]]), index[members]))
    return out


def _check(
    buffer: NDArray[np.uint8], words: Words, begins: NDArray[np.int64], members: Rows, length: int, layout: Layout
) -> tuple[Rows, Rows]:
    """Split rows into those whose content has its CRC and those that fail."""
    stored = unaligned(buffer, np.dtype("<u4"))[begins[members] + length]
    crc = np.full(len(members), layout.crc, dtype=np.uint32)
    octets = words.view(np.uint8).reshape(words.shape[0], words.shape[1], 8)
    whole = len(members) == words.shape[1]
    for position in layout.holed:
        k, j = (position // 8, position % 8) if position < length // 8 * 8 else (-1, position - (length - 8))
        column = octets[k, :, j] if whole else octets[k, members, j]
        crc ^= byte_table(length - 1 - position).take(column)
    good = masked_array(crc) == stored
    if good.all():
        return members, members[:0]
    return members[good], members[~good]


def _decode(buffer: NDArray[np.uint8], begins: NDArray[np.int64], rows: Rows, layout: Layout) -> Batch:
    def numbers(hole: Hole | None, dtype: Any) -> NDArray[Any]:
        if hole is None:
            return np.zeros(len(rows), dtype=dtype)
        return np.asarray(decode_rows(buffer, begins, hole), dtype=dtype)

    return Batch(
        layout,
        rows,
        numbers(layout.step, np.int64),
        numbers(layout.wall, np.float64),
        [numbers(h, np.float64) for h in layout.values],
    )
