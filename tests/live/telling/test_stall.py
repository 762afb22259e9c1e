"""A stall is noticed once, what is usual is not, and it costs next to nothing."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from lossdoctor.live.monitor import Monitor
from lossdoctor.live.rows import LiveEvent, Row
from lossdoctor.live.telling.stall import Rhythm, StallWatch, duration, where_is
from lossdoctor.readers import read
from tests.live.telling.telling_samples import standing, verdict


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A monitored run on a clock, with the thread's look-outs made by hand: one each second."""

    def __init__(self, **options: float) -> None:
        self.clock = Clock()
        self.monitor = standing()
        self.watch = StallWatch(clock=self.clock, **options)
        self.watch._last = self.clock.now
        self.step = 0

    def rows(self, *pauses: float) -> None:
        """A row after each pause."""
        for pause in pauses:
            self.wait(pause)
            self.step += 1
            self.monitor.step = self.step
            self.watch.on_row(self.monitor, Row(self.step, {"loss": 1.0}, self.clock.now))

    def wait(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 1.0)
            self.watch.check(self.monitor)

    @property
    def told(self) -> list[str]:
        return [e.kind for e in self.monitor.events]


def test_a_stall_is_told_once_and_so_is_its_end() -> None:
    run = Run(at_least=60)
    run.rows(*[0.5] * 100)
    run.wait(3600)
    assert run.told == ["stalled"]
    run.rows(1.0, 0.5, 0.5)
    assert run.told == ["stalled", "went_on"]
    stalled, went_on = run.monitor.events
    assert stalled.message.startswith("no row for 1 min 1 s; usually one every 0.5 s")
    assert stalled.details["seconds"] == pytest.approx(61, abs=1.1)
    assert stalled.details["usual_seconds"] == 0.5
    assert went_on.message == "rows come again after 1 h"


def test_validation_and_checkpoints_are_usual() -> None:
    run = Run(at_least=60)
    pauses = ([0.2] * 200 + [45.0] + [0.2] * 200 + [100.0]) * 6  # validation, and a checkpoint beyond at_least
    run.rows(*pauses)
    assert run.told == []


def test_pauses_like_those_told_become_usual() -> None:
    run = Run(at_least=60)
    run.rows(*([0.2] * 100 + [900.0]) * 12)
    assert run.told == ["stalled", "went_on"] * 2


def test_one_freak_pause_does_not_blind() -> None:
    run = Run(at_least=60)
    run.rows(*[0.2] * 100, 7200.0, *[0.2] * 100)
    run.wait(300)
    assert run.told == ["stalled", "went_on", "stalled"]


def test_epochs_of_an_hour_are_no_stall() -> None:
    rng = random.Random(3)
    run = Run()
    run.rows(*(3000 * (1 + 0.1 * rng.random()) for _ in range(20)))
    assert run.told == []
    run.wait(4 * 3600)
    assert run.told == ["stalled"]


@pytest.mark.parametrize("seed", [1, 2])
def test_uneven_steps_do_not_flap(seed: int) -> None:
    """Steps of 0.3 s in the median, now and then a hundred times that (log-normal), 200,000 of them: a day's run."""
    rng = random.Random(seed)
    run = Run(at_least=10)
    pauses = [0.3 * rng.lognormvariate(0, 1) for _ in range(200_000)]
    assert max(pauses) > 20
    for pause in pauses:
        if pause < 5:
            run.clock.now += pause
            run.watch.on_row(run.monitor, Row(0, {}, 0.0))
        else:
            run.rows(pause)
    assert run.told == []


def test_steps_of_a_watched_model_are_signs_of_life() -> None:
    run = Run(at_least=60)
    for _ in range(40):
        run.rows(0.5)
        for _ in range(50):
            run.wait(30)
            run.watch.after_step(run.monitor, None)
    assert run.told == []


def test_compiling_takes_its_time_at_first() -> None:
    run = Run(at_least=60, at_first=600)
    run.rows(500.0, 0.5, 300.0, 0.5)
    assert run.told == []


