"""Surfaces: gradients against finite differences, critical points against a search that knows none of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.lab import surface
from lossdoctor.lab.critical import critical_points
from lossdoctor.lab.surfaces import SURFACES, Surface, from_function, listing, names

Array = NDArray[np.float64]
ALL = names()
KINDS = (("minima", "minimum"), ("saddles", "saddle"), ("maxima", "maximum"))


@pytest.mark.parametrize("name", ALL)
def test_gradient_and_hessian_against_finite_differences(name: str) -> None:
    one = surface(name)
    x = one.random_starts(40, seed=1)
    h = 1e-5
    for axis in range(one.dim):
        step = np.zeros(one.dim)
        step[axis] = h
        difference = one.shown(one(x + step) - one(x - step)) / (2 * h)
        scale = np.abs(one.gradient(x)).max() + 1.0
        np.testing.assert_allclose(one.gradient(x)[:, axis] / scale, difference / scale, atol=1e-7)
        curve = (one.gradient(x + step) - one.gradient(x - step)) / (2 * h)
        scale = np.abs(one.hessian(x)).max() + 1.0
        np.testing.assert_allclose(one.hessian(x)[:, axis] / scale, curve / scale, atol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_critical_points_are_exact_and_of_their_kind(name: str) -> None:
    one = surface(name)
    assert len(one.minima) + len(one.saddles) + len(one.maxima) > 0
    for attribute, kind in KINDS:
        points = getattr(one, attribute)
        if not len(points):
            continue
        assert one.inside(points).all()
        # To the rounding of the coordinates themselves: a gradient of curvature times one unit in the last place.
        slack = 8 * np.finfo(float).eps * np.abs(one.hessian(points)).max() * max(1.0, np.abs(points).max())
        assert np.abs(one.gradient(points)).max() <= slack
        assert set(critical_points(one, points).kinds) == {kind}
        if name != "monkey_saddle":
            curvatures = np.linalg.eigvalsh(one.hessian(points))
            signs = {"minimum": (1, 1), "saddle": (-1, 1), "maximum": (-1, -1)}[kind]
            assert (np.sign(curvatures.min(axis=1)) == signs[0]).all()
            assert (np.sign(curvatures.max(axis=1)) == signs[1]).all()


@pytest.mark.parametrize("name", ALL)
def test_no_critical_point_is_missing(name: str) -> None:
    """Newton's iteration from a fine grid, written out here, finds those that are listed and no other."""
    one = surface(name)
    count = {1: 400, 2: 60}[one.dim]
    sides = [np.linspace(low, high, count) for low, high in one.domain]
    x = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, one.dim)
    for _ in range(40):
        curvatures, axes = np.linalg.eigh(one.hessian(x))
        along = np.einsum("nij,ni->nj", axes, one.gradient(x))
        with np.errstate(divide="ignore", invalid="ignore"):
            length = np.where(along == 0.0, 0.0, np.clip(along / curvatures, -1.0, 1.0))
        x = x - np.einsum("nij,nj->ni", axes, length)
        x = x[(np.abs(x) < 1e3).all(axis=1)]
    flat = np.linalg.norm(one.gradient(x), axis=1) <= 1e-9 * one.usual_slope
    # On the plateau the gradient dies away for good: only what curves counts there.
    curved = np.abs(np.linalg.eigvalsh(one.hessian(x))).max(axis=1) > 1e-6 if name != "monkey_saddle" else flat
    found = x[flat & curved & one.inside(x)]
    listed = np.concatenate([getattr(one, attribute) for attribute, _ in KINDS])
    found = np.unique(found.round(7), axis=0)
    apart = np.linalg.norm(found[:, None] - listed[None], axis=2)
    assert (apart.min(axis=1) < 1e-5).all(), "a critical point that is not listed"
    assert (apart.min(axis=0) < 1e-5).all(), "one is listed that is not there"


def test_what_is_known_of_them() -> None:
    assert surface("double_well").minima[0, 0] == pytest.approx(-2.0306, abs=1e-4)
    well = surface("double_well")
    assert well(well.minima)[0] < well(well.minima)[1], "the left well is the lower one"
    assert surface("himmelblau")([[3.0, 2.0]])[0] == 0.0
    assert {k: len(getattr(surface("himmelblau"), k)) for k, _ in KINDS} == {"minima": 4, "saddles": 4, "maxima": 1}
    assert {k: len(getattr(surface("rastrigin"), k)) for k, _ in KINDS} == {
        "minima": 121,
        "saddles": 220,
        "maxima": 100,
    }
    assert surface("rosenbrock", a=2.0)([[2.0, 4.0]])[0] == 0.0
    revenue = surface("revenue")
    assert revenue.maximised
    assert revenue([[50.0, 25.0]])[0] == 3125.0
    assert revenue.lowest == -3125.0
    np.testing.assert_array_equal(revenue.gradient([[0.0, 0.0]]), [[-100.0, -50.0]])


@given(st.floats(1.0, 1e6))
@settings(max_examples=20, deadline=None)
def test_ravine_has_the_condition_number_it_is_given(condition: float) -> None:
    curvatures = np.linalg.eigvalsh(surface("ravine", condition=condition).hessian([[1.0, 2.0]]))[0]
    assert curvatures[1] / curvatures[0] == pytest.approx(condition, rel=1e-12)


