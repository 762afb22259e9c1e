"""The live verdict is that of the log so far, bit for bit, whatever the log looks like."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossdoctor.engine.surviving as engine_surviving
from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.live.judging import lanes
from lossdoctor.live.judging.judge import LiveJudge
from lossdoctor.live.rows import Row
from tests.live.judging.rows_of import compared, judge_of, offline, rows_of, told
from tests.rules import runs

REAL = [(name, h) for name, h in runs.real() if 0 < sum(map(len, h.curves.values())) <= 4000]


def agree(judge: LiveJudge, rows: list[Row], looks: Sequence[int]) -> None:
    for look, live, read in compared(judge, rows, looks):
        assert live == read, f"after {look} rows"


def looks_at(rows: list[Row], count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(1, len(rows) + 1, count).tolist()


@pytest.mark.parametrize(("name", "history"), REAL, ids=[name for name, _ in REAL])
def test_public_logs(name: str, history: TrainingHistory) -> None:
    rows = rows_of(history)
    agree(judge_of(history), rows, looks_at(rows, 3, len(name)))


@pytest.mark.parametrize("run", runs.trained()[::16], ids=lambda r: r.name)
def test_runs_of_the_clinic(run: runs.Trained) -> None:
    rows = rows_of(run.history)
    agree(judge_of(run.history), rows, looks_at(rows, 3, 1))


def test_every_row_of_a_short_run() -> None:
    (run,) = (r for r in runs.sick() if r.name.startswith("247"))
    rows = rows_of(run.history)[:150]
    agree(judge_of(run.history), rows, range(1, len(rows)))


# what a log can do to its axis, made small enough to be looked at after every row

_values = st.one_of(
    st.floats(0.01, 10.0), st.sampled_from([1.0, 1.0, 0.5, math.nan, math.inf, -math.inf, 0.0, 1e300, 5e-324])
)
_moves = st.sampled_from(["on", "on", "on", "on", "on", "repeat", "copy", "back", "far back", "ahead"])


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    names = draw(st.sampled_from([("loss",), ("loss", "val_loss"), ("loss", "val_loss", "lr", "grad_norm")]))
    late = draw(st.sampled_from(["", "train/loss", "val_loss", "loss"]))
    rows: list[Row] = []
    step, values = 0, dict.fromkeys(names, 1.0)
    for at, move in enumerate(draw(st.lists(_moves, min_size=8, max_size=90))):
        if move != "copy":
            values = {n: draw(_values) for n in names if n != "val_loss" or at % 4 == 0}
            if late and at > 20:
                values[late] = draw(_values)
        step += {"on": 1, "ahead": 7, "back": -2, "far back": -15}.get(move, 0)
        rows.append(Row(step, values, 0.0))
    return rows


@settings(max_examples=30, deadline=None)
@given(logs(), st.integers(1, 5), st.sampled_from(["step", "epoch"]))
def test_any_axis(rows: list[Row], every: int, unit: str) -> None:
    agree(LiveJudge(step_unit=unit), rows, range(every, len(rows), every))


def test_steps_go_back_and_on_again() -> None:
    rng = np.random.default_rng(3)
    steps = [*range(0, 400, 2), *range(300, 700, 2), *range(500, 900, 2)]
    rows = [
        Row(
            s, {"loss": 2 * 0.99**s + 0.05 * rng.normal() + 1, **({"val_loss": 1.5 + 0.9**s} if i % 10 == 0 else {})}, 0
        )
        for i, s in enumerate(steps)
    ]
    judge = LiveJudge()
    agree(judge, rows, [100, 199, 200, 201, 202, 260, 399, 400, 401, 402, 403, 450])
    assert [s["first_step"] for s in judge.verdict().as_dict()["segments"]] == [0, 300, 500]


def test_after_a_restart_only_new_points_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = LiveJudge()
    for step in (*range(1000), *range(800, 1500)):
        judge.add(Row(step, {"loss": 1 + 1 / (step + 1)}, 0.0))
    judge.verdict()

    def never(*_: object) -> None:
        raise AssertionError("all points were looked at once more")

    for module, names in ((lanes, ("surviving", "breaks", "segments_of")), (engine_surviving, ("curve_pieces",))):
        for name in names:
            monkeypatch.setattr(module, name, never)
    for step in range(1500, 1600):
        judge.add(Row(step, {"loss": 1 + 1 / (step + 1)}, 0.0))
    assert judge.verdict().history.points == 1800


def test_one_row_per_epoch_with_every_evaluation() -> None:
    rows = [Row(e, {"loss": 3 / (e + 1), "val_loss": 3 / (e + 1) + 0.01 * max(0, e - 20)}, 0.0) for e in range(60)]
    agree(LiveJudge(), rows, range(3, 60, 3))
    agree(LiveJudge(step_unit="epoch"), rows, range(3, 60, 3))


def test_many_rows_of_one_epoch() -> None:
    rng = np.random.default_rng(0)
    rows = [Row(i // 30, {"loss": round(2 / (i + 1) ** 0.5 + 0.1 * rng.random(), 2)}, 0.0) for i in range(600)]
    agree(LiveJudge(step_unit="epoch"), rows, range(7, 600, 41))


@pytest.mark.parametrize("copies", [2, 9, 12])
def test_copies_of_rows(copies: int) -> None:
    rows = [Row(i // copies, {"loss": 2 * 0.98 ** (i // copies)}, 0.0) for i in range(400)]
    rows += [Row(400 + i, {"loss": 0.1}, 0.0) for i in range(100)]
    agree(LiveJudge(), rows, range(5, 500, 33))


def test_terms_of_a_loss_without_their_total() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for step in range(300):
        terms = {
            f"{part}_loss": k + 2 * 0.98**step + 0.05 * rng.normal() for k, part in enumerate(("box", "cls", "dfl"))
        }
        rows += [Row(step, {name: value}, 0.0) for name, value in terms.items()]
        if step % 5 == 0:
            rows.append(Row(step, {f"val/{name}": value + 0.1 for name, value in terms.items()}, 0.0))
    judge = LiveJudge()
    agree(judge, rows, [1, 2, 3, 4, 5, 6, 7, 8, 13, 100, 301, 302, 303, 304, 500, 801])
    assert judge.verdict().history.roles.terms("train_loss") == ("box_loss", "cls_loss", "dfl_loss")
    assert judge.verdict().history.points == 300


def test_twenty_terms_are_added_in_the_order_of_a_whole_log() -> None:
    rng = np.random.default_rng(2)
    terms = [f"t{k}" + "abcdefghijklmnopqrst"[k] + "_loss" for k in range(20)]
    rows = []
    for step in range(40):
        values = {name: float(rng.random()) for name in terms}
        rows.append(Row(step, {**values, **{f"val_{n}": v for n, v in values.items()}}, 0.0))
    agree(LiveJudge(), rows, [1, 2, 3, 9, 40])


def test_a_total_that_appears_late_takes_the_place_of_its_terms() -> None:
    rows = [Row(s, {"box_loss": 1 / (s + 1), "cls_loss": 2 / (s + 1)}, 0.0) for s in range(100)]
    rows += [Row(s, {"val/box_loss": 1 / (s + 1), "val/cls_loss": 2 / (s + 1)}, 0.0) for s in range(100)]
    rows += [Row(s, {"box_loss": 0.1, "loss": 1 + 1 / (s + 1)}, 0.0) for s in range(100, 160)]
    agree(LiveJudge(), rows, range(10, 260, 10))


def test_layers_whose_number_grows() -> None:
    rows = []
    for step in range(120):
        layers = range(3 if step < 40 else 12)
        rows.append(Row(step, {"loss": 1.0, **{f"grad_norm/layers.{k}": 0.1 ** (12 - k) for k in layers}}, 0.0))
    agree(LiveJudge(), rows, range(5, 120, 10))


def test_long_enough_for_merged_blocks() -> None:
    rng = np.random.default_rng(5)
    n = 70_000
    loss = 2 * np.exp(-5 * np.arange(n) / n) + 0.3 + 0.05 * rng.standard_normal(n)
    loss[50_000:50_010] = np.nan
    rows = [Row(i, {"loss": float(v), "lr": 1e-3}, 0.0) for i, v in enumerate(loss)]
    agree(LiveJudge(), rows, [2047, 2049, 4097, 65_535, 65_537, 66_000])


# what is given beside the rows


def test_chosen_metrics_context_and_rules() -> None:
    rows = [Row(s, {"a": 2.4, "b": 1 / (s + 1)}, 0.0) for s in range(80)]
    settings = Settings(metrics={"train_loss": "a"}, context={"classes": "11"}, ignore=("LD204",))
    judge = LiveJudge({"val_loss": "b"}, {"planned_steps": 500}, settings=settings)
    judge.extend(rows)
    history = offline(judge, rows)
    history.set_roles({"train_loss": "a", "val_loss": "b"})
    assert told(judge.verdict()) == told(history.diagnose(RunContext(planned_steps=500), settings=settings))


def test_a_chosen_metric_may_come_late() -> None:
    judge = LiveJudge({"train_loss": "late"})
    judge.extend(Row(s, {"loss": 1 / (s + 1)}, 0.0) for s in range(20))
    assert judge.verdict().history.roles.primary("train_loss") == "loss"
    judge.extend(Row(s, {"late": 1 / (s + 1)}, 0.0) for s in range(20, 40))
    assert judge.verdict().history.roles.primary("train_loss") == "late"


def test_what_cannot_be_chosen() -> None:
    with pytest.raises(UsageError, match=r"unknown role 'trainloss'.*did you mean 'train_loss'"):
        LiveJudge({"trainloss": "a"})
    with pytest.raises(UsageError, match="two roles on 'a'"):
        LiveJudge({"train_loss": "a", "val_loss": "a"})


def test_nothing_to_judge() -> None:
    agree(LiveJudge(), [], [0])
    agree(LiveJudge(), [Row(0, {}, 0.0), Row(1, {"speed": 3.0}, 0.0)], [1])


def test_a_restart_is_known_to_the_rules() -> None:
    judge = LiveJudge()
    judge.restart(300)
    assert [(e["kind"], e["step"]) for e in judge.verdict().events] == [("session_start", 300)]


# the history of a verdict


def test_the_history_is_that_of_its_moment() -> None:
    judge = LiveJudge()
    judge.extend(Row(s, {"loss": 1 / (s + 1)}, 0.0) for s in range(5000))
    early = judge.verdict()
    judge.extend(Row(s, {"loss": 7.0}, 0.0) for s in range(5000, 9000))
    judge.verdict()
    history = early.history
    assert (len(history), history.points, len(history.segments)) == (5000, 5000, 1)
    assert history["loss"].values[-1] == 1 / 5000
    assert told(history.diagnose()) == told(early)
    assert told(pickle.loads(pickle.dumps(history)).diagnose()) == told(early)
    history.record(loss=3.0)
    assert (history.points, history.loss[-1], history["loss"].steps[-1]) == (5001, 3.0, 5000)


def test_a_verdict_copies_no_points(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = LiveJudge()
    judge.extend(Row(s, {"loss": 1 / (s + 1), "val_loss": 2 / (s + 1)}, 0.0) for s in range(3000))
    judge.verdict()
    judge.extend(Row(s, {"loss": 1 / (s + 1)}, 0.0) for s in range(3000, 3100))

    def never(*_: object) -> None:
        raise AssertionError("a curve was copied")

    monkeypatch.setattr("lossdoctor.live.judging.packed.Prefix.freeze", never)
    diagnosis = judge.verdict()
    assert diagnosis.as_dict()["points"] == diagnosis.history.points == len(diagnosis.history) == 3100


# when


def test_a_first_nonfinite_loss_is_judged_at_once_and_once() -> None:
    judge = LiveJudge()
    judge.add(Row(0, {"loss": 1.0, "speed": math.nan}, 0.0))
    assert not judge.due(0.0)
    judge.add(Row(1, {"loss": math.nan}, 0.0))
    assert judge.due(0.1)
    assert judge.verdict().status == "critical"
    judge.add(Row(2, {"loss": math.inf}, 0.0))
    assert not judge.due(0.2)
