"""JUnit XML, which CI systems show as tests: one test per run."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.report import Report
from lossdoctor.core.vocabulary import at_least
from lossdoctor.render import words
from lossdoctor.render.escape import visible
from lossdoctor.render.text import diagnosis_text


def report_junit(report: Report, *, fail_on: str = "critical") -> bytes:
    """The report as JUnit XML: a failure where a finding reaches ``fail_on``, an error where a file is broken.

    >>> report_junit(Report()).count(b"<testcase")
    0
    """
    cases = [_case(d, fail_on) for d in report.runs]
    cases += [_broken(error["path"], error["error"]) for error in report.errors]
    failures = sum(_fails(d, fail_on) for d in report.runs)
    undecided = sum(d.status == "insufficient_data" and not _fails(d, fail_on) for d in report.runs)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="{len(report.errors)}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="lossdoctor" {counts}>',
        f'<testsuite name="lossdoctor" {counts} skipped="{undecided}" time="0">',
        *cases,
        "</testsuite>",
        "</testsuites>",
        "",
    ]
    return "\n".join(lines).encode()


def _fails(d: Diagnosis, fail_on: str) -> bool:
    return any(at_least(f.severity, fail_on) for f in d.findings)


def _case(d: Diagnosis, fail_on: str) -> str:
    head = f'<testcase classname="lossdoctor" name={_attribute(words.title(d))} time="0">'
    told = _text(diagnosis_text(d, verbose=True))
    failing = [f for f in d.findings if at_least(f.severity, fail_on)]
    if failing:
        first = failing[0]
        kind = _attribute(f"{first.code} {first.name}")
        message = _attribute(visible(first.summary))
        return f"{head}<failure type={kind} message={message}>{told}</failure></testcase>"
    if d.status == "insufficient_data":
        return f"{head}<skipped message={_attribute(visible(d.basis))}/></testcase>"
    return f"{head}<system-out>{told}</system-out></testcase>"


def _broken(path: str, error: str) -> str:
    return (
        f'<testcase classname="lossdoctor" name={_attribute(visible(path))} time="0">'
        f'<error type="unreadable" message={_attribute(visible(error))}/></testcase>'
    )


def _attribute(text: str) -> str:
    return quoteattr(text)


def _text(text: str) -> str:
    """Content: the text comes from :func:`diagnosis_text`, where control characters are already written out."""
    return escape(text)
