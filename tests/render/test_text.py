"""The terminal report: readable at 80 columns and in a pipe, codes whole, logs harmless."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Abstention
from lossdoctor.core.options import Option
from lossdoctor.core.report import Report, RuleDoc
from lossdoctor.render.compare import comparison_text
from lossdoctor.render.text import diagnosis_text, make_console, print_report, report_text, rule_text
from tests.render.samples import check_golden, comparison, evil, exploded, healthy, many, overfitted, report, tiny

DOC = RuleDoc(
    "LD301",
    "overfitting",
    "warning",
    "Validation rises while training falls.",
    {
        "What it sees": "A rise of the\nvalidation loss.\n\nBeyond its noise.",
        "What to try": "- stop early\n- regularize",
    },
    (Option("rise", 3.0, "How far above its minimum", "standard errors", 1, 10),),
    "a validation loss",
)


def test_report_matches_golden() -> None:
    check_golden("report_80.txt", report_text(report(), width=80))


def test_many_runs_match_golden() -> None:
    check_golden("many_100.txt", report_text(many(60), width=100))


def test_rule_matches_golden() -> None:
    check_golden("rule.txt", rule_text(DOC, width=72))


def test_comparison_matches_golden() -> None:
    check_golden("comparison.txt", comparison_text(comparison(), width=80))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_prose_keeps_to_the_width(width: int) -> None:
    for line in diagnosis_text(exploded(), width=width).splitlines():
        assert len(line) <= max(width, 76), line  # the line of facts is not wrapped
        assert line == line.rstrip()


@pytest.mark.parametrize("width", [40, 80])
def test_codes_and_names_are_never_cut(width: int) -> None:
    text = report_text(report(), width=width)
    for word in ("LD101 loss-nonfinite", "LD301 overfitting", "LD402 step-axis-broken", "runs/exp12/metrics.csv"):
        assert word in text


def deaf(run: Diagnosis) -> Diagnosis:
    """The run as it would be if many rules lacked something."""
    codes = [f"LD{n}" for n in (*range(105, 110), 202, *range(204, 208))]
    needs = tuple(Abstention(code, f"the thing that only {code} asks for, with at least 20 points") for code in codes)
    return Diagnosis(run.status, run.basis, run.findings, run.history, needs)


def test_what_was_not_judged_does_not_drown_the_findings() -> None:
    runs = Report([deaf(overfitted()), deaf(exploded())])
    text = report_text(runs, width=80)
    told = "not judged  LD105-LD109, LD202, LD204-LD207: lack what they need (--verbose\n              tells what)"
    assert text.count(told) == 2
    assert "only LD105 asks for" not in text
    everything = " ".join(report_text(runs, width=80, verbose=True).split())
    assert everything.count("LD105 (needs the thing that only LD105 asks for, with at least 20 points)") == 2
    assert "lack what they need" not in everything


def test_outside_the_command_line_the_hint_names_the_field() -> None:
    told = " ".join(diagnosis_text(deaf(overfitted())).split())
    assert "lack what they need (.abstained tells what)" in told
    assert "only LD105 asks for" in diagnosis_text(deaf(overfitted()), verbose=True)


def test_a_single_need_is_told_in_full() -> None:
    assert "not judged  LD202, LD207 (needs number of classes)" in diagnosis_text(exploded())


def test_plain_text_has_no_ansi_and_colour_has() -> None:
    assert "\x1b" not in report_text(report())
    assert "\x1b[" in report_text(report(), color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", report_text(report(), color=True)) == report_text_on_terminal()


def report_text_on_terminal() -> str:
    buffer = io.StringIO()
    console = make_console(buffer, width=88, color=True)
    console._color_system = None
    print_report(report(), console)
    return re.sub(r"\x1b\[[0-9;]*m", "", buffer.getvalue())


def test_sick_runs_come_first_and_status_is_told_by_words() -> None:
    lines = report_text(report()).splitlines()
    order = [line.split()[1] for line in lines if line.strip() and line[0] in "✗▲?✓"][:5]
    assert order[:3] == ["critical", "warning", "too"]


def test_healthy_runs_say_what_that_rests_on() -> None:
    assert "Training and validation fall together, gap 4 %." in report_text(Report([healthy(), tiny()]))
    assert "Training and validation fall together, gap 4 %." in report_text(Report([healthy()]))


def test_a_thousand_runs_stay_readable() -> None:
    text = report_text(many(1000))
    assert len(text.splitlines()) < 700
    assert "healthy" in text
    assert "1,000 runs: " in text
    assert "runs are listed above only" in text
    assert "0003/metrics.csv" not in text
    everything = report_text(many(1000), verbose=True)
    assert "0003/metrics.csv" in everything
    assert everything.count("LD101 loss-nonfinite\n") > 140


def test_a_terminal_gets_names_that_fit_and_keep_their_end() -> None:
    buffer = io.StringIO()
    runs = [healthy("x" * 200 + f"/run-{i}.csv") for i in range(2)]
    runs[0].history.path = "y" + runs[0].history.path
    print_report(Report(runs), make_console(buffer, width=80, color=True))
    rows = [line for line in buffer.getvalue().splitlines() if "run-" in line]
    assert all("…" in row for row in rows)
    assert "run-0.csv" in rows[0]


def test_evil_text_is_shown_and_does_nothing() -> None:
    text = report_text(Report([evil(), healthy()], [{"path": "\x1b]0;title\x07", "error": "\x1b[2J"}]))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31m" in text
    assert "[bold]x[/bold]" in text
    text.encode("utf-8")


def test_an_old_terminal_gets_ascii_signs() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="replace")
    print_report(Report([overfitted(), healthy()]), make_console(stream, width=80))
    stream.flush()
    lines = raw.getvalue().decode().splitlines()
    assert lines[1].startswith("! warning")
    assert "?" not in lines[1]


def test_empty_report() -> None:
    assert report_text(Report((), (), 2)).strip() == "0 runs; 2 files skipped (no format recognised them)"


def test_str_of_a_diagnosis_is_its_text() -> None:
    assert "LD301 overfitting" in str(overfitted())


@pytest.mark.parametrize("module", ["text", "jsonout", "sarif", "junit", "compare", "html", "notebook"])
def test_showing_text_imports_no_plotting(module: str) -> None:
    heavy = "matplotlib", "plotly", "pandas", "rich.progress", "rich.table"
    code = f"import sys, lossdoctor.render.{module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
