"""Which run is better, beyond noise, since when; and when that cannot be said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.engine.compare import compare


def curve(
    n: int, end: float, *, tau: float = 0.25, noise: float = 0.05, seed: int = 0, rho: float = 0.0
) -> list[float]:
    """An exponential descent from 3 to ``end`` with (autocorrelated) noise."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=n)
    for i in range(1, n):
        e[i] = rho * e[i - 1] + math.sqrt(1 - rho**2) * e[i]
    t = np.arange(n) / n
    return list(end + (3 - end) * np.exp(-t / tau) + noise * e)


def run(name: str, values: list[float], **options: object) -> TrainingHistory:
    return TrainingHistory(loss=values, name=name, **options)  # type: ignore[arg-type]


def test_the_lower_run_wins_with_its_margin() -> None:
    result = compare([run("a", curve(500, 1.0)), run("b", curve(500, 0.5, seed=1))])
    assert result.winner == "b"
    assert result.beyond_noise
    assert result.margin == pytest.approx(0.5, abs=0.08)
    assert result.p_value is not None
    assert result.p_value < 0.001
    assert "b is better" in result.sentence
    assert result.metric == "train_loss"


@pytest.mark.parametrize("scale", [1.0, 1000.0, 1e-6])
@pytest.mark.parametrize("n", [12, 60, 2000])
def test_scale_does_not_matter(n: int, scale: float) -> None:
    a, b = (np.array(curve(n, end, seed=s)) * scale for end, s in ((1.0, 3), (0.9, 4)))
    plain = compare([run("a", list(a / scale)), run("b", list(b / scale))])
    scaled = compare([run("a", list(a)), run("b", list(b))])
    assert (scaled.winner, scaled.since_step) == (plain.winner, plain.since_step)
    assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-6)
    assert scaled.margin == pytest.approx(plain.margin * scale, rel=1e-6)


@pytest.mark.parametrize(("n", "rho"), [(10, 0.9), (30, 0.9), (100, 0.9), (300, 0.0)])
def test_twins_are_rarely_told_apart(n: int, rho: float) -> None:
    """Through the front door; tests/engine/test_levels.py counts more of them."""
    told = sum(
        compare(
            [run("a", curve(n, 1.0, seed=2 * k, rho=rho)), run("b", curve(n, 1.0, seed=2 * k + 1, rho=rho))]
        ).beyond_noise
        for k in range(60)
    )
    assert told <= 3


def test_what_would_show_is_said() -> None:
    a, b = run("a", curve(20, 1.0, seed=1)), run("b", curve(20, 1.01, seed=2))
    result = compare([a, b])
    assert not result.beyond_noise
    least = float(result.sentence.rpartition("above ")[2].split()[0])
    assert 0.05 < least < 1
    larger = run("c", [x + 1.5 * least + abs(result.margin) for x in b["loss"].values])
    assert compare([a, larger]).winner == "a"


def test_since_when() -> None:
    """Level up to step 400, then b falls away: the lead is dated within a block of that."""
    rng = np.random.default_rng(5)
    a = 2 + 0.05 * rng.normal(size=1000)
    b = 2 + 0.05 * rng.normal(size=1000) - 0.5 * (np.arange(1000) >= 400)
    result = compare([run("a", list(a)), run("b", list(b))])
    assert result.winner == "b"
    assert result.since_step == pytest.approx(401, abs=20)


def test_a_lead_that_was_lost_is_no_lead() -> None:
    t = np.arange(600.0)
    early = list(3 * np.exp(-t / 40) + 1)
    late = list(3 * np.exp(-t / 150) + 0.5)
    result = compare([run("early", early), run("late", late)])
    assert result.winner == "late"
    assert result.since_step is not None
    crossing = int(np.flatnonzero(np.array(early) < np.array(late))[-1])
    assert crossing <= result.since_step <= crossing + 60


def test_a_shared_schedule_cancels_when_steps_are_shared() -> None:
    """Both see the same batches: the difference is small against the noise of each, and still found."""
    rng = np.random.default_rng(6)
    shared = 0.5 * rng.normal(size=400)
    a = 2 + shared + 0.01 * rng.normal(size=400)
    b = 1.95 + shared + 0.01 * rng.normal(size=400)
    assert compare([run("a", list(a)), run("b", list(b))]).winner == "b"
    assert compare([run("a", list(a)), run("b", list(b[:390]))]).winner is None  # unpaired: lost in the noise


