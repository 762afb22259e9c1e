"""The panel of a watched run: what it shows, in every size, without colour, without Unicode."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Action, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.render.bars import bars, columns
from lossdoctor.render.panel import PanelState, RunPanel, Shown, speed, time_left
from lossdoctor.render.words import ASCII, UNICODE
from tests.render.samples import EVIL, GOLDEN, exploded, wobble

OVERFITTING = Finding(
    *("LD301", "overfitting", "warning", 0.93, "val/loss"),
    "val/loss rose from 0.4973 at step 4000 to 0.8266 (up 66 %) while the training loss went on falling",
    onset_step=4000,
    actions=(Action("stop_early", "restore step 4000, the lowest val/loss"),),
)


def overfit() -> Diagnosis:
    steps = np.arange(0, 12_400, 10)
    at = steps[::40]
    history = TrainingHistory(
        {
            "train/loss": (steps, 0.3 + 2.2 * np.exp(-steps / 1500) + wobble(len(steps), 0.05)),
            "val/loss": (at, 0.38 + 2.1 * np.exp(-at / 1400) + 6e-5 * np.maximum(0, at - 4000)),
            "lr": (steps, 3e-4 * np.minimum(1, steps / 500)),
            "grad_norm": (steps, 1 + wobble(len(steps), 0.3)),
        },
        path="runs/gpt-small",
        context=RunContext(planned_steps=50_000),
        events=[{"kind": "learning_rate_changed", "step": 9_920, "time": 1.7e9, "message": "3e-4 to 1.5e-4"}],
    )
    return Diagnosis("warning", "val/loss rose", (OVERFITTING,), history)


def state(diagnosis: Diagnosis | None = None, **changes: object) -> PanelState:
    d = diagnosis or overfit()
    known: dict[str, object] = {
        "run": d.history.path,
        "diagnosis": d,
        "status": d.status,
        "findings": [Shown(f) for f in d.findings],
        "rate": 3.2,
        "seconds_left": 11_750.0,
        "foot": ["written 12:03:05", "Ctrl-C ends"],
    }
    return PanelState(**{**known, **changes})  # type: ignore[arg-type]


def drawn(shown: PanelState, width: int = 80, height: int = 24, *, color: bool = False, encoding: str = "utf-8") -> str:
    """The panel as text."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    console = Console(
        file=stream,
        width=width,
        height=height,
        force_terminal=True,
        color_system="standard" if color else None,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(RunPanel(shown))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "width", "height", "encoding"), [
    ("panel_80", 80, 24, "utf-8"), ("panel_40", 40, 24, "utf-8"), ("panel_120", 120, 40, "utf-8"),
    ("panel_ascii", 80, 24, "ascii"), ("panel_low", 80, 8, "utf-8"),
])  # fmt: skip
def test_the_panel_is_golden(name: str, width: int, height: int, encoding: str) -> None:
    text = drawn(state(), width, height, encoding=encoding)
    assert text == (GOLDEN / f"{name}.txt").read_text("utf-8")


def test_the_panel_of_a_run_that_exploded_is_golden() -> None:
    assert drawn(state(exploded())) == (GOLDEN / "panel_nan.txt").read_text("utf-8")


@pytest.mark.parametrize("width", [20, 24, 31, 40, 60, 80, 81, 120, 200])
@pytest.mark.parametrize("height", [4, 8, 12, 24, 50])
def test_it_stays_within_the_terminal(width: int, height: int) -> None:
    others = [(f"runs/{i}", overfit() if i % 2 else None) for i in range(9)]
    lines = drawn(state(others=others, message="not read now: " + "x" * 90, quiet="nothing " * 30), width, height)
    shown = lines.rstrip("\n").split("\n")
    assert len(shown) <= max(height, 6)
    assert {len(line) for line in shown} <= {max(24, min(width, 120)), width}


def test_the_finding_is_shown_in_every_size() -> None:
    for width, height in ((40, 10), (80, 8), (80, 24), (120, 50)):
        assert "LD301" in drawn(state(), width, height), (width, height)


