"""Names beside a panel never meet: by property, for any number of them."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.render.probes.places import Tag, lanes, spread

ROOM, GAP = 300.0, 4.0
TAGS = st.lists(
    st.builds(Tag, at=st.floats(0, ROOM), width=st.floats(1, ROOM), leader=st.booleans()), min_size=0, max_size=9
)


@given(TAGS)
def test_no_two_names_overlap_and_all_stay_inside(tags: list[Tag]) -> None:
    places = lanes(tags, ROOM, GAP)
    assert len(places) == len(tags)
    for tag, place in zip(tags, places, strict=True):
        assert 0 <= place.lane < len(tags)
        assert place.left >= 0
        assert place.left + tag.width <= ROOM + 1e-9
    for (a, p), (b, q) in combinations(zip(tags, places, strict=True), 2):
        if p.lane == q.lane:
            assert p.left + a.width + GAP <= q.left + 1e-9 or q.left + b.width + GAP <= p.left + 1e-9


@given(st.lists(st.floats(0, 150), min_size=1, max_size=8, unique=True), st.floats(5, 60))
def test_leaders_run_through_no_name_where_all_have_room_on_their_right(places: list[float], width: float) -> None:
    tags = [Tag(at, width) for at in places]
    found = lanes(tags, ROOM, GAP)
    for i, (tag, place) in enumerate(zip(tags, found, strict=True)):
        for k, (other, there) in enumerate(zip(tags, found, strict=True)):
            crossed = there.lane < place.lane and there.left < tag.at < there.left + other.width
            assert i == k or not crossed


def test_a_name_at_the_right_end_stands_left_of_its_line() -> None:
    (place,) = lanes([Tag(290, 50)], ROOM, GAP)
    assert place.left + 50 == 290 - GAP


def test_names_far_apart_share_the_lowest_lane() -> None:
    assert [p.lane for p in lanes([Tag(0, 40), Tag(100, 40), Tag(200, 40)], ROOM)] == [0, 0, 0]


def test_a_band_is_named_over_its_middle() -> None:
    (place,) = lanes([Tag(150, 60, leader=False)], ROOM)
    assert place.left == 120


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_spread_places_keep_their_distance_order_and_limits(wanted: list[float]) -> None:
    size = 10.0
    found = spread(wanted, size, 0.0, 100.0)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for a, b in pairwise(order):
        assert found[b] - found[a] >= size - 1e-6
    assert min(found) >= -1e-6
    assert max(found) <= 100 + 1e-6


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True))
def test_places_with_room_are_left_where_they_want_to_be(wanted: list[int]) -> None:
    given_ = [10.0 * w for w in wanted]
    assert spread(given_, 10.0, 0.0, 200.0) == pytest.approx(given_)


def test_two_that_want_one_place_stand_on_both_sides_of_it() -> None:
    assert spread([50.0, 50.0], 10.0, 0.0, 100.0) == [45.0, 55.0]
