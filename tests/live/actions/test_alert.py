"""One line of text to somebody."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Action, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.live import Monitor, Verdict
from lossdoctor.live.actions import Alert

FINDING = Finding(
    "LD301", "overfitting", "warning", 0.9, "val_loss", "val_loss rose", 840,
    actions=(Action("stop_early", "restore step 840"),),
)  # fmt: skip
MILD = Finding("LD204", "plateau", "info", 0.7, "loss", "loss stopped improving")


def verdict(announced: tuple[Finding, ...] = (), withdrawn: tuple[Finding, ...] = (), step: int = 900) -> Verdict:
    return Verdict(TrainingHistory().diagnose(), step, announced=announced, withdrawn=withdrawn)


def test_a_finding_is_told_and_taken_back(tmp_path: Path) -> None:
    said: list[str] = []
    monitor = Monitor(run_dir=tmp_path, name="run 7", actions=[Alert(said.append)])
    action = monitor.actions[0]
    action.on_verdict(monitor, verdict((FINDING, MILD)))
    assert said == [
        "run 7: warning: LD301 overfitting: val_loss rose; try stop early: restore step 840",
    ]
    action.on_verdict(monitor, verdict(withdrawn=(FINDING, MILD)))
    assert said[1:] == ["run 7: gone: LD301 overfitting"]  # of the mild one nothing had been told


def test_events_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    with Monitor(run_dir=tmp_path, actions=[Alert(said.append, events=["gave_up"])]) as monitor:
        monitor.log(3, loss=1.0)
        monitor.event("gave_up", "five rollbacks did not help")
        monitor.event("skipped_step", "one step was left out")
    assert said == ["gave up at step 3: five rollbacks did not help"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on": "warnings"}, "did you mean|stands alone"),
        ({"on": []}, "no findings chosen"),
        ({"on": "overfiting"}, "did you mean 'overfitting'"),
        ({"events": ["gave-up"]}, "did you mean 'gave_up'"),
    ],
)
def test_what_there_is_not_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Alert(print, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs a function"):
        Alert("mail me")  # type: ignore[arg-type]
