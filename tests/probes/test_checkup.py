"""A checkup: the battery in its order, each test guarded, nothing changed, and causes ranked by what results say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tests.probes.traces import trace_of
from torch import Tensor, nn

from lossdoctor import probes
from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import CheckupReport, ProbeResult, Target, checkup
from lossdoctor.probes.checkups.battery import BATTERY, TITLES, chosen
from lossdoctor.probes.checkups.blame import line_of
from lossdoctor.probes.checkups.report import CheckupError, severity

torch.set_num_threads(1)
QUICK = ("initial_loss", "overfit_one_batch", "check_gradients")


def target(model: nn.Module | None = None, **changes: Any) -> Target:
    """Three classes of points that a line parts."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 4, generator=generator)
    y = x[:, :3].argmax(dim=1)
    data = list(zip(x.split(16), y.split(16), strict=True))
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    given: dict[str, Any] = {"loss_fn": nn.CrossEntropyLoss(), "train": data[:4], "val": data[4:]}
    given["optimizer"] = torch.optim.Adam(model.parameters(), lr=0.01)
    return Target(model, **{**given, **changes})


# the battery


def test_the_whole_battery_runs_in_order_and_agrees_with_the_results_names() -> None:
    report = checkup(target(), quick=True, progress=False)
    assert report.errors == ()
    assert report.skipped == ()
    assert [r.test for r in report.results] == [e.test for e in BATTERY if not e.asked]
    assert {r.test: r.title for r in report.results}.items() <= TITLES.items()
    assert report.status in ("healthy", "warning")
    assert report.steps == sum(r.steps for r in report.results) > 100
    assert report.target == "Sequential"


def test_every_test_of_the_battery_is_of_the_vocabulary_and_there() -> None:
    assert set(TITLES) <= TESTS
    assert all(callable(getattr(probes, exam.function)) for exam in BATTERY)
    assert all(exam.quick_cost < exam.cost or exam.cost == 0 for exam in BATTERY)


def test_tests_are_selected_and_ignored_by_name() -> None:
    assert [e.test for e in chosen(["curvature,".strip(","), "initial-loss"], [])] == ["initial_loss", "curvature"]
    assert "overfit_subset" not in [e.test for e in chosen([], [])]
    assert [e.test for e in chosen(["overfit_subset"], [])] == ["overfit_subset"]
    assert len(chosen([], ["check_data", "curvature"])) == len(chosen([], [])) - 2
    with pytest.raises(UsageError, match=r"unknown test 'curvatur'; tests are .*; did you mean 'curvature'\?"):
        chosen(["curvatur"], [])
    with pytest.raises(UsageError, match="no test is left"):
        chosen(["curvature"], ["curvature"])


def test_what_a_test_lacks_is_said_and_the_others_run() -> None:
    report = checkup(
        target(val=None, optimizer=None), select=["compare_splits", "initial_loss", "lr_range_test"], progress=False
    )
    assert [r.test for r in report.results] == ["initial_loss"]
    assert [(s.test, s.why) for s in report.skipped] == [
        ("compare_splits", "there is no 'val' in what was given"),
        ("lr_range_test", "there is no 'optimizer' in what was given"),
    ]


# guards


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


def test_a_model_that_raises_is_told_with_its_line_and_the_data_are_still_checked() -> None:
    report = checkup(target(Broken()), select=[*QUICK, "check_data"], progress=False)
    assert [r.test for r in report.results] == ["check_data"]
    assert {e.test for e in report.errors} == set(QUICK)
    line = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "self.layer(x)" in text)
    assert {e.where for e in report.errors} == {f"{_here()}:{line}"}
    assert all("raised RuntimeError" in e.error for e in report.errors)
    ((first, titles),) = report.broken
    assert len(titles) == 3
    assert report.mostly_broken
    assert report.next_steps[0].startswith(
        f"Mend {first.where}, which kept 3 tests from running: the model, on batch 0"
    )


def _here() -> str:
    import os

    inside = os.path.relpath(__file__)
    return __file__ if inside.startswith("..") else inside


def test_a_test_that_is_broken_itself_is_an_error_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> ProbeResult:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(probes, "check_initial_loss", broken, raising=False)
    monkeypatch.setenv("LOSSDOCTOR_RAISE", "")
    report = checkup(target(), select=QUICK, progress=False)
    assert [r.test for r in report.results] == list(QUICK[1:])
    (error,) = report.errors
    assert "the test itself failed (ZeroDivisionError: oops)" in error.error
    monkeypatch.setenv("LOSSDOCTOR_RAISE", "1")
    with pytest.raises(ZeroDivisionError):
        checkup(target(), select=QUICK, progress=False)


