"""Diagnoses made by hand, so that what shows them can be tested without the rules."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.report import Comparison, ComparisonRow, Report

GOLDEN = Path(__file__).parent / "golden"
EVIL = "<script>alert('x')</script>\x1b[31m\u202e\udcff"


def wobble(n: int, size: float, seed: int = 1) -> np.ndarray:
    """Noise that every version of NumPy makes alike."""
    k = np.arange(n, dtype=np.float64) + seed
    return size * (np.sin(k * 12.9898) * 43758.5453 % 1.0 - 0.5)


def exploded() -> Diagnosis:
    n = 2600
    steps = np.arange(1, n + 1)
    loss = 2.3 * np.exp(-steps / 700) + 0.4 + wobble(n, 0.1)
    loss[1900:1990] *= np.linspace(1, 8, 90)
    loss[1990:] = np.nan
    loss[700] = np.inf
    norm = np.abs(1 + wobble(n, 0.4, 7))
    norm[1850:1990] *= np.linspace(1, 300, 140)
    norm[1990:] = np.nan
    at = steps[99::100]
    val = np.where(at > 1990, np.nan, 2.3 * np.exp(-at / 700) + 0.5)
    rate = np.minimum(steps / 500, 1) * 3e-4
    history = TrainingHistory(
        {"loss": (steps, loss), "val_loss": (at, val), "grad_norm": (steps, norm), "lr": (steps, rate)},
        path="runs/exp12/metrics.csv",
        format="csv",
        notes=["last record cut off at byte 81,220"],
    )
    nonfinite = Finding(
        "LD101",
        "loss-nonfinite",
        "critical",
        0.998,
        "loss",
        "The loss became NaN at step 1,991 and stayed so for the remaining 610 points.",
        1991,
        {"first_nonfinite_step": 1991, "nonfinite_points": np.int64(611), "last_finite": 4.112, "ratio": float("inf")},
        (Cause("learning-rate-too-high", 0.7, "lr_trial"), Cause("no-warmup", 0.3)),
        (
            Action("restore_checkpoint", "one from before step 1,900"),
            Action("reduce_learning_rate", "divide by 3, to about 1e-4"),
        ),
        ("LD102",),
    )
    divergence = Finding(
        "LD102",
        "loss-divergence",
        "critical",
        0.93,
        "loss",
        "The smoothed loss rises from 0.55 to 4.1.",
        1905,
        {"rise": 3.56},
        calibrated=True,
    )
    spike = Finding("LD103", "loss-spike", "info", 0.8, "loss", "One spike at step 701.", 701)
    return Diagnosis(
        "critical",
        "The training loss stops being a number at step 1,991.",
        (nonfinite, divergence, spike),
        history,
        (Abstention("LD207", "number of classes"), Abstention("LD202", "number of classes")),
        ({"kind": "restart", "step": 4},),
        tuple(history.notes),
    )


def overfitted() -> Diagnosis:
    n = 4000
    steps = np.arange(1, n + 1)
    at = steps[49::50]
    loss = 2 * np.exp(-steps / 900) + 0.05 + np.abs(wobble(n, 0.08))
    val = 2 * np.exp(-at / 500) + 0.35 + 0.00018 * np.maximum(at - 1200, 0) + wobble(len(at), 0.03)
    history = TrainingHistory({"train/loss": (steps, loss), "validation/loss": (at, val)}, path="runs/b/log.jsonl")
    history.format = "jsonl"
    finding = Finding(
        "LD301",
        "overfitting",
        "warning",
        0.95,
        "validation/loss",
        "Validation rose from its minimum 0.53 at step 1,250 to 0.85 while training still fell.",
        1250,
        {"rise": 0.32, "noise": 0.021},
        (Cause("capacity-exceeds-data", 0.7, "overfit_subset"), Cause("label-noise", 0.3, "check_data")),
        (Action("stop_early", "restore step 1,250"), Action("add_regularization", "weight decay")),
        ("LD306",),
        True,
    )
    return Diagnosis("warning", "Validation rises from step 1,200 on.", (finding,), history)


def healthy(path: str = "runs/c.csv", n: int = 300) -> Diagnosis:
    steps = np.arange(n)
    curves = {
        "loss": (steps, 2 * np.exp(-steps / 60) + 0.2),
        "val_loss": (steps[::10], 2 * np.exp(-steps[::10] / 60) + 0.3),
    }
    history = TrainingHistory(curves, path=path, format="csv", step_unit="epoch")
    return Diagnosis("healthy", "Training and validation fall together, gap 4 %.", (), history)


def resumed() -> Diagnosis:
    steps = np.r_[np.arange(0, 1000), np.arange(800, 2000)]
    loss = 3 * np.exp(-steps / 400) + 0.5
    history = TrainingHistory({"loss": (steps, loss)}, path="runs/d.jsonl", format="jsonl")
    finding = Finding(
        "LD402",
        "step-axis-broken",
        "info",
        0.99,
        "loss",
        "The steps go back from 999 to 800.",
        800,
        actions=(Action("none", "judged as two segments"),),
    )
    return Diagnosis("healthy", "The loss falls in both segments.", (finding,), history)


def tiny() -> Diagnosis:
    history = TrainingHistory(loss=[3, 2, 1], name="tiny")
    return Diagnosis("insufficient_data", "3 points are too few to judge.", (), history)


def evil() -> Diagnosis:
    """A run whose every string tries to break out."""
    metric = f"loss {EVIL}"
    history = TrainingHistory(
        {metric: (range(40), np.linspace(2, 1, 40)), f"other {EVIL} loss": (range(40), np.linspace(2, 1, 40))},
        path=f"runs/{EVIL}.csv",
        format=f"csv{EVIL}",
        notes=[f"note {EVIL}"],
    )
    finding = Finding(
        "LD301",
        "overfitting",
        "warning",
        0.5,
        metric,
        f"summary {EVIL} [bold]x[/bold] {{{{css}}}}",
        3,
        {f"key{EVIL}": EVIL},
        (Cause("label-noise", 1.0, "check_data"),),
        (Action("clean_data", EVIL),),
    )
    needs = (Abstention("LD207", EVIL),)
    return Diagnosis(
        "warning", f"basis {EVIL}", (finding,), history, needs, ({"kind": EVIL, EVIL: EVIL},), (EVIL,), (EVIL,)
    )


def report() -> Report:
    error = {"path": "runs/bad.csv", "error": "line 12: 3 cells where the header has 5; fix the line"}
    return Report([healthy(), exploded(), overfitted(), tiny(), resumed()], [error], 3)


def many(n: int) -> Report:
    """A sweep in which every fifth run overfits and every seventh exploded."""
    kinds = [exploded(), overfitted(), healthy()]
    runs = []
    for i in range(n):
        d = kinds[0] if i % 7 == 0 else kinds[1] if i % 5 == 0 else kinds[2]
        h = d.history
        history = TrainingHistory(h.curves, path=f"runs/sweep/{i:04d}/metrics.csv", format="csv")
        runs.append(Diagnosis(d.status, d.basis, d.findings, history, d.abstained))
    return Report(runs)


def comparison() -> Comparison:
    rows = [
        ComparisonRow("runs/a", 0.4123, 0.003, 0.401, 1200),
        ComparisonRow("runs/b", 0.39, 0.002, 0.388, 2000),
        ComparisonRow("runs/c", float("nan"), float("nan"), float("nan"), None),
    ]
    sentence = "runs/b is better: 0.39 against 0.4123, a margin of 6 times their noise, since step 1,400."
    return Comparison("val_loss", rows, "runs/b", 0.0223, 0.0003, True, 1400, sentence)


def check_golden(name: str, found: str) -> None:
    """Compare with a golden file; LOSSDOCTOR_UPDATE_GOLDEN=1 writes it anew, to be looked at before it is committed."""
    path = GOLDEN / name
    if os.environ.get("LOSSDOCTOR_UPDATE_GOLDEN"):
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8"), f"{name} changed; look, then run with LOSSDOCTOR_UPDATE_GOLDEN=1"
