"""Scenes: what a film or a page is given of descents and runs."""

from __future__ import annotations

import numpy as np
import pytest

from lossdoctor import lab
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.render.lab.scene import MOST, descent_scene, run_scene, scene_of, wide
from tests.render.lab.samples import experiment


def test_a_descent_keeps_every_step() -> None:
    run = lab.descend("himmelblau", "adam", lr=0.1, starts=[[1.0, 1.0], [-4.0, 2.0]], steps=50)
    made = descent_scene({"adam": run})
    assert made.steps == 50
    assert [t.label for t in made.tracks] == ["from (1, 1)", "from (-4, 2)"]
    np.testing.assert_array_equal(made.tracks[1].x, run.path[:, 1, 0])
    np.testing.assert_allclose(made.tracks[0].loss, run.values[:, 0])
    over, losses = made.panels()
    assert over.field is not None
    assert len(over.field.minima) == len(over.field.saddles) == 4
    assert losses.log_y


def test_on_a_curve_the_points_lie_on_it() -> None:
    run = lab.descend("blind_hiker", "sgd", lr=0.1, starts=[[0.0]], steps=20)
    made = descent_scene({"sgd": run})
    over, losses = made.panels()
    assert over.field is None
    assert over.lines[0].style == "dashed"
    np.testing.assert_allclose(over.lines[1].y, over.lines[1].x ** 2 - 4 * over.lines[1].x + 5)
    assert losses.y_label == "height"


def test_what_diverges_leaves_the_picture_and_does_not_hide_the_rest() -> None:
    rates = (0.1, 1.4)
    runs = {f"lr {r}": lab.descend("quadratic", "sgd", lr=r, starts=[[0.0]], steps=400) for r in rates}
    made = descent_scene(runs)
    well, ill = made.tracks
    assert np.isfinite(well.loss).all()
    assert np.nanmax(ill.loss) <= 9e4
    assert np.isnan(ill.x[-1])
    assert [t.label for t in made.tracks] == ["lr 0.1", "lr 1.4"]


def test_many_starts_go_together_by_where_they_end() -> None:
    run = lab.descend("himmelblau", "adam", lr=0.1, starts=100, steps=300)
    made = descent_scene({"adam": run})
    assert len(made.tracks) == MOST
    groups = {t.group for t in made.tracks}
    assert "to (3, 2)" in groups
    assert len(groups) <= 5
    assert made.note == f"{MOST} of 100 starts are drawn."
    named = [line.label for line in made.panels()[1].lines if line.label]
    assert sorted(named) == sorted(groups)


def test_one_scene_has_one_surface() -> None:
    runs = {n: lab.descend(n, "sgd", lr=0.01, starts=1, steps=3) for n in ("himmelblau", "rosenbrock")}
    with pytest.raises(UsageError, match="one surface"):
        descent_scene(runs)
    with pytest.raises(UsageError, match="no descent"):
        descent_scene({})


def test_more_than_two_coordinates_show_the_first_two() -> None:
    run = lab.descend(lambda x: (x**2).sum(dim=1), "sgd", lr=0.1, starts=[[1.0, 2.0, 3.0]], steps=5)
    made = descent_scene({"sgd": run})
    assert made.ground is not None
    assert made.ground.note == "The first two of 3 coordinates."
    np.testing.assert_array_equal(made.tracks[0].y, run.path[:, 0, 1])


def test_runs_without_a_path_show_their_losses() -> None:
    made = scene_of(experiment())
    assert made is not None
    assert made.ground is None
    assert [t.label for t in made.tracks] == ["well", "ill"]
    with pytest.raises(UsageError, match="no run has a loss"):
        run_scene({"empty": TrainingHistory()})


def test_the_axis_is_logarithmic_only_where_that_helps() -> None:
    assert wide([np.array([1.0, 1e-4]), np.array([0.0])])
    assert not wide([np.array([1.0, 0.5])])
    assert not wide([np.array([-1.0, 1e-4, 5.0])])
    assert not wide([np.array([np.nan, np.inf])])
