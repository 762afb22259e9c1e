"""Maps of basins: every point ends where its own descent ends."""

from __future__ import annotations

import numpy as np
import pytest

import lossdoctor.lab.basins as module
from lossdoctor.core.errors import UsageError
from lossdoctor.lab import basin_map, descend


def test_a_map_is_the_descents_of_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 50)  # several chunks
    found = basin_map("himmelblau", "sgd", lr=0.01, steps=400, resolution=(12, 9))
    assert found.basins.shape == found.steps.shape == (9, 12)
    mesh = np.stack(np.meshgrid(found.x, found.y), axis=-1).reshape(-1, 2)
    runs = descend("himmelblau", "sgd", lr=0.01, starts=mesh, steps=400)
    want = [-1 if (m := runs.minimum(i)) is None else m for i in range(runs.n)]
    assert found.basins.ravel().tolist() == want
    assert set(want) >= {0, 1, 2, 3}
    away = np.linalg.norm(runs.path[:, :, None] - found.minima, axis=3) > 1e-3 * 12.0
    for i, basin in enumerate(want):
        if basin >= 0:
            last_away = np.flatnonzero(away[:, i, basin])
            assert found.steps.ravel()[i] == (last_away[-1] + 1 if len(last_away) else 0)
    np.testing.assert_allclose(found.shares, [np.mean(found.basins == k) for k in range(4)])


def test_what_does_not_arrive_belongs_to_no_basin() -> None:
    found = basin_map("himmelblau", "sgd", lr=0.05, steps=200, resolution=10)
    assert (found.basins == -1).mean() > 0.5, "beyond the critical rate nothing stays"
    assert ((found.steps == -1) == (found.basins == -1)).all()
    assert (basin_map("saddle", "sgd", lr=0.05, steps=50, resolution=4).basins == -1).all()


def test_progress_ends_at_the_whole_even_where_all_stand_still_early() -> None:
    told: list[tuple[int, int]] = []
    basin_map("himmelblau", "sgd", lr=0.01, steps=5000, resolution=8, progress=lambda *at: told.append(at))
    assert told[-1] == (64 * 5000, 64 * 5000)
    assert told == sorted(told)
    assert len(told) < 2000, "it stops when nothing moves any more"


def test_a_schedule_that_wakes_is_waited_for() -> None:
    """A rate that is nearly nothing for long must not pass for arrival."""
    found = basin_map("himmelblau", "sgd", lr=0.01, steps=400, resolution=6, schedule=lambda t: 0.0 if t < 60 else 1.0)
    assert (found.basins >= 0).all()
    assert found.steps[found.steps > 0].min() > 60


def test_a_function_whose_minima_are_not_known() -> None:
    found = basin_map(
        lambda x, y: (x**2 - 1.0) ** 2 + y**2,
        "sgd",
        lr=0.05,
        steps=300,
        resolution=10,
        surface_options={"domain": (-2.0, 2.0)},
    )
    assert sorted(found.minima[:, 0].round(6).tolist()) == [-1.0, 1.0]
    left = int(np.argmin(found.minima[:, 0]))
    assert (found.basins[:, found.x < 0.0] == left).all()
    assert (found.basins[:, found.x > 0.0] == 1 - left).all()


def test_a_map_as_a_plane_to_draw() -> None:
    field = basin_map("himmelblau", "momentum", lr=0.002, steps=200, resolution=6).field()
    assert field.levels == "category"
    assert len(field.categories) == 4
    assert field.values.shape == (6, 6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"surface": "quadratic"}, "needs two coordinates, surface 'quadratic' has 1"),
        ({"optimizer": "lbfgs"}, "too slow for a map"),
        ({"schedule": "plateau"}, "one start at a time"),
        ({"surface": "noisy_himmelblau"}, "a surface without noise"),
        ({"resolution": 1}, "2 points a side or more"),
        ({"steps": 0}, "1 or more"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_right(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        basin_map(**{"surface": "himmelblau", "resolution": 4, **options})  # type: ignore[arg-type]
