"""The chain of tests: which comes next, what is believed after it, when it ends; nothing of the model is changed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.workup.fakes import GRADIENTS, flat, measured, says, small
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lossdoctor.core.errors import UsageError
from lossdoctor.workup import Patient, Test, WorkUp, workup
from lossdoctor.workup.beliefs import prior
from lossdoctor.workup.experience import Experience

NOTHING_LEARNED = Experience()
CE = nn.functional.cross_entropy


def run(tests: list[Test], **options: Any) -> WorkUp:
    model, optimizer, batches = small()
    given = {"val_loader": None, "optimizer": optimizer, "learned": NOTHING_LEARNED, "progress": False, **options}
    return workup(flat(), model, CE, batches, tests=tests, **given)


def test_the_likelihoods_move_by_the_ratios() -> None:
    result = run([GRADIENTS])
    before = prior(flat().diagnose())
    assert result.prior == pytest.approx(before)
    raised = {**before, "frozen-or-detached": 30 * before["frozen-or-detached"],
              "learning-rate-too-low": 0.2 * before["learning-rate-too-low"]}  # fmt: skip
    total = sum(raised.values())
    assert result.posterior == pytest.approx({c: p / total for c, p in raised.items()}, rel=1e-4)


def test_it_stops_when_one_cause_stands_out() -> None:
    never = Test("overfit_one_batch", says({}), 50)
    result = run([never, GRADIENTS])
    assert [s.test for s in result.tests] == ["check_gradients"]
    assert result.cause == "frozen-or-detached"
    assert result.outcome == "failed"
    assert "stands out" in result.stopped
    assert [a.action for a in result.actions] == ["check_training_loop"]
    assert "parameters that the optimizer does not hold" in result.actions[0].detail
    assert result.steps == 5


def test_the_most_telling_for_its_cost_comes_first() -> None:
    cheap = Test("check_gradients", says({}, "passed", 6), 6)
    dear = Test("overfit_one_batch", says({}, "passed", 900), 900)
    useless = Test("resume_test", says({}, "passed", 1), 1, made_for={"schedule-restart": 0.06})
    result = run([useless, dear, cheap])
    assert [s.test for s in result.tests] == ["check_gradients", "overfit_one_batch"]
    costs = {s.test: s.bits for s in result.tests}
    assert costs["check_gradients"] > 0
    assert "the most for its cost (next overfit_one_batch" in result.tests[0].why


def test_it_ends_when_no_test_can_tell_more() -> None:
    result = run([Test("curvature", says({}, "passed"), 5, made_for={"saddle-or-plateau": 0.051})])
    assert result.tests == ()
    assert result.stopped == "no test that is left is expected to tell more"
    assert result.cause is None
    assert result.outcome == "unknown"
    assert "No cause stands out after 0 tests" in result.verdict
    assert [u.test for u in result.untried] == ["curvature"]


def test_the_budget_is_kept() -> None:
    tests = [Test("check_gradients", says({}, "passed", 6), 6), Test("overfit_one_batch", says({}, steps=90), 90)]
    result = run(tests, budget=50)
    assert [s.test for s in result.tests] == ["check_gradients"]
    assert result.stopped == "the budget is spent"
    assert result.steps == 6
    assert result.untried[0].why == "it may take 90 steps, more than is left of the budget"


def test_reading_the_data_is_not_counted() -> None:
    result = run([Test("check_data", says({"bad-data": 0.5}, "passed", 500), 0)], budget=10)
    assert [(s.test, s.steps) for s in result.tests] == [("check_data", 0)]
    assert result.steps == 0
    assert "bits for reading the data" in result.tests[0].why


def test_a_test_that_raises_is_recorded_and_the_others_go_on() -> None:
    def broken(patient: Patient) -> Any:  # noqa: ARG001
        raise ValueError("labels must be whole numbers")

    result = run([Test("check_gradients", broken, 6), Test("overfit_one_batch", says({"training-loop-bug": 5.0}), 50)])
    first, second = result.tests
    assert first.error == "ValueError: labels must be whole numbers."
    assert first.before == first.after
    assert second.result is not None
    assert "It failed: ValueError" in result.chain()


def test_ctrl_c_goes_through() -> None:
    def stopped(patient: Patient) -> Any:  # noqa: ARG001
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([Test("check_gradients", stopped, 6)])


def test_what_a_missing_part_would_have_told_is_said() -> None:
    splits = Test("compare_splits", says({}), 3, ("val_loader",), made_for={"frozen-or-detached": 0.9})
    result = run([splits])
    assert result.stopped == "what is left to test needs more than was given"
    assert result.untried[0].why == "it needs val_loader="
    assert "compare_splits could have told more" in result.chain()
    _, _, batches = small()
    assert [s.test for s in run([splits], val_loader=batches).tests] == ["compare_splits"]


def test_measurements_are_judged_by_the_rules() -> None:
    gap = measured("dead_fraction", 0.95)
    result = run([Test("check_gradients", says({"dead-units": 50.0}, measurements=gap), 6)])
    assert "LD210" not in {f.code for f in result.before.findings}
    assert "LD210" in {f.code for f in result.diagnosis.findings}
    assert result.measurements == gap
    assert "What was measured adds LD210 dead-units" in result.chain()


def test_what_was_learned_overrules_a_tests_own_opinion() -> None:
    from lossdoctor.workup.experience import Record, said

    claim = says({"frozen-or-detached": 30.0})
    word = said(claim(None))  # type: ignore[arg-type]
    record = Record({word: {"frozen-or-detached": 200.0, "training-loop-bug": 200.0, "gradients-vanish": 200.0}}, {}, 6)
    result = run([Test("check_gradients", claim, 6)], learned=Experience({"check_gradients": record}))
    assert result.tests == ()  # a test that always says the same is not worth running


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 0}, "budget is 0; expected a number of steps"),
        ({"sure": 1.5}, "sure is 1.5 and ahead is 3.0"),
        ({"ahead": 0.5}, "ahead is 0.5"),
        ({"val_loader": iter([])}, "can be read only once"),
    ],
)
def test_what_cannot_be_done_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run([GRADIENTS], **options)


def test_the_result_tells_and_shows_itself() -> None:
    result = run([GRADIENTS, Test("overfit_one_batch", says({}), 50)])
    chain = result.chain()
    assert chain.startswith("The log says: warning (LD201 flat-line).\nBefore any test: frozen-or-detached ")
    assert "1. check_gradients (5 steps): expected to tell" in chain
    assert "Likelier: frozen-or-detached (" in chain
    assert "What to do: check training loop" in chain
    assert "Work-up: The cause is most likely frozen-or-detached (" in str(result)
    told = json.loads(json.dumps(result.as_dict(), default=str))
    assert told["cause"] == "frozen-or-detached"
    assert told["tests"][0]["result"]["outcome"] == "failed"
    assert told["diagnosis"]["status"] == "warning"
    before, after = result.charts()
    assert dict(before.bars)["frozen-or-detached"] < dict(after.bars)["frozen-or-detached"]


def test_the_way_is_shown_where_there_is_one() -> None:
    result = run([Test("check_gradients", says({}, "passed", 6), 6), Test("overfit_one_batch", says({}), 50)])
    path = result.charts()[-1]
    assert [m.label for m in path.marks] == ["check_gradients", "overfit_one_batch"]
    assert list(path.lines[0].x) == [0, 1, 2]


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    run([GRADIENTS], budget=100, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 100)]


# nothing is changed


def careless(patient: Patient) -> Any:
    """A test of somebody else's that cleans nothing up."""
    assert patient.optimizer is not None
    patient.model.eval()
    next(iter(patient.train_loader))
    if patient.val_loader is not None:
        next(iter(patient.val_loader))
    with torch.no_grad():
        for parameter in patient.model.parameters():
            parameter.mul_(2.0).requires_grad_(False)
    for group in patient.optimizer.param_groups:
        group["lr"] = 7.0
    random.random()
    np.random.rand()
    torch.rand(3)
    return says({"bad-initialization": 0.5})(patient)


def failing(patient: Patient) -> Any:
    careless(patient)
    raise RuntimeError("in the middle")


@pytest.mark.parametrize("test", [careless, failing])
def test_everything_comes_back_bit_for_bit(test: Callable[[Patient], Any]) -> None:
    model, optimizer, batches = small()
    data = TensorDataset(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))
    loaders = [DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(s)) for s in (1, 2)]

    def state() -> list[Any]:
        numbers = [t.clone() for t in model.state_dict().values()]
        numbers += [v.clone() for s in optimizer.state_dict()["state"].values() for v in s.values()]
        numbers += [torch.get_rng_state()] + [loader.generator.get_state() for loader in loaders]
        flags = [p.requires_grad for p in model.parameters()] + [m.training for m in model.modules()]
        return [numbers, flags, [g["lr"] for g in optimizer.param_groups], random.getstate()[1][:5]]

    before = state()
    tests = [Test("check_gradients", test, 6), Test("overfit_one_batch", test, 9)]
    workup(flat(), model, CE, loaders[0], loaders[1], optimizer=optimizer, tests=tests, progress=False)
    after = state()
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]
    first = next(iter(loaders[0]))[0]
    again = DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first, next(iter(again))[0])