def test_planes_and_profiles() -> None:
    field = surface("himmelblau").grid(resolution=25)
    assert field.values.shape == (25, 25)
    assert field.values[3, 7] == surface("himmelblau")([[field.x[7], field.y[3]]])[0]
    shown = surface("revenue").grid(11)
    assert len(shown.maxima) == 1, "shown as R, the point to reach is a maximum"
    assert not len(shown.minima)
    line = surface("quadratic").profile(15)
    np.testing.assert_allclose(line.y, (line.x - 3.0) ** 2)
    with pytest.raises(UsageError, match="a plane needs two"):
        surface("quadratic").grid()
    with pytest.raises(UsageError, match="a profile needs one"):
        surface("beale").profile()


def test_every_surface_is_described() -> None:
    for one in listing():
        assert one.title
        assert one.formula
        assert one.about
        assert len(one.axes) == one.dim
        assert SURFACES[one.name].__doc__
        assert one.name in repr(one)


def test_random_starts_lie_inside_and_leave_the_global_generators_alone() -> None:
    np.random.seed(0)
    torch.manual_seed(0)
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]
    one = surface("revenue")
    starts = one.random_starts(500, seed=3)
    assert one.inside(starts).all()
    np.testing.assert_array_equal(starts, one.random_starts(500, seed=3))
    assert not np.array_equal(starts, one.random_starts(500, seed=4))
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]


# functions of the user's


def batch(x: torch.Tensor) -> torch.Tensor:
    return (x[:, 0] - 1.0) ** 2 + 2.0 * x[:, 1] ** 2


def point(x: torch.Tensor) -> torch.Tensor:
    return (x[0] - 1.0) ** 2 + 2.0 * x[1] ** 2


def spread(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - 1.0) ** 2 + 2.0 * b**2


def branching(x: torch.Tensor) -> torch.Tensor:
    # The comparison of a tensor with a number in an `if` is what vmap cannot follow.
    return (x[0] - 1.0) ** 2 + 2.0 * x[1] ** 2 if x[0].item() < 100.0 else x.sum()


@pytest.mark.parametrize("function", [batch, point, spread, branching])
def test_a_function_may_be_written_in_any_way(function: object) -> None:
    one = from_function(function, dim=2)  # type: ignore[arg-type]
    x = one.random_starts(30)
    np.testing.assert_allclose(one(x), (x[:, 0] - 1.0) ** 2 + 2.0 * x[:, 1] ** 2)
    np.testing.assert_allclose(one.gradient(x), np.stack([2.0 * (x[:, 0] - 1.0), 4.0 * x[:, 1]], axis=1))


def test_a_function_of_one_coordinate_may_return_a_column() -> None:
    one = from_function(lambda w: (w - 3.0) ** 2, dim=1)
    assert one([[1.0], [3.0]]).tolist() == [4.0, 0.0]
    assert from_function(lambda w: ((w - 3.0) ** 2).sum(), dim=1)([[1.0], [3.0]]).tolist() == [4.0, 0.0]


def test_a_function_that_mixes_rows_is_taken_row_by_row() -> None:
    one = from_function(lambda x: (x - x.mean()) ** 2 @ torch.ones(2, dtype=torch.float64), dim=2)
    assert one([[0.0, 2.0], [5.0, 5.0]]).tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (lambda x: x, {"dim": 2}, r"returns shape \(2,\) at one point"),
        (lambda _: 1.0, {"dim": 2}, "returns float, not a torch tensor"),
        (lambda x: x.detach().numpy().sum(axis=1), {"dim": 2}, "not a torch tensor"),
        (lambda x: torch.zeros(len(x), dtype=torch.float64), {"dim": 2}, "has no gradient"),
        (lambda x: (x * math.nan).sum(dim=1), {"dim": 2}, "is nan at"),
        (lambda x: x.nonsense(), {"dim": 2}, "fails at .*AttributeError"),
        (lambda x: (x**2).sum(dim=1), {}, "how many coordinates"),
        (lambda x: (x**2).sum(dim=1), {"dim": 2, "domain": (5.0, -5.0)}, "low < high"),
        (lambda x: (x**2).sum(dim=1), {"dim": 2, "domain": [(0, 1)] * 3}, "one such pair for each of its 2"),
        (lambda x: (x**2).sum(dim=1), {"dim": 2, "noise": -1.0}, "standard deviation, 0 or more"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(function: object, options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        from_function(function, **options)  # type: ignore[arg-type]


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'himmelblau'"):
        surface("himelblau")
    with pytest.raises(UsageError, match="surfaces: quadratic, blind_hiker"):
        surface("zzz")
    with pytest.raises(UsageError, match="no parameter 'conditoin'; did you mean 'condition'"):
        surface("ravine", conditoin=3.0)
    with pytest.raises(UsageError, match="1 or more"):
        surface("ravine", condition=0.5)
    with pytest.raises(UsageError, match="a name, a function or a Surface, got int"):
        surface(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="takes points of shape"):
        surface("beale")([[1.0]])


def test_names_are_taken_as_people_write_them() -> None:
    assert surface("Blind hiker").name == surface("blind-hiker").name == "blind_hiker"
    assert surface("noisy_himmelblau").noise == 1.0
    assert surface("noisy_himmelblau", noise=0.2).noise == 0.2
    made = surface("beale")
    assert isinstance(made, Surface)
    assert surface(made) is made
    assert surface(made, noise=0.5).noise == 0.5
    assert made.noise == 0.0


def test_rastrigin_of_several_coordinates() -> None:
    for dim, want in ((1, 11), (3, 1331)):
        assert len(surface("rastrigin", dim=dim).minima) == want
    three = surface("rastrigin", dim=3)
    lattice = np.array(list(itertools.product([0.0], repeat=3)))
    assert three(lattice)[0] == pytest.approx(0.0, abs=1e-12)
