"""What a table of curves cannot say: notes of readers, measurements of active tests, a column of epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossdoctor.core.context import RunContext
from lossdoctor.core.finding import Finding, Measurement
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.engine import diagnose
from lossdoctor.readers import scan

STEPS = np.arange(1, 201)
LOSS = 1.0 + 2.0 / (1 + STEPS / 20)


def found(history: TrainingHistory, code: str, *measurements: Measurement) -> list[Finding]:
    return list(diagnose(history, measurements=measurements, settings=Settings(select=(code,))).findings)


def test_a_last_line_that_is_cut_off_is_told(tmp_path: Path) -> None:
    lines = [f'{{"step": {s}, "loss": {v:.4f}}}\n' for s, v in zip(STEPS.tolist(), LOSS.tolist(), strict=True)]
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    whole.write_text("".join(lines))
    cut.write_text("".join(lines)[:-12])
    assert not found(scan([str(whole)]).histories[0], "LD403")
    (finding,) = found(scan([str(cut)]).histories[0], "LD403")
    assert finding.severity == "info"
    assert "cut off" in finding.summary
    assert finding.onset_step == 199


@pytest.mark.parametrize(
    ("note", "cut"),
    [
        ("last record cut off at byte 163,840 (it begins at byte 163,796); everything before it was read", True),
        ("the JSON is cut off or damaged at byte 12; what comes before was read", True),
        ("the compressed data is damaged or cut off after 65,536 bytes (EOF); everything before was read", True),
        ("MLflow says that the run's status is FAILED", True),
        ("rows without iter count epochs as their step", False),
        ("record at byte 5 fails its checksum; it is left out", False),
    ],
)
def test_which_notes_say_that_a_log_is_cut(note: str, cut: bool) -> None:
    history = TrainingHistory({"loss": (STEPS, LOSS)}, notes=[note])
    assert bool(found(history, "LD403")) == cut


def test_an_epoch_column_gives_the_length_of_an_epoch() -> None:
    rng = np.random.default_rng(5)
    steps = np.arange(1, 901)
    loss = 1.0 + 2.0 / (1 + steps / 20) + 0.4 * (steps % 100) / 100 + rng.normal(0, 0.05, 900)
    (finding,) = found(TrainingHistory({"loss": (steps, loss), "epoch": (steps, steps / 100)}), "LD401")
    assert finding.evidence["steps_per_epoch"] == pytest.approx(100)


def test_a_measured_initial_loss_is_judged_though_the_log_begins_late() -> None:
    history = TrainingHistory({"loss": (STEPS + 5000, LOSS)}, context=RunContext(classes=10))
    assert not found(history, "LD207")
    assert not found(history, "LD207", Measurement("initial_loss", 2.4, step=0))
    (finding,) = found(history, "LD207", Measurement("initial_loss", 24.0, step=0))
    assert finding.severity == "warning"
    assert finding.onset_step == 0


def test_a_measured_initial_loss_may_bring_its_own_expectation() -> None:
    history = TrainingHistory({"loss": (STEPS, LOSS)})
    assert not found(history, "LD207", Measurement("initial_loss", 3.1, detail={"expected": 3.0}))
    assert found(history, "LD207", Measurement("initial_loss", 9.9, detail={"expected": 3.0}))


@pytest.mark.parametrize(("share", "told"), [(0.95, True), (0.7, True), (0.5, False), (0.0, False)])
def test_a_measured_share_of_dead_units(share: float, told: bool) -> None:
    history = TrainingHistory({"loss": (STEPS, LOSS)})
    result = found(history, "LD210", Measurement("dead_fraction", share, detail={"layer": "layers.0"}))
    assert bool(result) == told
    if result:
        assert "layers.0" in result[0].summary
