"""Slices through the loss of real nets: values, directions, the state left behind, resuming after a kill."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.landscapes import (
    Landscape,
    Trajectory,
    interpolate,
    random_line,
    random_plane,
    sharpness,
    trajectory_plane,
)
from lossdoctor.lab.landscapes.weights import filter_normalised, point, principal_plane
from lossdoctor.torchkit.snapshot import Snapshot
from tests.torchkit.test_state import fingerprint, generators

Pairs = list[tuple[Tensor, Tensor]]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(24, 3)
    )
    model(torch.randn(32, 1, 8))  # running statistics that are not the initial ones
    return model


def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(n, 1, 8, generator=generator), torch.randint(0, 3, (n,), generator=generator)) for n in (20, 9)
    ]


def by_hand(model: nn.Module, batches: Pairs, moves: list[tuple[float, dict[str, Tensor]]]) -> float:
    """The loss at a point, on a copy of the model and without the package's machinery."""
    there = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, parameter in there.named_parameters():
            for length, direction in moves:
                parameter += length * direction[name]
        x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return float(F.cross_entropy(there(x), y))


def trained(steps: int = 40) -> tuple[nn.Sequential, Trajectory]:
    model, batches = net(), pairs()
    path = Trajectory(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        path.record()
        optimizer.zero_grad()
        x, y = batches[step % 2]
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    path.record()
    return model, path


def test_planes_are_what_a_full_grid_says_and_leave_no_trace() -> None:
    model, path = trained()
    batches = pairs()
    before = fingerprint(model), generators()
    calls: list[tuple[int, int]] = []
    plane = random_plane(model, F.cross_entropy, batches, points=(21, 17), progress=lambda *c: calls.append(c))
    every = random_plane(model, F.cross_entropy, batches, points=(21, 17), tolerance=0)
    run = trajectory_plane(model, F.cross_entropy, path, batches, points=9)
    random_line(model, F.cross_entropy, batches, points=3)
    sharpness(model, F.cross_entropy, batches, probes=2)
    assert (fingerprint(model), generators()) == before
    assert plane.values.shape == (17, 21)
    assert calls[-1] == (plane.evaluations, plane.evaluations)
    assert plane.evaluations < every.evaluations == 17 * 21
    assert np.abs(plane.values - every.values).max() <= 0.01 * np.ptp(every.values)
    directions = [filter_normalised(model, seed) for seed in (0, 1)]
    for i, j in ((0, 0), (8, 10), (16, 3)):
        moves = [(plane.x[j], directions[0]), (plane.y[i], directions[1])]
        assert every.values[i, j] == pytest.approx(by_hand(model, batches, moves), rel=1e-4)
    assert run.path_values is not None
    assert run.path_values[-1] == pytest.approx(by_hand(model, batches, []), rel=1e-5)


def test_filters_have_the_norms_of_the_weights() -> None:
    model = net()
    direction = filter_normalised(model, 3)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            ours, theirs = direction[name].flatten(1).norm(dim=1), parameter.detach().flatten(1).norm(dim=1)
            assert torch.allclose(ours, theirs, rtol=1e-5)
        else:
            assert not direction[name].any()
    moved = filter_normalised(model, 3, vectors=True)
    assert float(moved["5.bias"].norm()) == pytest.approx(float(model[5].bias.detach().norm()), rel=1e-5)  # type: ignore[union-attr]
    assert torch.equal(moved["0.weight"], direction["0.weight"])
    assert not torch.equal(filter_normalised(model, 4)["0.weight"], direction["0.weight"])
    nn.init.zeros_(model[0].weight)  # type: ignore[arg-type]
    assert not filter_normalised(model, 3)["0.weight"].any()


def test_rescaled_nets_look_alike() -> None:
    """Why filters are normalised: a ReLU net rescaled from layer to layer computes the same, and must look the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False))
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled[0].weight.mul_(16.0)  # type: ignore[operator]
        scaled[2].weight.div_(16.0)  # type: ignore[operator]
    batches = [(torch.randn(30, 4), torch.randn(30, 1))]
    a, b = (random_plane(m, F.mse_loss, batches, points=7) for m in (model, scaled))
    assert np.allclose(a.values, b.values, rtol=1e-4)


def test_interpolation_ends_at_the_states_themselves() -> None:
    model, path = trained()
    start = Snapshot.take(net())
    batches = pairs()
    found = interpolate(model, F.cross_entropy, start, model, batches, points=11, span=(-0.5, 1.5))
    ends = [float(found.values[np.isclose(found.x, at)][0]) for at in (0.0, 1.0)]
    assert ends[0] == pytest.approx(by_hand(net(), batches, []), rel=1e-5)  # with its own running statistics
    assert ends[1] == pytest.approx(by_hand(model, batches, []), rel=1e-5)
    states = {f"_orig_mod.{n}": t for n, t in model.state_dict().items()}
    other = interpolate(torch.compile(model, backend="eager"), F.cross_entropy, start, states, batches, points=2)  # type: ignore[arg-type]
    assert other.values[other.x == 1.0][0] == pytest.approx(ends[1], rel=1e-5)
    assert found.panel().lines[0].y.shape == found.x.shape
    assert len(path.states()) == 41


def test_the_barrier_of_a_double_well() -> None:
    model = nn.Linear(1, 1, bias=False)
    left, right = ({"weight": torch.tensor([[w]])} for w in (-1.0, 1.0))
    found = interpolate(model, lambda m: ((m.weight**2 - 1) ** 2).sum(), left, right, points=41)
    assert found.barrier == pytest.approx(1.0)
    assert np.isnan(interpolate(model, lambda m: m.weight.sum(), left, right, points=5, span=(0.1, 0.9)).barrier)


def test_the_plane_of_a_known_path() -> None:
    """A parabola in 50 dimensions: two components explain it, and the projections keep all distances."""
    torch.manual_seed(0)
    frame, _ = torch.linalg.qr(torch.randn(50, 2, dtype=torch.float64))
    t = torch.linspace(-1, 1, 15, dtype=torch.float64)
    curve = torch.stack([t, 0.3 * t**2], 1) @ frame.T
    states = [{"w": row[:20].view(4, 5), "v": row[20:]} for row in curve]
    found = principal_plane(states)
    assert sum(found.explained) == pytest.approx(1.0)
    assert found.explained[0] > 0.8
    assert found.path[-1].tolist() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert found.path[0, 0] < 0  # the run comes from the left
    apart = np.linalg.norm(found.path[:, None] - found.path[None], axis=-1)
    assert np.allclose(apart, torch.cdist(curve, curve).numpy(), atol=1e-10)
    flat = [torch.cat([d["w"].flatten(), d["v"]]) for d in found.directions]
    assert float(flat[0] @ flat[0]) == pytest.approx(1.0)
    assert float(flat[0] @ flat[1]) == pytest.approx(0.0, abs=1e-12)


def test_the_trajectory_plane_holds_the_run() -> None:
    model, path = trained()
    found = trajectory_plane(model, F.cross_entropy, path, pairs(), points=(15, 11))
    assert found.path is not None
    assert found.explained is not None
    assert found.path.shape == (41, 2)
    for axis, line in enumerate((found.x, found.y)):
        assert line[0] < found.path[:, axis].min()
        assert line[-1] > found.path[:, axis].max()
    assert 0.5 < sum(found.explained) <= 1.0
    panel = found.panel()
    assert panel.field is not None
    assert "%" in panel.x_label
    assert panel.lines[0].x.shape == (41,)
    states = [copy.deepcopy(model).state_dict() for _ in range(3)]
    with pytest.raises(UsageError, match="on one line or one point"):
        trajectory_plane(model, F.cross_entropy, states, pairs())
    with pytest.raises(UsageError, match="at least 3 states, got 2"):
        trajectory_plane(model, F.cross_entropy, states[:2], pairs())
    states[0]["0.weight"] = states[0]["0.weight"] * float("nan")
    with pytest.raises(UsageError, match="not finite"):
        trajectory_plane(model, F.cross_entropy, states, pairs())


def test_long_trajectories_are_thinned() -> None:
    model = nn.Linear(1, 1)
    path = Trajectory(model, most=10)
    for step in range(101):
        nn.init.constant_(model.weight, float(step))
        path.record()
    assert len(path.states()) <= 12
    assert path.steps[0] == 0
    assert path.steps[-1] == 100
    assert [float(s["weight"]) for s in path.states()] == [float(s) for s in path.steps]


def test_broken_values_are_shown(tmp_path: Path) -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    found = random_plane(model, lambda m: m.weight.sum().log(), points=21, span=(-2, 2))
    assert np.isnan(found.values).any()
    assert np.isfinite(found.values).any()
    assert np.isfinite(found.lowest).all()
    assert np.isnan(found.field().values).any()
    found.save(tmp_path / "plane.npz")
    again = Landscape.load(tmp_path / "plane.npz")
    for name, value in vars(found).items():
        assert np.array_equal(getattr(again, name), value, equal_nan=True) if isinstance(value, np.ndarray) else (getattr(again, name) == value)  # fmt: skip  # noqa: E501
    nothing = random_plane(model, lambda m: m.weight.sum() * float("nan"), points=5)
    assert np.isnan(nothing.lowest).all()
    nothing.panel()


def test_fields_choose_levels_and_mark_minima_of_the_plane() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    bowl = random_plane(model, lambda m: (m.weight - 1).square().sum(), points=11).field()
    assert bowl.levels == "linear"
    assert bowl.minima.tolist() == [[0.0, 0.0]]
    steep = random_plane(model, lambda m: (4 * (m.weight - 1)).abs().sum().exp(), points=11).field()
    assert steep.levels == "log"
    slope = random_plane(model, lambda m: m.weight.sum(), points=11).field()
    assert len(slope.minima) == 0  # on the edge: the surface goes on falling beyond


def test_low_precision_and_tied_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4, bias=False)).bfloat16()
    model[2].weight = model[0].weight
    before = fingerprint(model)
    found = random_plane(model, lambda m: m(torch.ones(2, 4).bfloat16()).float().square().mean(), points=5)
    assert np.isfinite(found.values).all()
    assert fingerprint(model) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_state_is_back_after_a_failure(error: type[BaseException]) -> None:
    model = net()
    before = fingerprint(model)
    calls = []

    def loss(model: nn.Module) -> Tensor:
        calls.append(1)
        if len(calls) == 9:
            raise error
        return next(model.parameters()).sum()

    with pytest.raises(error):
        random_plane(model, loss, points=11)
    assert fingerprint(model) == before


def test_a_stopped_plane_goes_on(tmp_path: Path) -> None:
    model, path = net(), tmp_path / "plane.jsonl"
    batches = pairs()
    whole = random_plane(model, F.cross_entropy, batches, points=15, path=path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + whole.evaluations
    path.write_bytes(b"".join(lines[:30]) + lines[30][:7])  # killed while it wrote
    calls: list[tuple[int, int]] = []
    again = random_plane(model, F.cross_entropy, batches, points=15, path=path, progress=lambda *c: calls.append(c))
    assert np.array_equal(again.values, whole.values)
    assert len(calls) == whole.evaluations - 29
    assert path.read_bytes().splitlines(keepends=True)[:30] == lines[:30]
    assert len(path.read_bytes().splitlines()) == len(lines)
    with pytest.raises(UsageError, match="another model, plane or loss"):
        random_plane(model, F.cross_entropy, batches, points=15, seed=1, path=path)
    with pytest.raises(UsageError, match="another model, plane or loss"):
        random_plane(model, F.cross_entropy, batches[:1], points=15, path=path)
    path.write_text(lines[0].decode() + "nonsense\n")
    with pytest.raises(UsageError, match="line 2"):
        random_plane(model, F.cross_entropy, batches, points=15, path=path)


CHILD = """
import sys, time
import torch
from torch import nn
from lossdoctor.lab.landscapes import random_plane
torch.manual_seed(0)
model = nn.Linear(3, 2)
def loss(model):
    time.sleep(0.002)
    value = model.weight.square().sum().exp()
    return value if value < 50 else value * float("nan")
plane = random_plane(model, loss, points=21, span=(-2, 2), path=sys.argv[1])
result = plane.values.tobytes().hex()
print(result)
"""


def test_kill_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(path: Path) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)

    path = tmp_path / "plane.jsonl"
    child = start(path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < 20):
        time.sleep(0.005)
    child.kill()
    child.wait()
    rows = path.read_bytes().split(b"\n")[:-1]
    assert len(rows) >= 20
    assert all(json.loads(row) for row in rows)
    resumed, _ = start(path).communicate(timeout=120)
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "other.jsonl")])
    fresh: dict[str, Any] = {}
    exec(CHILD, fresh)
    assert resumed.strip() == fresh["result"]
    assert path.read_bytes().split(b"\n")[: len(rows)] == rows


def test_sharpness_of_a_known_bowl() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    scale = torch.tensor([1.0, 3.0]).double()
    found = sharpness(model, lambda m: (m.weight * scale).square().sum() + 1, epsilon=0.1)
    assert found.loss == pytest.approx(1.0)
    assert found.eigenvalue.value == pytest.approx(18.0)
    assert found.trace.value == pytest.approx(20.0)
    assert found.critical_lr == pytest.approx(2 / 18)
    assert found.epsilon_sharpness <= 100 * 0.1 / 2 + 1e-9
    nn.init.constant_(model.weight, 1.0)
    slope = sharpness(model, lambda m: (m.weight * scale).square().sum(), epsilon=0.1)
    assert slope.epsilon_sharpness == pytest.approx(100 * (1.2**2 * 10 - 10) / 11)  # the far corner of the box


def test_sharp_and_flat_nets_differ() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    steep = copy.deepcopy(model)
    with torch.no_grad():
        steep[2].weight.mul_(10)  # type: ignore[operator]
    batches = [(torch.randn(40, 6), torch.randn(40, 1))]
    flat, sharp = (sharpness(m, F.mse_loss, batches) for m in (model, steep))
    assert sharp.eigenvalue.value > 10 * flat.eigenvalue.value
    assert sharp.epsilon_sharpness > flat.epsilon_sharpness > 0


def test_bad_input_is_named() -> None:
    model = net()
    with pytest.raises(UsageError, match="ReLU has no parameters"):
        random_plane(nn.ReLU(), lambda _: torch.tensor(1.0))
    with pytest.raises(UsageError, match="no batches"):
        random_plane(model, F.cross_entropy, [])
    with pytest.raises(UsageError, match=r"shape \(29,\)"):
        random_plane(model, lambda o, y: F.cross_entropy(o, y, reduction="none"), [tuple(map(torch.cat, zip(*pairs(), strict=True)))])  # type: ignore[arg-type]  # fmt: skip  # noqa: E501
    with pytest.raises(UsageError, match="at least 2 points"):
        random_plane(model, F.cross_entropy, pairs(), points=1)
    with pytest.raises(UsageError, match="from low to high"):
        random_line(model, F.cross_entropy, pairs(), span=(1, 0))
    with pytest.raises(UsageError, match=r"no '0\.weight'"):
        interpolate(model, F.cross_entropy, {}, model, pairs())
    with pytest.raises(UsageError, match=r"0\.weight has shape"):
        point({"0.weight": torch.ones(2)}, {"0.weight": torch.ones(3)})
    with pytest.raises(UsageError, match="epsilon"):
        sharpness(model, F.cross_entropy, pairs(), epsilon=0)
    with pytest.raises(UsageError, match="margin"):
        trajectory_plane(model, F.cross_entropy, [], pairs(), margin=-1)
    with pytest.raises(UsageError, match="most=1"):
        Trajectory(model, most=1)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["digits_cnn", "friedman", "moons_flow"])
def test_a_third_of_the_evaluations_on_trained_nets(task: str) -> None:
    from benchmarks.lab_landscape import looked
    from benchmarks.lab_landscape import trained as train

    made, path = train(task)
    x, y = made.splits.train
    batches = [(x[:256], torch.zeros(len(x[:256])) if task == "moons_flow" else y[:256])]
    for kind in ("random", "trajectory"):
        ours, full = (looked(made, kind, path, batches, 41, tolerance) for tolerance in (0.01, 0.0))
        assert 3 * ours.evaluations <= full.evaluations == 41 * 41
        assert np.abs(ours.values - full.values).max() <= 0.01 * np.ptp(full.values)
        assert ours.error <= 0.01
