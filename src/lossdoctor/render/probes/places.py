"""Names beside a panel, placed so that they do not meet: pure geometry, for pictures and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tag:
    """A name that wants a place above the panel.

    Attributes:
        at: where it points to, in the unit of the widths.
        width: of its text.
        leader: whether a line goes down from it to the panel; a band's name has none and is centred.
    """

    at: float
    width: float
    leader: bool = True


@dataclass(frozen=True)
class Place:
    """Where a tag went: its left edge, and its lane, 0 next to the panel."""

    left: float
    lane: int


def lanes(tags: Sequence[Tag], room: float, gap: float = 4.0) -> list[Place]:
    """Give each tag a place in a lane so that no two names overlap; leaders run through none where it can be helped.

    Args:
        room: how far names may reach to the right; they stay inside it where they fit at all.
        gap: least distance between names, and between a leader and its name.

    >>> lanes([Tag(10, 50), Tag(20, 50)], 200)
    [Place(left=14.0, lane=1), Place(left=24.0, lane=0)]
    """
    # From the right, each name is above those that begin under it. Names that must stand left of their line go the
    # other way, and a mixture is tried both ways.
    flipped = [t.leader and t.at + gap + t.width > room for t in tags]
    orders: list[list[int]] = [
        sorted(range(len(tags)), key=lambda i: -tags[i].at),
        sorted(range(len(tags)), key=lambda i: (flipped[i], tags[i].at if flipped[i] else -tags[i].at)),
        sorted(range(len(tags)), key=lambda i: tags[i].at),
    ]
    tried = [_placed(tags, order, room, gap) for order in orders]
    return min(tried, key=lambda places: (_total(tags, places), max((p.lane for p in places), default=0)))


def _placed(tags: Sequence[Tag], order: Sequence[int], room: float, gap: float) -> list[Place]:
    places: dict[int, Place] = {}
    for i in order:
        left = _left(tags[i], room, gap)
        others = [(tags[k], place) for k, place in places.items()]
        free = [
            lane
            for lane in range(len(tags))
            if not any(
                p.lane == lane and left < p.left + t.width + gap and p.left < left + tags[i].width + gap
                for t, p in others
            )
        ]
        lane = min(free, key=lambda lane: (_crossings(tags[i], left, lane, others), lane))
        places[i] = Place(left, lane)
    return [places[i] for i in range(len(tags))]


def _total(tags: Sequence[Tag], places: Sequence[Place]) -> int:
    """How many leaders run through names."""
    pairs = list(zip(tags, places, strict=True))
    return sum(_crossings(t, p.left, p.lane, pairs[:i]) for i, (t, p) in enumerate(pairs))


def _left(tag: Tag, room: float, gap: float) -> float:
    wanted = tag.at + gap if tag.leader else tag.at - tag.width / 2
    if wanted + tag.width > room and tag.leader:
        wanted = tag.at - gap - tag.width  # on the other side of its line
    return float(max(0.0, min(wanted, room - tag.width)))


def _crossings(tag: Tag, left: float, lane: int, others: Sequence[tuple[Tag, Place]]) -> int:
    """How many leaders would run through names."""
    count = 0
    for other, place in others:
        count += tag.leader and place.lane < lane and place.left <= tag.at <= place.left + other.width
        count += other.leader and place.lane > lane and left <= other.at <= left + tag.width
    return count


def spread(wanted: Sequence[float], size: float, low: float, high: float) -> list[float]:
    """Places as near to the wanted ones as can be, at least ``size`` apart and inside the limits where all fit there.

    >>> spread([1.0, 1.0, 5.0], 2.0, 0.0, 10.0)
    [0.0, 2.0, 5.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    # Neighbours that are too close make a group, which stands around the mean of what its members want.
    groups: list[tuple[float, int]] = []  # (sum of the places wanted for the group's first member, members)
    for i in order:
        total, count = wanted[i], 1
        while groups and _first(*groups[-1], size, low, high) + groups[-1][1] * size > _first(
            total, count, size, low, high
        ):
            before, members = groups.pop()
            total, count = before + total - count * members * size, members + count
        groups.append((total, count))
    places = [0.0] * len(wanted)
    ranks = iter(order)
    for total, count in groups:
        first = _first(total, count, size, low, high)
        for k in range(count):
            places[next(ranks)] = first + k * size
    return places


def _first(total: float, count: int, size: float, low: float, high: float) -> float:
    """Where a group begins: around its mean, inside the limits (the lower one first, where not both can be kept)."""
    return max(low, min(total / count, high - (count - 1) * size))