def test_a_run_that_ends_in_nan_loses() -> None:
    broken = curve(200, 0.1)
    broken[120:] = [math.nan] * 80
    result = compare([run("broken", broken), run("whole", curve(200, 1.0))])
    assert result.winner == "whole"
    assert result.p_value is None
    assert result.since_step == 121
    assert "non-finite" in result.sentence
    assert math.isnan(result.rows[0].final)


def test_nobody_wins_when_all_end_in_nan() -> None:
    broken = [*curve(50, 1.0)[:20], *[math.nan] * 30]
    result = compare([run("a", broken), run("b", broken)])
    assert result.winner is None
    assert "every" in result.sentence


def test_validation_goes_before_training() -> None:
    a = TrainingHistory(loss=curve(50, 0.2), val_loss=curve(50, 1.5, noise=0.01), name="a")
    b = TrainingHistory(loss=curve(50, 0.6), val_loss=curve(50, 1.0, noise=0.01), name="b")
    assert compare([a, b]).metric == "val_loss"
    assert compare([a, b]).winner == "b"
    assert compare([a, b], "train_loss").winner == "a"
    assert compare([a, b], "loss").winner == "a"


def test_a_maximised_metric() -> None:
    runs = []
    for name, top in (("a", 0.7), ("b", 0.9)):
        history = TrainingHistory(name=name)
        for i, noise in enumerate(np.random.default_rng(len(runs)).normal(size=100)):
            history.record(step=i, val_accuracy=top * (1 - math.exp(-i / 20)) + 0.005 * noise)
        runs.append(history)
    result = compare(runs, "val_accuracy")
    assert (result.winner, result.lower_is_better) == ("b", False)
    assert result.rows[1].best > 0.85


def test_a_direction_that_is_given() -> None:
    context = RunContext(directions={"loss": "max"})
    assert compare([run("a", curve(200, 1.0), context=context), run("b", curve(200, 0.2, seed=1))]).winner == "a"


def test_three_runs_and_the_best_two_level() -> None:
    low = [run(n, curve(300, 0.5, seed=s)) for n, s in (("x", 1), ("y", 2))]
    result = compare([run("high", curve(300, 2.0)), *low])
    assert result.winner is None
    assert not result.beyond_noise
    assert len(result.rows) == 3


def test_different_units_are_compared_at_their_ends_only() -> None:
    result = compare([run("a", curve(100, 1.0)), run("b", curve(300, 0.2, seed=1), step_unit="epoch")])
    assert result.winner == "b"
    assert result.since_step is None
    assert any("units" in note for note in result.notes)


def test_different_lengths_are_said() -> None:
    result = compare([run("a", curve(100, 1.0)), run("b", curve(300, 0.2, seed=1))])
    assert any("100, 300" in note for note in result.notes)


def test_a_restart_is_resolved() -> None:
    """The steps that a resumed run logged twice count once, by their later values."""
    history = TrainingHistory(name="resumed")
    for i in range(100):
        history.record(loss=5.0 if i >= 60 else 3 - i / 50, step=i)
    for i in range(60, 200):
        history.record(loss=1.0 + 0.001 * (i % 3), step=i)
    result = compare([history, run("other", curve(200, 2.0))])
    assert result.winner == "resumed"
    assert result.rows[0].final == pytest.approx(1.0, abs=0.01)


def test_not_comparable() -> None:
    only_train = run("a", curve(50, 1.0))
    only_val = TrainingHistory(val_loss=curve(50, 1.0), name="b")
    ce, mse = (TrainingHistory({f"train/{name}": (range(9), [1.0] * 9)}) for name in ("ce", "mse"))
    for pair, words in [
        ([only_train, only_val], "share neither"),
        ([ce, mse], "same quantity"),
        ([run("a", [1.0, 0.5]), run("b", curve(50, 1.0))], "too few points"),
    ]:
        result = compare(pair)
        assert result.winner is None
        assert result.p_value is None
        assert words in result.sentence


def test_bad_calls() -> None:
    with pytest.raises(UsageError, match="at least two runs, got 1"):
        compare([run("a", curve(50, 1.0))])
    with pytest.raises(UsageError, match=r"b has no metric 'ppl' to compare; it has loss"):
        compare([TrainingHistory({"ppl": (range(9), range(9))}, name="a"), run("b", curve(9, 1.0))], "ppl")


def test_equal_runs_and_equal_names() -> None:
    same = curve(40, 1.0)
    result = compare([run("a", same), run("a", same)])
    assert [r.run for r in result.rows] == ["a (1)", "a (2)"]
    assert result.winner is None
    assert result.p_value == 1.0