def test_a_run_that_never_logs_is_told() -> None:
    run = Run(at_first=600)
    run.wait(700)
    assert [e.message.split(";")[0] for e in run.monitor.events] == ["no row in the first 10 min 1 s"]


def test_rows_that_become_slower_are_no_stall() -> None:
    run = Run(at_least=10)
    run.rows(*(0.1 * 1.02**i for i in range(400)))  # from 0.1 s to 4.5 min, each 2 % slower
    assert run.told == []


@pytest.mark.parametrize("options", [{"at_least": 0}, {"at_first": -1.0}, {"at_least": float("nan")}])
def test_a_time_must_be_above_zero(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"StallWatch\({next(iter(options))}=…\) must be above 0 seconds, got"):
        StallWatch(**options)


def test_the_thread_sees_a_real_stall_and_where_it_hangs() -> None:
    monitor = standing()
    watch = StallWatch(at_least=1.0, at_first=1.0)
    watch.start(monitor)
    told = threading.Event()

    def told_by_monitor(kind: str, message: str, **details: object) -> None:
        monitor.events.append(LiveEvent(kind, 0, message, 0.0, details))
        told.set()

    monitor.event = told_by_monitor  # type: ignore[method-assign]
    assert _hang_in_data_loader(told)
    watch.on_row(monitor, Row(1, {}, 0.0))
    watch.on_verdict(monitor, verdict())
    watch.finish(monitor)
    stalled, went_on = monitor.events
    assert (stalled.kind, went_on.kind) == ("stalled", "went_on")
    assert any(call.endswith(" _hang_in_data_loader") for call in stalled.details["where"])
    assert "; the training thread is at " in stalled.message
    assert watch._thread is not None
    watch._thread.join(5)
    assert not watch._thread.is_alive()


def test_a_monitored_run_keeps_its_stalls(tmp_path: Path) -> None:
    with Monitor(tmp_path, actions=[StallWatch(at_least=0.6, at_first=0.6)]) as monitored:
        for step in range(12):
            monitored.log(step, loss=1.0)
        end = time.monotonic() + 20
        while "stalled" not in [e.kind for e in monitored.events] and time.monotonic() < end:
            time.sleep(0.05)
        monitored.log(12, loss=1.0)
    (history,) = read(tmp_path)
    told = [e for e in history.events if e["kind"] in ("stalled", "went_on")]
    assert [e["kind"] for e in told] == ["stalled", "went_on"]
    assert told[0]["step"] == 11
    assert any(call.endswith(" test_a_monitored_run_keeps_its_stalls") for call in told[0]["where"])


def _hang_in_data_loader(told: threading.Event) -> bool:
    return told.wait(20)


def test_where_a_dead_thread_is() -> None:
    assert where_is(-1) == []


def test_a_monitor_that_raises_ends_only_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    monitor = standing()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monitor.event = broken  # type: ignore[method-assign]
    watch = StallWatch(at_least=0.5, at_first=0.5)
    watch.start(monitor)
    assert watch._thread is not None
    watch._thread.join(20)
    assert not watch._thread.is_alive()
    assert "no longer watches for stalls (RuntimeError: no)" in caplog.text


def test_a_row_costs_microseconds() -> None:
    monitor, watch = standing(), StallWatch()
    row = Row(1, {"loss": 1.0}, 0.0)
    best = min(_time_of_rows(watch, monitor, row) for _ in range(5))
    assert best < 10e-6  # measured: below 1 µs; the bound leaves room for a busy machine


def _time_of_rows(watch: StallWatch, monitor: Monitor, row: Row, count: int = 4_000) -> float:
    began = time.perf_counter()
    for _ in range(count):
        watch.on_row(monitor, row)
    return (time.perf_counter() - began) / count


def test_what_is_usual_of_nothing() -> None:
    rhythm = Rhythm(at_least=60, at_first=600)
    assert (rhythm.typical, rhythm.longest, rhythm.limit()) == (0.0, 0.0, 600)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0 s"),
        (9.6, "10 s"),
        (59.7, "1 min"),
        (60, "1 min"),
        (3599.9, "60 min"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told
