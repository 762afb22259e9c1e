"""The JSON is strict and follows the schema that ships with the package."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core import vocabulary
from lossdoctor.core.report import Report
from lossdoctor.render.jsonout import comparison_json, report_json, schema, to_json
from tests.render.samples import check_golden, comparison, evil, many, report

VALIDATOR = jsonschema.Draft202012Validator(schema())


def parsed(data: bytes) -> Any:
    """Parse as a strict parser does: bare NaN and Infinity are errors."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(data, parse_constant=refuse)


def test_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("made", [Report(), report(), many(30), Report([evil()])], ids=["none", "some", "many", "evil"])
def test_reports_follow_the_schema(made: Report) -> None:
    VALIDATOR.validate(parsed(report_json(made)))
    assert parsed(report_json(made)) == parsed(report_json(made, indent=False))


def test_report_matches_golden() -> None:
    check_golden("report.json", report_json(report()).decode())


def test_non_finite_evidence_becomes_a_string() -> None:
    run = next(r for r in parsed(report_json(report()))["runs"] if r["status"] == "critical")
    assert run["findings"][0]["evidence"]["ratio"] == "Infinity"
    assert run["findings"][0]["evidence"]["nonfinite_points"] == 611


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "sick"),
        (("step_unit",), "furlong"),
        (("findings", 0, "severity"), "fatal"),
        (("findings", 0, "confidence"), 1.5),
        (("findings", 0, "confidence"), "NaN"),
        (("findings", 0, "causes", 0, "name"), "gremlins"),
        (("findings", 0, "causes", 0, "test"), "guess"),
        (("findings", 0, "actions", 0, "action"), "pray"),
        (("findings", 0, "actions", 0, "safety"), "safe"),
        (("points",), -1),
    ],
)
def test_schema_refuses_words_outside_the_vocabularies(path: tuple[Any, ...], value: Any) -> None:
    data = parsed(report_json(Report([report().runs[1]])))
    place = data["runs"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize("missing", ["run", "status", "basis", "findings", "abstained", "notes", "segments"])
def test_schema_requires_the_contract(missing: str) -> None:
    data = parsed(report_json(report()))
    del data["runs"][0][missing]
    assert not VALIDATOR.is_valid(data)


def test_schema_allows_new_fields() -> None:
    data = parsed(report_json(report()))
    data["runs"][0]["new"] = 1
    assert VALIDATOR.is_valid(data)


def test_schema_knows_the_vocabularies() -> None:
    defs = schema()["$defs"]
    assert set(defs["cause"]["properties"]["name"]["enum"]) == set(vocabulary.CAUSES)
    assert set(defs["cause"]["properties"]["test"]["enum"]) == {*vocabulary.TESTS, None}
    assert defs["action"]["properties"]["action"]["enum"] == list(vocabulary.ACTIONS)
    assert defs["run"]["properties"]["status"]["enum"] == list(vocabulary.STATUSES)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_anything_plain_becomes_strict_json(value: Any) -> None:
    parsed(to_json(value))


def test_numpy_scalars_and_arrays() -> None:
    value = {"a": np.float32(0.5), "b": np.int16(3), "c": np.array([1.0, math.nan]), "d": np.bool_(True)}
    assert parsed(to_json(value)) == {"a": 0.5, "b": 3, "c": [1.0, "NaN"], "d": True}


def test_comparison() -> None:
    data = parsed(comparison_json(comparison()))
    assert data["winner"] == "runs/b"
    assert data["rows"][2]["final"] == "NaN"
