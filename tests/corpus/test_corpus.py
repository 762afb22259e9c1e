"""The public logs: no finding comes or goes unseen, and what people said of them is what is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossdoctor.core.vocabulary import severity_rank
from tests.corpus.findings import difference, expected, observed
from tests.rules.runs import real

# What people's words for a run may be called in the catalogue.
WORDS = {
    "nonfinite": "LD101 LD107",
    "divergence": "LD102 LD105",
    "oscillation": "LD104 LD305",
    "flat": "LD201 LD202 LD204",
    "plateau": "LD204 LD206",
    "slow": "LD203 LD205",
    "overfitting": "LD301 LD306 LD307",
    "underfitting": "LD302",
    "spikes": "LD103 LD109 LD110",
    "val_gap": "LD303",
}
_LINES = Path(__file__).with_name("labels.tsv").read_text().splitlines()
LABELS = [dict(zip(_LINES[0].split("\t"), line.split("\t"), strict=True)) for line in _LINES[1:]]


def test_findings_are_those_that_were_accepted() -> None:
    lines = difference(expected(), observed())
    assert not lines, "the findings in the public logs changed; `make corpus-accept` if that is meant:\n" + "\n".join(
        lines
    )


def test_a_difference_is_told_in_full() -> None:
    was = {"a/1": ("healthy", "LD205 info @9"), "a/2": ("critical", "LD101 critical @4", "LD403 info"), "a/3": ("x",)}
    now = {"a/1": ("warning", "LD204 warning @5"), "a/2": ("critical", "LD403 info", "LD101 critical @4")}
    assert difference(was, now) == [
        "- LD205 info @9 in a/1",
        "+ LD204 warning @5 in a/1",
        "  a/1 is warning, was healthy",
        "  the order of findings in a/2: LD403 info, LD101 critical @4, was LD101 critical @4, LD403 info",
        "- the run a/3: x",
    ]


@pytest.mark.parametrize("label", LABELS, ids=lambda row: row["run"])
def test_people_agree(label: dict[str, str]) -> None:
    """The same alarm as the people who looked at the curves, by a name that one of them accepts."""
    result = dict(real())[label["run"]].diagnose()
    assert result.alarm == (label["alarm"] == "True"), f"{label['note']}; found {result.basis}"
    told = {f.code for f in result.findings if severity_rank(f.severity) >= 1}
    accepted = {code for word in label["accept"].split(",") for code in WORDS.get(word, "").split()}
    assert not told or told & accepted, f"{label['accept']} accepted, found {', '.join(sorted(told))}"


def test_there_are_labels_of_both_kinds() -> None:
    assert {label["alarm"] for label in LABELS} == {"True", "False"}
    assert len(LABELS) == 14