def test_what_is_waited_for() -> None:
    text = drawn(PanelState("runs/exp-7", message="waiting: runs/exp-7 does not exist yet", foot=["Ctrl-C ends"]))
    assert text.splitlines()[0].startswith("╭─ ? waiting  runs/exp-7 ─")
    assert "waiting: runs/exp-7 does not exist yet" in text
    assert len(text.splitlines()) == 3


def test_an_alarm_that_may_pass_is_none_in_the_title() -> None:
    text = drawn(state(status="healthy", findings=[Shown(OVERFITTING, "may pass")]))
    assert "✓ no alarm  runs/gpt-small" in text
    assert "warning · from step 4,000 · may pass" in text


def test_a_stalled_run_and_one_that_ended() -> None:
    assert "▲ nothing was written for 12 min" in drawn(state(quiet="nothing was written for 12 min", rate=None))
    ended = drawn(state(ended="the run has ended"))
    assert "the run has ended" in ended
    assert "steps/s" not in ended


def test_remarks_are_shown_only_where_there_is_no_alarm() -> None:
    remark = Shown(Finding("LD204", "plateau", "info", 0.6, "loss", "level for a while"))
    assert "LD204" not in drawn(state(findings=[Shown(OVERFITTING), remark]))
    assert "LD204" in drawn(state(findings=[remark]))


def test_other_runs_are_listed() -> None:
    text = drawn(state(others=[("runs/a", overfit()), ("runs/b", None), ("runs/c", exploded())]), height=40)
    assert "other runs ▲ runs/a  LD301 overfitting" in text
    assert "✗ runs/c  LD101 loss-nonfinite" in text


def test_nothing_in_a_log_can_write_to_the_terminal() -> None:
    finding = Finding(EVIL, EVIL, "critical", 0.9, EVIL, EVIL, actions=(Action("check_data", EVIL),))
    history = TrainingHistory({"loss " + EVIL: ([1, 2, 3], [3.0, 2.0, 1.0])}, events=[{"kind": EVIL, "message": EVIL}])
    sick = Diagnosis("critical", EVIL, (finding,), history)
    shown = state(sick, run=EVIL, message=EVIL, quiet=EVIL, foot=[EVIL], others=[(EVIL, sick)])
    text = drawn(shown, 100, 50)
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("color", [True, False])
def test_colour_is_never_the_only_sign(color: bool) -> None:
    text = drawn(state(exploded()), color=color)
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", text)) is color
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "✗ critical" in plain
    assert "×" in plain  # where the loss is not finite


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32) | st.sampled_from([1e308, -1e308, 0.0, float("nan"), float("inf")]), max_size=40),
    st.integers(1, 30),
    st.integers(1, 5),
)
def test_bars_of_any_curve(values: list[float], width: int, rows: int) -> None:
    curve = Curve.make(range(len(values)), values)
    medians, bad = columns(curve, 0, max(len(values) - 1, 0), width)
    for glyphs in (UNICODE, ASCII):
        lines, _ = bars(medians, bad, rows, glyphs)
        assert [len(line) for line in lines] == [width] * rows
        assert all(c in glyphs.bars + glyphs.bad + " " for line in lines for c in line)


def test_columns_leave_out_what_a_resume_superseded() -> None:
    curve = Curve.make([0, 1, 2, 3, 2, 3], [9.0, 8.0, 100.0, 100.0, 7.0, 6.0])
    assert columns(curve, 0, 3, 4)[0].tolist() == [9.0, 8.0, 7.0, 6.0]


def test_a_sparse_curve_holds_its_level_on_the_axis_of_the_other() -> None:
    medians, bad = columns(Curve.make([10, 30], [2.0, 1.0]), 0, 39, 4)
    assert [None if np.isnan(m) else m for m in medians.tolist()] == [None, 2.0, 2.0, 1.0]
    assert not bad.any()


def test_a_wide_span_has_a_logarithmic_height() -> None:
    medians = np.geomspace(1e3, 1e-3, 8)
    lines, logarithmic = bars(medians, np.zeros(8, dtype=bool), 1, UNICODE)
    assert logarithmic
    assert lines == ["█▇▆▅▄▃▂▁"]


def test_words() -> None:
    assert speed(1200.0, "step") == "1,200 steps/s"
    assert time_left(0.4) == "0 s"
    assert [time_left(s) for s in (3_600, 7_199, 86_400)] == ["1 h", "2 h", "1 d"]
