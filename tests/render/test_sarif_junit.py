"""SARIF and JUnit: the shape their consumers ask for, and text that cannot break it."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from lossdoctor.core.report import Report, RuleDoc
from lossdoctor.render.junit import report_junit
from lossdoctor.render.sarif import report_sarif
from tests.render.samples import EVIL, check_golden, evil, exploded, healthy, report, tiny

DOC = RuleDoc(
    "LD301", "overfitting", "warning", "Validation rises.", {"What it sees": "A rise.", "What to try": "Stop."}
)


def sarif(made: Report, **options: Any) -> dict[str, Any]:
    data = json.loads(report_sarif(made, **options))
    assert data["version"] == "2.1.0"
    run: dict[str, Any] = data["runs"][0]
    return run


def test_sarif_matches_golden() -> None:
    check_golden("report.sarif", report_sarif(report(), rules=[DOC], version="1.2.3").decode())


def test_sarif_results_point_to_their_rule_and_file() -> None:
    run = sarif(report(), rules=[DOC])
    rules = run["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == sorted(r["id"] for r in rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert result["level"] in ("error", "warning", "note")
    by_code = {r["ruleId"]: r for r in run["results"]}
    assert by_code["LD101"]["level"] == "error"
    assert by_code["LD101"]["properties"]["onset_step"] == 1991
    assert by_code["LD402"]["level"] == "note"
    assert len({r["partialFingerprints"]["lossdoctor/v1"] for r in run["results"]}) == len(run["results"])


def test_sarif_help_comes_from_the_rules() -> None:
    rules = {r["id"]: r for r in sarif(report(), rules=[DOC])["tool"]["driver"]["rules"]}
    assert "A rise." in rules["LD301"]["help"]["text"]
    assert "lossdoctor explain LD101" in rules["LD101"]["help"]["text"]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("runs/a b/#1.csv", "runs/a%20b/%231.csv"),
        ("/data/x.csv", "file:///data/x.csv"),
        ("s3://bucket/x.csv", "s3://bucket/x.csv"),
        ("./x.csv", "x.csv"),
        ("runs\\x.csv", "runs/x.csv"),
    ],
)
def test_sarif_uris(path: str, uri: str) -> None:
    d = exploded()
    d.history.path = path
    assert sarif(Report([d]))["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_sarif_reports_errors_and_survives_evil_text() -> None:
    run = sarif(Report([evil()], [{"path": EVIL, "error": EVIL}]))
    notices = run["invocations"][0]["toolExecutionNotifications"]
    assert len(notices) == 2
    assert "\x1b" not in notices[0]["message"]["text"]


def suite(data: bytes) -> ElementTree.Element:
    found = ElementTree.fromstring(data).find("testsuite")
    assert found is not None
    return found


def test_junit_matches_golden() -> None:
    check_golden("report.junit.xml", report_junit(report()).decode())


@pytest.mark.parametrize(("fail_on", "failures"), [("critical", 1), ("warning", 2), ("never", 0)])
def test_junit_counts(fail_on: str, failures: int) -> None:
    found = suite(report_junit(report(), fail_on=fail_on))
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("6", str(failures), "1")
    assert len(found.findall("testcase/failure")) == failures
    assert len(found.findall("testcase/error")) == 1
    assert len(found.findall("testcase/skipped")) == 1 == int(found.get("skipped", "0"))


def test_junit_failure_says_what_and_why() -> None:
    failure = suite(report_junit(Report([exploded(), healthy(), tiny()]))).find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "LD101 loss-nonfinite"
    assert "became NaN at step 1,991" in failure.get("message", "")
    assert "Restore checkpoint" in (failure.text or "")


def test_junit_is_well_formed_whatever_the_log_says() -> None:
    found = suite(report_junit(Report([evil()], [{"path": EVIL, "error": EVIL + "\x00]]>"}]), fail_on="warning"))
    assert found.find("testcase/failure") is not None
