"""The benchmark's patients are the faulty set-ups that they claim to be, and what their tests say is kept."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from benchmarks.clinic import corpus
from benchmarks.clinic.config import Config
from benchmarks.workup_fit import Seen, as_json, counted
from benchmarks.workup_patients import Case, patient, replayed, said

from benchmarks import workup_patients
from lossdoctor.workup.experience import from_json
from lossdoctor.workup.menu import MENU


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CACHE", tmp_path)
    monkeypatch.setattr(workup_patients, "CACHE", tmp_path)


def case(fault: str = "healthy", cause: str = "normal", **fields: float) -> Case:
    config = Config("diabetes", seed=3, lr=1e-3, steps=60, batch_size=32, fault=fault)
    return Case(config.change(params=tuple(sorted(fields.items()))), (cause,), 0)


def test_a_frozen_model_is_given_frozen() -> None:
    ill = patient(case("frozen_parameters", "frozen-or-detached", all_but_bias=0.0))
    assert not any(p.requires_grad for p in ill.model.parameters())


def test_a_bad_batch_is_where_the_run_met_it() -> None:
    ill = patient(case("nan_in_data", "bad-batch", at=4.0))
    bad = [i for i, (x, _) in enumerate(ill.train_loader, 1) if not x.isfinite().all()]
    assert bad == [4]
    assert bad == [i for i, (x, _) in enumerate(ill.train_loader, 1) if not x.isfinite().all()]  # in every pass
    assert all(p.isfinite().all() for p in ill.model.parameters())  # the lost end is given as the start
    assert ill.reset is False


def test_a_summed_loss_is_given_summed() -> None:
    well, ill = patient(case()), patient(case("wrong_reduction", "loss-misused", times=32.0))
    x, y = next(iter(well.train_loader))
    output = torch.zeros(len(x), 1)
    assert ill.loss_fn is not None
    assert well.loss_fn is not None
    target = y.reshape(output.shape)
    assert float(ill.loss_fn(output, target)) == pytest.approx(32 * float(well.loss_fn(output, target)))


def test_reset_brings_the_start_back() -> None:
    well = patient(case())
    assert callable(well.reset)
    trained = next(well.model.parameters()).clone()
    well.reset(well.model)
    assert not torch.equal(trained, next(well.model.parameters()))


def test_what_tests_say_is_kept_and_replayed() -> None:
    menu = [t for t in MENU if t.name in ("initial_loss", "check_data")]
    well = case()
    kept = said(well, menu=menu)
    assert set(kept) == {"initial_loss", "check_data"}
    assert well.path.exists()
    again = said(well, menu=menu)
    assert again == kept
    for test in replayed(kept, menu):
        result = test.run(None)  # type: ignore[arg-type]
        assert (result.outcome, dict(result.causes)) == (kept[test.name]["outcome"], kept[test.name]["causes"])


def test_what_was_said_is_counted() -> None:
    entry = {"outcome": "failed", "verdict": "", "causes": {"outliers": 8.0}, "steps": 5, "seconds": 0.0}
    other = {**entry, "outcome": "passed", "causes": {"outliers": 0.5}, "steps": 7}
    ill = Case(case().config, ("outliers", "bad-data"), 0)
    known = counted([Seen(ill, {"check_data": entry}), Seen(case(), {"check_data": other})])
    record = from_json(as_json(known)).records["check_data"]
    assert sum(row.get("outliers", 0.0) for row in record.said.values()) == 1.0
    assert sum(row.get("bad-data", 0.0) for row in record.said.values()) == 0.5
    assert sum(row.get("normal", 0.0) for row in record.said.values()) == 1.0
    assert record.steps == 6
    assert math.isclose(next(r["outliers"] for r in record.ratios.values() if r.get("outliers", 1) > 1), 8.0)
