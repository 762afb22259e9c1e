"""SARIF 2.1.0, which code hosts and editors show as annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.core.report import Report, RuleDoc
from lossdoctor.render import words
from lossdoctor.render.escape import visible
from lossdoctor.render.jsonout import to_json

_LEVELS = {"critical": "error", "warning": "warning", "info": "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def report_sarif(report: Report, *, rules: Sequence[RuleDoc] = (), version: str = "") -> bytes:
    """The report as SARIF 2.1.0.

    Args:
        rules: what the rules say about themselves, for the help texts; a rule that is not among them is described
            by its finding.
        version: of lossdoctor, by default the installed one.
    """
    known = {r.code: r for r in rules}
    found = {f.code: f for d in reversed(report.runs) for f in d.findings}
    codes = sorted({*known, *found})
    descriptors = [_descriptor(code, known.get(code), found.get(code)) for code in codes]
    index = {code: i for i, code in enumerate(codes)}
    results = [_result(d, f, index[f.code]) for d in report.runs for f in d.findings]
    driver: dict[str, Any] = {"name": "lossdoctor", "rules": descriptors, "version": version or _version()}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report)],
        "results": results,
        "properties": {"runs": len(report.runs), "skipped": report.skipped, "statuses": report.counts()},
    }
    return to_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=True)


def _version() -> str:
    import lossdoctor

    return lossdoctor.__version__


def _descriptor(code: str, doc: RuleDoc | None, finding: Finding | None) -> dict[str, Any]:
    name = doc.name if doc else (finding.name if finding else code)
    severity = doc.severity if doc else (finding.severity if finding else "warning")
    out: dict[str, Any] = {
        "id": code,
        "name": "".join(part.capitalize() for part in name.split("-")),
        "shortDescription": {"text": (doc.summary if doc and doc.summary else words.plain(name).capitalize())},
        "defaultConfiguration": {"level": _LEVELS[severity]},
    }
    sections = dict(doc.sections) if doc else {}
    text = "\n\n".join(f"{title}\n{body.strip()}" for title, body in sections.items())
    marked = "\n\n".join(f"**{title}**\n\n{body.strip()}" for title, body in sections.items())
    fallback = f"Run `lossdoctor explain {code}` for what it sees, why it matters and what to try."
    out["help"] = {"text": text or fallback, "markdown": marked or fallback}
    return out


def _result(d: Diagnosis, f: Finding, rule: int) -> dict[str, Any]:
    unit = d.history.step_unit
    message = visible(f.summary)
    if f.actions:
        message += f" What to do: {words.action(f.actions[0])}."
    return {
        "ruleId": f.code,
        "ruleIndex": rule,
        "level": _LEVELS[f.severity],
        "message": {"text": message},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": artifact_uri(d)}},
                "logicalLocations": [{"name": visible(f.metric, 200), "kind": "metric"}],
            }
        ],
        "partialFingerprints": {"lossdoctor/v1": _fingerprint(d, f)},
        "properties": {
            "onset_step": f.onset_step,
            "step_unit": unit,
            "metric": visible(f.metric, 200),
            "confidence": round(f.confidence, 3),
            "evidence": {str(k): v for k, v in f.evidence.items()},
            "causes": [c.as_dict() for c in f.causes],
            "actions": [a.as_dict() for a in f.actions],
        },
    }


def artifact_uri(d: Diagnosis) -> str:
    """The run's path as a URI reference; an absolute path becomes a file URI, a URL stays one."""
    path = (d.history.path or d.history.name or "run").replace("\\", "/")
    if "://" in path:
        return quote(path, safe="/:@%?&=+,;#~", errors="replace")
    encoded = quote(path.removeprefix("./"), safe="/~", errors="replace")
    return f"file://{encoded}" if path.startswith("/") else encoded


def _fingerprint(d: Diagnosis, f: Finding) -> str:
    """The same for the same finding in the same run, wherever the onset moves by a few steps."""
    parts = (d.history.path or d.history.name, f.code, f.metric, str(f.segment))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _invocation(report: Report) -> dict[str, Any]:
    crashed = [(words.title(d), e) for d in report.runs for e in d.internal_errors]
    notices = [(visible(e["path"]), e["error"]) for e in report.errors] + crashed
    return {
        "executionSuccessful": not crashed,
        "toolExecutionNotifications": [
            {"level": "error", "message": {"text": f"{path}: {visible(text)}"}} for path, text in notices
        ],
    }
