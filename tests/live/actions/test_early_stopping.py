"""When the validation no longer improves, and what is kept then."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.live import Monitor
from lossdoctor.live.actions import EarlyStopping
from lossdoctor.live.actions.improvement import Improvement


def curve(kind: str, n: int = 200, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    at = np.arange(n) / n
    clean = {
        "falls": 0.5 + np.exp(-3.0 * at),
        "turns": 0.5 + np.exp(-12.0 * at) + 0.8 * np.maximum(at - 0.3, 0.0),
        "level": 0.5 + np.exp(-40.0 * at),
        "waits": 1.0 - 0.4 / (1.0 + np.exp(-40.0 * (at - 0.25))) + 0.1 * np.exp(-60.0 * at),
    }[kind]
    return clean + noise * np.random.default_rng(seed).standard_normal(n)


def end_of(values: np.ndarray) -> tuple[int, int]:
    """Which evaluation is kept, and after how many it stops (all of them where it does not)."""
    judge, best = Improvement(), 0
    for i, value in enumerate(values.tolist()):
        judged = judge.add(value)
        best = i if judged.best else best
        if judged.stop:
            return best, i + 1
    return best, len(values)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.02])
def test_a_curve_that_falls_is_not_stopped(seed: int, noise: float) -> None:
    assert end_of(curve("falls", noise=noise, seed=seed))[1] == 200


def test_a_curve_that_falls_slower_than_its_noise_is_hardly_ever_stopped_early() -> None:
    ends = [end_of(curve("falls", noise=0.05, seed=seed))[1] for seed in range(40)]
    assert sum(end < 150 for end in ends) <= 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_a_curve_that_turns_is_stopped_and_a_good_state_kept(seed: int, noise: float) -> None:
    values = curve("turns", noise=noise, seed=seed)
    best, end = end_of(values)
    clean = curve("turns", noise=0.0)
    assert end < 160
    assert clean[best] < clean.min() + 0.01 + 2 * noise
    assert best < end


def test_a_level_curve_is_stopped_but_not_at_once() -> None:
    ends = [end_of(curve("level", seed=seed))[1] for seed in range(40)]
    assert min(ends) > 20
    assert sum(end < 200 for end in ends) >= 30


@pytest.mark.parametrize("unit", [1e-200, 1e-9, 1e9, 1e200])
@pytest.mark.parametrize("kind", ["falls", "turns", "level"])
def test_the_unit_does_not_matter(kind: str, unit: float) -> None:
    values = curve(kind)
    assert end_of(values * unit) == end_of(values)


def test_a_maximised_metric_and_a_name(tmp_path: Path) -> None:
    values = 1.0 - 0.3 * curve("turns")
    for arguments in ({"metric": "val_accuracy"}, {"metric": "quality", "mode": "max"}):
        action = EarlyStopping(restore=False, **arguments)  # type: ignore[arg-type]
        monitor = Monitor(run_dir=tmp_path / arguments["metric"], actions=[action])
        for step, value in enumerate(values):
            monitor.log(step, **{arguments["metric"]: float(value), "val_loss": 1.0 / (step + 1)})
        assert monitor.should_stop
        assert action.best_value is not None
        assert action.best_value > values.max() - 0.05


def test_three_evaluations_that_are_not_finite_stop_a_run(tmp_path: Path) -> None:
    monitor = Monitor(run_dir=tmp_path, actions=[EarlyStopping(restore=False)])
    for step, value in enumerate([3.0, 2.0, 1.0, 0.9, 0.8, np.nan, 0.7, np.nan, np.inf]):
        monitor.log(step, val_loss=value)
    assert not monitor.should_stop
    monitor.log(9, val_loss=np.nan)
    assert monitor.should_stop
    assert "val_loss 3 evaluations in a row were not finite" in monitor.stop_reason


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_best_weights_come_back(tmp_path: Path, on_disk: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    folder = tmp_path / "kept" if on_disk else None
    monitor = Monitor(run_dir=tmp_path / "run", actions=[EarlyStopping(folder=folder)])
    monitor.model = model
    states = []
    for step, value in enumerate(curve("turns")):
        with torch.no_grad():
            model[0].weight.fill_(float(step))
            model[1].running_mean.fill_(float(step))
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        monitor.log(step, loss=1.0, val_loss=value)
        if monitor.should_stop:
            break
    best = monitor.actions[0].best_step
    assert best is not None
    assert best < step
    assert all(torch.equal(v, states[best][k]) for k, v in model.state_dict().items())
    assert [e.kind for e in monitor.events] == ["rolled_back", "stopped"]
    assert monitor.events[0].details["to_step"] == best
    if on_disk:
        assert (tmp_path / "kept" / "best.pt").exists()


def test_a_folder_that_cannot_be_written_leaves_the_weights_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file")
    model = nn.Linear(1, 1, bias=False)
    with Monitor(run_dir=tmp_path / "run", actions=[EarlyStopping(folder=tmp_path / "taken")]) as monitor:
        monitor.model = model
        for step, value in enumerate([3.0, 2.0, 2.5]):
            with torch.no_grad():
                model.weight.fill_(float(step))
            with caplog.at_level(logging.WARNING, logger="lossdoctor"):
                monitor.log(step, val_loss=value)
    assert model.weight.item() == 1.0
    assert sum("the best weights stay in memory" in r.message for r in caplog.records) == 1


class _Interrupted:
    """A run that is left before it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.monitor = Monitor(run_dir=folder, actions=[EarlyStopping()])
        self.monitor.model = self.model

    def go(self, *, interrupted: bool = False) -> None:
        for step, value in enumerate([3.0, 2.0, 1.0, 1.5, 1.4]):
            with torch.no_grad():
                self.model.weight.fill_(float(step))
            self.monitor.log(step, val_loss=value)
        if interrupted:
            raise KeyboardInterrupt


def test_the_best_weights_come_back_at_the_end_and_after_ctrl_c(tmp_path: Path) -> None:
    run = _Interrupted(tmp_path / "a")
    with run.monitor:
        run.go()
    assert run.model.weight.item() == 2.0
    run = _Interrupted(tmp_path / "b")
    with pytest.raises(KeyboardInterrupt), run.monitor:
        run.go(interrupted=True)
    assert run.model.weight.item() == 2.0


def test_without_a_model_it_says_so_once_and_still_stops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor(run_dir=tmp_path, actions=[EarlyStopping()])
    with caplog.at_level(logging.WARNING, logger="lossdoctor"):
        for step, value in enumerate(curve("turns")):
            monitor.log(step, val_loss=value)
    assert monitor.should_stop
    said = [r.message for r in caplog.records if "EarlyStopping" in r.message]
    assert len(said) == 1
    assert "monitor.watch(model, optimizer)" in said[0]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'max'"):
        EarlyStopping(mode="maxx")
    with pytest.raises(UsageError, match="min_evaluations"):
        EarlyStopping(min_evaluations=1)
