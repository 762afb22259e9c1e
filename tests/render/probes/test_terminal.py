"""Results in a terminal: within its width, told by sign and word, and harmless whatever they hold."""

from __future__ import annotations

import io
import os

import pytest

from lossdoctor.probes.checkups.report import CheckupReport
from lossdoctor.render.probes import print_checkup, report_text, text
from lossdoctor.render.text import make_console
from tests.render.probes.samples import Shown, checkup, evil, failed, passed
from tests.render.samples import GOLDEN


def test_a_checkup_reads_as_it_did() -> None:
    """LOSSDOCTOR_GOLDEN=1 writes the file anew, to be looked at in the diff."""
    path = GOLDEN / "checkup.txt"
    made = report_text(checkup()) + "\n"
    if os.environ.get("LOSSDOCTOR_GOLDEN"):
        path.write_text(made, "utf-8")
    assert made == path.read_text("utf-8")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    told = report_text(checkup(), width)
    head, *lines = told.splitlines()
    assert head == "✗ critical  examples/checkup_target.py:make"  # whole, so that it can be copied
    assert max(map(len, lines)) <= width
    assert " ".join(told.split()).count("stable up to 0.3") == 1  # nothing is cut off


def test_every_outcome_has_a_sign_and_a_word() -> None:
    results = [Shown(outcome=o, verdict="So it is.") for o in ("passed", "noted", "failed", "unknown")]
    heads = [block.splitlines()[0].split("  ")[0] for block in text(results).split("\n\n")]
    assert heads == ["✓ passed", "! worth knowing", "✗ failed", "? cannot tell"]


def test_rows_are_aligned_under_the_verdict() -> None:
    lines = text([passed()]).splitlines()
    rows = [line for line in lines if "  " in line.strip()][1:]
    assert {line.index(value) for line, value in zip(rows, ("0.01", "0.3", "90%"), strict=True)} == {25}


def test_without_colour_there_is_no_escape_and_with_it_the_words_stay() -> None:
    plain, coloured = report_text(checkup()), report_text(checkup(), color=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured


def test_a_terminal_without_unicode_gets_ascii_signs() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    print_checkup(checkup(), make_console(raw, width=80, color=False))
    raw.flush()
    told = raw.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "x failed, critical  Gradients" in told
    assert "+ passed  Learning-rate range test" in told


def test_names_of_the_user_cannot_act() -> None:
    told = text([evil()])
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "\\x1b[31m" in told


def test_a_checkup_without_results_says_so() -> None:
    told = report_text(CheckupReport("train.py:make"))
    assert told.splitlines() == ["? cannot tell  train.py:make", "  No test could be run."]


def test_one_mistake_that_stops_many_tests_is_told_once() -> None:
    told = report_text(checkup())
    block = told[told.index("could not run") :]
    assert block.startswith("could not run  Curvature, Gradient noise")
    assert block.count("train.py:12") == 1


def test_the_text_of_a_failed_test_is_whole() -> None:
    flat = " ".join(text([failed()], 50).split())
    assert failed().verdict in flat