def test_ctrl_c_ends_the_checkup_and_leaves_no_trace() -> None:
    made, calls = target(), []
    assert made.loss_fn is not None
    loss = made.loss_fn

    def pressed(output: Tensor, goal: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return loss(output, goal)  # type: ignore[no-any-return]

    made.loss_fn = pressed
    before = trace_of(made.model, made.optimizer)
    with pytest.raises(KeyboardInterrupt):
        checkup(made, select=QUICK, progress=False)
    assert trace_of(made.model, made.optimizer) == before


def test_nothing_is_changed() -> None:
    made = target()
    optimizer = made.optimizer
    assert optimizer is not None
    for x, y in made.train or ():
        optimizer.zero_grad()
        made.loss_fn(made.model(x), y).backward()  # type: ignore[misc]
        optimizer.step()
    before = trace_of(made.model, made.optimizer)
    report = checkup(made, quick=True, progress=False)
    assert report.errors == ()
    assert trace_of(made.model, made.optimizer) == before


def test_a_seed_makes_it_repeatable_whatever_came_before() -> None:
    first = checkup(target(), select=["overfit_one_batch"], seed=3, progress=False)
    torch.rand(100)
    second = checkup(target(), select=["initial_loss", "overfit_one_batch"], seed=3, progress=False)
    assert first.results[0].rows() == second.results[1].rows()
    with pytest.raises(UsageError, match="the seed is -1; give a whole number from 0"):
        checkup(target(), seed=-1, progress=False)


# budget


def test_a_small_budget_makes_tests_short_and_leaves_the_dear_ones_out() -> None:
    report = checkup(target(), budget=150, progress=False)
    told = {s.test: s.why for s in report.skipped}
    assert "overfit_one_batch" in told
    assert "150 are left" not in told["overfit_one_batch"]
    assert "in short" in told["overfit_one_batch"]
    assert "initial_loss" in {r.test for r in report.results}
    assert report.steps <= 150 + max(e.quick_cost for e in BATTERY)


def test_a_large_budget_runs_all_in_full() -> None:
    report = checkup(target(), select=["initial_loss", "lr_range_test"], budget=10_000, progress=False)
    full = checkup(target(), select=["initial_loss", "lr_range_test"], progress=False)
    assert [r.steps for r in report.results] == [r.steps for r in full.results]
    quick = checkup(target(), select=["initial_loss", "lr_range_test"], quick=True, progress=False)
    assert sum(r.steps for r in quick.results) < sum(r.steps for r in full.results)
    # 8 for the first leave 192: in full the second takes 180.
    tight = checkup(target(), select=["initial_loss", "lr_range_test"], budget=100, progress=False)
    assert [r.steps for r in tight.results] == [full.results[0].steps, quick.results[1].steps]


def test_reading_the_data_is_not_counted() -> None:
    report = checkup(target(), select=["check_data", "initial_loss", "curvature"], budget=15, progress=False)
    assert [r.test for r in report.results] == ["initial_loss", "check_data"]
    assert [s.test for s in report.skipped] == ["curvature"]


@pytest.mark.parametrize("budget", [0, -5, 2.5, True])
def test_a_budget_is_a_number_of_steps(budget: Any) -> None:
    with pytest.raises(UsageError, match="expected a number of steps, at least 1"):
        checkup(target(), budget=budget)


def test_progress_names_each_test() -> None:
    seen: list[tuple[int, int, str]] = []
    checkup(target(), select=QUICK, progress=lambda done, total, name: seen.append((done, total, name)))
    assert [s for s in seen if " of " not in s[2]] == [(i, 3, TITLES[test]) for i, test in enumerate(QUICK)]
    assert any(" of " in name for _, _, name in seen)


# the report


class Said(ProbeResult):
    test: ClassVar[str] = "check_gradients"


class One(ProbeResult):
    test: ClassVar[str] = "overfit_one_batch"


def said(outcome: str = "failed", kind: type[ProbeResult] = Said, **given: Any) -> ProbeResult:
    return kind(outcome=outcome, verdict="So it is.", **given)


def test_how_severe_a_result_is() -> None:
    assert [severity(said(o)) for o in ("passed", "noted", "failed", "unknown")] == [None, "info", "warning", None]
    assert severity(said(kind=One)) == "critical"
    assert severity(said("noted", One)) == "info"
    assert severity(said(measurements=(Measurement("nonfinite_gradients", 0.1),))) == "critical"
    assert severity(said(measurements=(Measurement("nonfinite_gradients", 0.0),))) == "warning"


def test_a_critical_finding_of_the_data_is_critical() -> None:
    x, y = torch.randn(64, 3), torch.randint(0, 2, (64,))
    x[3, 1] = torch.nan
    data = list(zip(x.split(16), y.split(16), strict=True))
    model = nn.Linear(3, 2)
    report = checkup((model, nn.CrossEntropyLoss(), data), select=["check_data"], progress=False)
    assert report.status == "critical"
    assert report.fails("critical")


@pytest.mark.parametrize(
    ("outcomes", "status", "warning", "critical"),
    [
        (["passed", "unknown"], "healthy", False, False),
        (["passed", "noted"], "healthy", False, False),
        (["passed", "failed"], "warning", True, False),
        (["unknown"], "insufficient_data", False, False),
        ([], "insufficient_data", False, False),
    ],
)
def test_status_and_exit(outcomes: list[str], status: str, warning: bool, critical: bool) -> None:
    report = CheckupReport("a", tuple(said(o) for o in outcomes))
    assert report.status == status
    assert (report.fails("warning"), report.fails("critical"), report.fails("never")) == (warning, critical, False)


def test_what_mostly_could_not_be_run_is_not_called_healthy() -> None:
    errors = (CheckupError("curvature", "why"), CheckupError("check_data", "why"))
    assert CheckupReport("a", (said("passed"),), errors).status == "insufficient_data"
    assert CheckupReport("a", (said("passed"),), errors[:1]).status == "healthy"
    assert CheckupReport("a", (said("failed"),), errors).status == "warning"


def test_what_fails_is_told_first_and_the_critical_before() -> None:
    report = CheckupReport("a", (said("noted"), said("passed"), said(), said(kind=One)))
    assert [severity(r) for r in report.worst_first()] == ["critical", "warning", "info"]
    assert report.basis == "Of 4 tests: 2 failed, 1 worth knowing, 1 passed."


def test_causes_are_multiplied_onto_flat_priors() -> None:
    first = said(causes={"dead-units": 6.0, "gradients-vanish": 4.0, "label-noise": 0.2})
    second = said("failed", One, causes={"dead-units": 4.0, "gradients-vanish": 10.0})
    report = CheckupReport("a", (first, second))
    total = 24 + 40 + 0.2 + (len(CAUSES) - 3)
    assert [(c.name, c.likelihood) for c in report.causes] == [
        ("gradients-vanish", pytest.approx(40 / total)),
        ("dead-units", pytest.approx(24 / total)),
    ]
    assert report.evidence("dead-units") == {"check_gradients": 6.0, "overfit_one_batch": 4.0}
    assert report.next_steps[0].startswith("Gradients vanish: ")


def test_what_passed_names_no_cause_but_speaks_against() -> None:
    passed = said("passed", One, causes={"training-loop-bug": 2.0})
    assert CheckupReport("a", (passed,)).causes == ()
    both = CheckupReport("a", (said("passed", One, causes={"dead-units": 0.1}), said(causes={"dead-units": 6.0})))
    assert both.causes == ()


def test_a_test_that_would_tell_more_is_named() -> None:
    report = CheckupReport("a", (said(causes={"learning-rate-too-high": 30.0}),))
    assert report.next_steps[-1] == "The test lr_trial would tell more about: learning rate too high."


def test_the_report_in_plain_values_is_strict_json() -> None:
    import json

    from lossdoctor.render.jsonout import to_json

    report = checkup(target(Broken()), select=["initial_loss", "check_data", "compare_splits"], progress=False)
    told = json.loads(to_json(report.as_dict()))
    assert told["schema_version"] == 1
    assert [r["test"] for r in told["results"]] == ["check_data"]
    assert {e["test"] for e in told["errors"]} == {"initial_loss", "compare_splits"}
    assert told["facts"]["model"] == "Broken"


def test_as_text_it_has_what_was_found_and_what_to_do() -> None:
    told = str(CheckupReport("a", (said(causes={"dead-units": 30.0}),), (CheckupError("curvature", "why", "f.py:3"),)))
    assert told.startswith("a: warning. Of 2 tests: 1 failed, 1 could not be run.")
    assert "1. Mend f.py:3, which kept 1 test from running: why" in told


# whose line it was


def test_the_line_of_the_user_is_found_under_that_of_a_library() -> None:
    def users() -> None:
        torch.zeros(2) @ torch.zeros(3)  # the line

    line = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "# the line" in text)
    with pytest.raises(RuntimeError) as caught:
        users()
    assert line_of(caught.value) == f"{_here()}:{line}"


def test_a_syntax_error_has_its_line() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("a = 1\nb = (", "train.py", "exec")
    assert line_of(caught.value) == "train.py:2"
