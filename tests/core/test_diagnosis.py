"""A diagnosis: attributes, the seeds' keys, the entry of the JSON contract."""

from __future__ import annotations

import pytest

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.history import TrainingHistory


def finding(name: str, severity: str, *actions: Action, code: str = "LD999") -> Finding:
    return Finding(code, name, severity, 0.9, "loss", "it is so", actions=actions)


RUN = TrainingHistory({"loss": ([5, 1, 9], [3.0, 2.0, 1.0])}, path="x.csv", format="csv")


def diagnosis(*findings: Finding, status: str = "critical", history: TrainingHistory | None = None) -> Diagnosis:
    return Diagnosis(status, "why", findings, RUN if history is None else history)


def test_the_seeds_keys_are_exact() -> None:
    d = diagnosis(
        finding("loss-nonfinite", "critical", Action("reduce_learning_rate", "by 10x"), Action("clip_gradients")),
        finding("loss-divergence", "critical", Action("clip_gradients")),
        finding("plateau", "warning", Action("increase_learning_rate")),
        finding("flat-line", "warning"),
        finding("overfitting", "warning", Action("stop_early", "restore step 840")),
        finding("loss-spike", "info", Action("clean_data")),
    )
    assert d["issues"] == ["LOSS_EXPLOSION", "LOSS_PLATEAU", "OVERFITTING"]
    assert d["status"] == "critical"
    assert d["recommendations"] == [
        "Reduce learning rate: by 10x",
        "Clip gradients",
        "Increase learning rate",
        "Stop early: restore step 840",
    ]
    assert list(d.keys()) == ["status", "issues", "recommendations"]
    assert dict(d) == {k: d[k] for k in ("status", "issues", "recommendations")}
    assert "issues" in d
    assert "findings" not in d
    with pytest.raises(KeyError, match="a diagnosis has 'status', 'issues' and 'recommendations'"):
        d["findings"]


def test_info_findings_are_no_issues_and_no_alarm() -> None:
    d = diagnosis(finding("loss-spike", "info", Action("clean_data")), status="healthy")
    assert (d.issues, d.recommendations, d.alarm) == ([], [], False)
    assert [diagnosis(status=s).alarm for s in ("healthy", "insufficient_data", "warning", "critical")] == [
        False,
        False,
        True,
        True,
    ]


def test_the_advice_is_the_first_action_there_is() -> None:
    d = diagnosis(finding("a", "warning"), finding("b", "warning", Action("stop_early")))
    assert d.advice == Action("stop_early")
    assert diagnosis().advice is None


def test_the_json_entry_has_every_field_of_the_contract() -> None:
    full = Finding(
        "LD301",
        "overfitting",
        "warning",
        0.93456,
        "val_loss",
        "rises",
        840,
        {"rise": 0.31},
        (Cause("capacity-exceeds-data", 0.7, "overfit_one_batch"),),
        (Action("stop_early", "restore step 840"),),
        ("LD306",),
    )
    missing = Abstention("LD207", "number of classes")
    d = Diagnosis("warning", "why", (full,), RUN, abstained=(missing,), notes=("cut off",))
    entry = d.as_dict()
    assert {
        k: entry[k] for k in ("run", "format", "metrics", "points", "first_step", "last_step", "step_unit", "status")
    } == {
        "run": "x.csv",
        "format": "csv",
        "metrics": {"train_loss": ["loss"]},
        "points": 3,
        "first_step": 1,
        "last_step": 9,
        "step_unit": "step",
        "status": "warning",
    }
    assert entry["findings"][0]["causes"] == [
        {"name": "capacity-exceeds-data", "likelihood": 0.7, "test": "overfit_one_batch"}
    ]
    assert entry["findings"][0]["actions"] == [
        {"action": "stop_early", "detail": "restore step 840", "safety": "cheap"}
    ]
    assert (entry["findings"][0]["onset_step"], entry["findings"][0]["explains"]) == (840, ["LD306"])
    assert entry["abstained"] == [{"code": "LD207", "needs": "number of classes"}]
    assert entry["notes"] == ["cut off"]
    assert entry["segments"] == [{"first_step": 1, "last_step": 9}]


def test_a_run_without_curves_has_no_steps() -> None:
    entry = diagnosis(history=TrainingHistory(name="empty"), status="insufficient_data").as_dict()
    assert (entry["run"], entry["points"], entry["first_step"], entry["last_step"], entry["segments"]) == (
        "empty",
        0,
        None,
        None,
        [],
    )
