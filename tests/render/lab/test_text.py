"""The lab in a terminal: everything is told, and nothing is wider than the terminal."""

from __future__ import annotations

import io

import pytest

from lossdoctor.lab.result import Table
from lossdoctor.render.lab.text import print_experiment, print_table
from lossdoctor.render.text import make_console
from tests.render.lab.samples import experiment


def printed(width: int, *, verbose: bool = False) -> str:
    buffer = io.StringIO()
    made = experiment()
    diagnoses = {label: h.diagnose() for label, h in made.runs.items()}
    print_experiment(made, diagnoses, make_console(buffer, width=width, color=False), verbose=verbose)
    return buffer.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_everything_is_told_within_the_width(width: int) -> None:
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    for part in ("An experiment", "It shows something.", "What came out", "A note.", "final loss", "0.0123", "A paper"):
        assert part in flat
    for part in ("healthy", "critical", "LD101 loss-nonfinite", "do: "):
        assert part in flat
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_in_full_there_is_evidence() -> None:
    assert "evidence" not in printed(80)
    assert "evidence" in printed(80, verbose=True)


def table(made: Table, width: int) -> str:
    buffer = io.StringIO()
    print_table(made, make_console(buffer, width=width, color=False))
    return buffer.getvalue()


def test_numbers_are_never_broken_and_nothing_is_a_dash() -> None:
    made = Table("T", ("name", "value", "flag"), (("a", 123_456.789, True), ("b", None, False)))
    lines = table(made, 40).splitlines()
    assert lines[1].split() == ["name", "value", "flag"]
    assert lines[2].split() == ["a", "123,456.8", "yes"]
    assert lines[3].split() == ["b", "–", "no"]


def test_a_table_that_is_too_wide_becomes_records() -> None:
    columns = tuple(f"quite a long column {i}" for i in range(9))
    made = Table("T", columns, (tuple(float(i) * 1.2345 for i in range(9)),))
    text = table(made, 60)
    assert max(map(len, text.splitlines())) <= 60
    assert "quite a long column 8  9.876" in text


@pytest.mark.parametrize("width", [72, 80, 110])
def test_no_column_loses_a_word_or_a_digit(width: int) -> None:
    columns = ("run", "final training loss", "lowest validation loss", "at step", "final validation accuracy")
    rows = (("without warmup, norms first", 0.7523, 0.8518, 220, 0.7281), ("warmup", 1.574, 1.553, 210, 0.4833))
    words = table(Table("", columns, rows), width).split()
    for column in columns:
        assert set(column.split()) <= set(words)
    assert {"0.7523", "0.8518", "220", "0.7281", "1.574", "1.553", "210", "0.4833"} <= set(words)


def test_a_table_without_rows_is_its_head() -> None:
    assert table(Table("", ("name", "value"), ()), 40).split() == ["name", "value"]
