"""Bad steps are left out, and a run that goes wrong is put back."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.live import LiveEvent, Monitor
from lossdoctor.live.actions import ClipGradients, LiveAction, Rescue
from lossdoctor.torchkit.snapshot import Snapshot
from tests.live.actions.rescued import OPTIMIZERS, Batch, Loader, Run, at, too_large, with_nan
from tests.live.actions.watched import bits, watch


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("change", [with_nan, too_large])
def test_a_step_left_out_leaves_no_bit_behind(tmp_path: Path, optimizer: str, change: Callable[[Batch], Batch]) -> None:
    """As in a run whose loader never gave that batch; running statistics of batch normalisation included."""

    class Without(Loader):
        def __iter__(self) -> Any:
            return (batch for i, batch in enumerate(Loader.__iter__(self)) if i != 120)

    ours = Run(tmp_path / "a", [Rescue()], optimizer=optimizer, steps=200).go(at([120], change))
    assert ours.kinds() == ["skipped_step"]
    theirs = Run(tmp_path / "b", optimizer=optimizer, loader=Without(), steps=200)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(OPTIMIZERS[optimizer]([nn.Parameter(torch.zeros(1))]), 200)
    planned = []
    for _ in range(200):
        planned.append(rates.optimizer.param_groups[0]["lr"])
        rates.optimizer.step()
        rates.step()
    del planned[120]  # the schedule goes on while the step is left out
    theirs.steps = 199
    theirs.scheduler = torch.optim.lr_scheduler.LambdaLR(theirs.optimizer, lambda e: 1.0)  # noqa: ARG005
    theirs.before_step = lambda step: theirs.optimizer.param_groups[0].update(lr=planned[step])
    theirs.go()
    assert bits(ours.model) == bits(theirs.model)
    assert ours.state()["moments"] == theirs.state()["moments"]


def blown_up(run: Run, step: int) -> Callable[[int], object]:
    """Weights that go wrong by themselves at a step: nothing is to be seen in the batch."""

    def before(now: int) -> None:
        if now == step:
            with torch.no_grad():
                run.model[4].weight.mul_(300.0)
            for parameter in run.model.parameters():
                assert parameter.grad is not None
                parameter.grad.mul_(1e-3)  # and the step before them looks harmless

    return before


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("then", ["skip", "replay"])
def test_a_state_comes_back_bit_for_bit(tmp_path: Path, then: str, on_disk: bool) -> None:
    loader = Loader()
    folder = tmp_path / "states" if on_disk else None
    action = Rescue(then=then, loader=loader, every=20, confirm=10, folder=folder)
    back: list[tuple[int, dict[str, Any]]] = []

    class Spy(LiveAction):
        def on_event(self, monitor: Monitor, event: LiveEvent) -> None:  # noqa: ARG002
            if event.kind == "rolled_back":
                back.append((len(run.after), dict(event.details)))

    run = Run(tmp_path / "run", [action, Spy()], loader=loader, dropout=0.2)
    run.before_step = blown_up(run, 150)
    run.go(keep=True)
    assert action.rollbacks >= 1
    here, details = back[0]
    assert 150 < here < 175
    now = run.after[here]
    then_ = [i for i, state in enumerate(run.after[:here]) if state["model"] == now["model"]]
    assert then_, "the weights are those of no earlier step"
    kept = run.after[then_[-1]]
    assert here - then_[-1] - details["steps_lost"] <= 21  # steps that were left out are not lost
    assert kept["moments"] == now["moments"]
    same = {name: kept[name] == now[name] for name in ("scheduler", "random", "loader")}
    assert same == dict.fromkeys(same, then == "replay")
    if on_disk:
        files = sorted((tmp_path / "states").iterdir())
        assert 1 <= len(files) <= 2
        assert Snapshot.load(files[-1]).parts.keys() >= {"optimizer", "scheduler"}


def test_after_a_replay_the_run_is_the_one_that_it_would_have_been(tmp_path: Path) -> None:
    """With a rate that is not lowered, what comes after the roll-back is bit for bit what came after that state."""
    loader = Loader()
    action = Rescue(then="replay", loader=loader, every=20, confirm=10, factor=1.0 - 1e-16, recover=10**6)
    assert action._rescuer._factor == 1.0 - 1e-16
    run = Run(tmp_path / "run", [action], loader=loader, dropout=0.2, steps=260)
    run.before_step = blown_up(run, 150)
    run.go(keep=True)
    healthy = Run(tmp_path / "twin", loader=Loader(), dropout=0.2, steps=260).go(keep=True)
    shift = next(e for e in run.monitor.events if e.kind == "rolled_back").step
    assert run.after[0] == healthy.after[0]
    found = [i for i, state in enumerate(healthy.after) if state["random"] == run.after[shift + 20]["random"]]
    assert len(found) == 1
    weights, twin = run.after[shift + 20], healthy.after[found[0]]
    assert weights["model"] == twin["model"]
    assert weights["moments"] == twin["moments"]


TROUBLES: dict[str, Callable[[int, Batch], Batch]] = {
    "one NaN batch": at([130], with_nan),
    "NaN batches now and then": at(range(20, 300, 31), with_nan),
    "one batch too large": at([130], too_large),
    "a row of batches too large": at(range(130, 145), too_large),
    "a row of NaN batches": at(range(130, 148), with_nan),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_run_that_meets_bad_batches_ends_like_its_healthy_twin(tmp_path: Path, optimizer: str, trouble: str) -> None:
    healthy = Run(tmp_path / "twin", optimizer=optimizer).go().loss()
    rescued = Run(tmp_path / "ours", [Rescue()], optimizer=optimizer).go(TROUBLES[trouble])
    assert rescued.loss() < (1.05 if "row" not in trouble else 1.1) * healthy
    assert rescued.kinds()
    left_alone = Run(tmp_path / "alone", optimizer=optimizer).go(TROUBLES[trouble])
    assert not left_alone.loss() < 1.05 * healthy


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_rate_that_is_too_high_for_some_steps(tmp_path: Path, optimizer: str) -> None:
    def spiked(run: Run) -> Callable[[int], object]:
        planned: list[float] = []

        def before(step: int) -> None:
            group = run.optimizer.param_groups[0]
            if not planned:
                planned.append(group["lr"])
            run.scheduler.step = lambda: None  # type: ignore[method-assign]
            rate = 0.5 * planned[0] * (1 + math.cos(math.pi * step / run.steps))
            group["lr"] = rate * (300.0 if 130 <= step < 140 else 1.0)

        return before

    ends = {}
    for name, actions in {"alone": [], "clipped": [ClipGradients(1.0)], "rescued": [Rescue()]}.items():
        run = Run(tmp_path / name, actions, optimizer=optimizer)
        run.before_step = spiked(run)
        ends[name] = run.go().loss()
    healthy = Run(tmp_path / "twin", optimizer=optimizer).go().loss()
    assert ends["rescued"] < 1.05 * healthy
    assert not ends["alone"] < 1.05 * healthy


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_healthy_run_is_left_alone_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    ours = Run(tmp_path / "a", [Rescue(every=10)], optimizer=optimizer, dropout=0.3).go()
    theirs = Run(tmp_path / "b", optimizer=optimizer, dropout=0.3).go()
    assert ours.kinds() == []
    assert ours.state() == theirs.state()


def test_when_all_that_comes_is_bad_it_gives_up_in_the_last_good_state(tmp_path: Path) -> None:
    action = Rescue()
    run = Run(tmp_path, [action], steps=900)
    run.go(at(range(150, 900), with_nan))
    assert run.kinds()[-1] == "gave_up"
    assert run.monitor.should_stop
    assert "Rescue gave up" in run.monitor.stop_reason
    assert math.isfinite(run.loss())
    assert run.kinds().count("skipped_step") < 25  # not one event for each of hundreds


def test_a_run_that_cannot_be_held_is_given_up(tmp_path: Path) -> None:
    action = Rescue(every=10, confirm=10, attempts=3)
    run = Run(tmp_path, [action], steps=600)

    def before(step: int) -> None:
        if step > 150:
            with torch.no_grad():
                run.model[4].weight.mul_(3.0)

    run.before_step = before
    run.go()
    assert action.rollbacks == 3
    assert run.kinds()[-1] == "gave_up"
    lowered = [e.details["of_planned"] for e in run.monitor.events if e.kind == "learning_rate_changed"]
    assert lowered == pytest.approx([0.3, 0.09])


def test_from_the_first_state_it_starts_over_with_a_lower_rate(tmp_path: Path) -> None:
    """A rate far too high from the start: there is no good state but the first, whose loss is high."""
    run = Run(tmp_path, [Rescue()], optimizer="momentum", steps=500)
    for group in run.optimizer.param_groups:
        group["lr"] = 20.0
    run.scheduler = torch.optim.lr_scheduler.ConstantLR(run.optimizer, factor=1.0)
    run.monitor.scheduler = run.scheduler
    run.go()
    assert "rolled_back" in run.kinds()
    assert not run.monitor.should_stop
    assert run.loss() < 0.35


def test_one_step_late_it_goes_back_instead(tmp_path: Path) -> None:
    """As on a GPU, where nothing waits for the gradients."""
    healthy = Run(tmp_path / "twin").go().loss()
    run = Run(tmp_path / "ours", [Rescue(wait=False, every=10, confirm=10)]).go(at([130], with_nan))
    assert run.kinds() == ["rolled_back"]
    assert run.loss() < 1.05 * healthy


class Interrupting(LiveAction):
    """Ctrl-C in the middle of a roll-back: when its event is told."""

    def on_event(self, monitor: Monitor, event: LiveEvent) -> None:  # noqa: ARG002
        if event.kind == "rolled_back":
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_while_it_goes_back(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run = Run(tmp_path, [Rescue(wait=False, every=10, confirm=10), Interrupting()])
        with pytest.raises(KeyboardInterrupt), run.monitor:
            run.go(at([130], with_nan))
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.kinds() == ["rolled_back"]
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())
    assert [e.kind for e in run.monitor.events][-1] == "finished"


@pytest.mark.parametrize("fused", [False, True])
def test_with_mixed_precision(tmp_path: Path, fused: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    action = Rescue(every=20, confirm=10)
    with Monitor(run_dir=tmp_path, actions=[action]) as monitor:
        watch(monitor, model, optimizer, scaler=scaler)
        for step, (x, y) in zip(range(250), Loader(), strict=False):
            if step in (100, 160):
                x = with_nan((x, y))[0]
            if step == 130:
                x, y = too_large((x, y))
            if step == 200:
                with torch.no_grad():
                    model[3].weight.mul_(1e4)
            with torch.autocast("cpu", torch.bfloat16):
                loss = (model(x) - y).square().mean()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            monitor.log(step, loss=loss.item())
    assert all(bool(t.isfinite().all()) for t in (*model.parameters(), *model.buffers()))
    kinds = [e.kind for e in monitor.events if e.details.get("action") == "Rescue"]
    assert "skipped_step" in kinds
    assert "rolled_back" in kinds
    assert not monitor.should_stop
    with torch.no_grad():
        x, y = next(iter(Loader(999)))
        assert float((model.eval()(x) - y).square().mean()) < 0.3


def test_with_gradient_accumulation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    action = Rescue()
    with Monitor(run_dir=tmp_path, actions=[action]) as monitor:
        watch(monitor, model, optimizer)
        for micro, (x, y) in zip(range(1200), Loader(), strict=False):
            if micro in (401, 402, 803):
                x = with_nan((x, y))[0]
            loss = (model(x) - y).square().mean()
            (loss / 4).backward()
            monitor.log(micro, loss=loss.item())
            if micro % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    assert action.skipped == 2  # of the steps to which those batches belong
    assert action.rollbacks == 0
    with torch.no_grad():
        x, y = next(iter(Loader(999)))
        assert float((model.eval()(x) - y).square().mean()) < 0.3


def test_what_it_cannot_work_with_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="lossdoctor"):
        with Monitor(run_dir=tmp_path / "a", actions=[Rescue()]) as monitor:
            for step in range(50):
                monitor.log(step, loss=math.nan)
        models = [nn.Linear(1, 1), nn.Linear(1, 1)]
        optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in models]
        with Monitor(run_dir=tmp_path / "b", actions=[Rescue()]) as monitor:
            watch(monitor, models, optimizers)
            for step in range(5):
                for model, optimizer in zip(models, optimizers, strict=True):
                    model(torch.ones(1, 1)).sum().backward()
                    optimizer.step()
                monitor.log(step, loss=1.0)
    said = [r.message for r in caplog.records if r.message.startswith("Rescue")]
    assert said == [
        "Rescue has watched over nothing: it needs monitor.watch(model, optimizer) before the first step",
        "Rescue acts on one optimizer and does nothing here, where there are several",
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"then": "skipp"}, "did you mean 'skip'"),
        ({"factor": 1.5}, "between 0 and 1"),
        ({"keep": 0}, r"Rescue\(keep=…\) is at least 1"),
        ({"every": 0}, r"Rescue\(every=…\) is at least 1"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Rescue(**wrong)
