"""``--baseline``: findings of an earlier JSON report are known, and only new or worse ones count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Finding
from lossdoctor.core.report import SCHEMA_VERSION, Report
from lossdoctor.core.vocabulary import SEVERITIES, severity_rank

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Baseline:
    """Known findings: (run, code, metric) -> the severity at which they were accepted."""

    known: Mapping[Key, str]

    @classmethod
    def load(cls, path: str) -> Baseline:
        """Read a JSON report; raises UsageError when it is none."""
        try:
            report = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise UsageError(
                f"--baseline {path}: cannot be read ({error.strerror or error}); "
                f"make one with `lossdoctor diagnose … --format json --output {path}`"
            ) from None
        except ValueError as error:
            raise UsageError(
                f"--baseline {path}: this is no JSON ({error}); a report of --format json is needed"
            ) from None
        version = report.get("schema_version") if isinstance(report, dict) else None
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"--baseline {path}: a report with schema_version {SCHEMA_VERSION} is needed, "
                f"this one has {version!r}; make it anew with --format json"
            )
        return cls(_known(report, path))

    def accepts(self, run: str, finding: Finding) -> bool:
        """Whether a finding is known, and no more severe than it was."""
        severity = self.known.get((run, finding.code, finding.metric))
        return severity is not None and severity_rank(finding.severity) <= severity_rank(severity)

    def without_known(self, report: Report) -> tuple[Report, int]:
        """The report without known findings, and how many those were."""
        runs = [self._reduced(d) for d in report.runs]
        accepted = sum(len(a.findings) - len(b.findings) for a, b in zip(report.runs, runs, strict=True))
        return replace(report, runs=runs), accepted

    def _reduced(self, diagnosis: Diagnosis) -> Diagnosis:
        run = str(diagnosis.as_dict()["run"])
        new = tuple(f for f in diagnosis.findings if not self.accepts(run, f))
        known = [f for f in diagnosis.findings if self.accepts(run, f)]
        if not known:
            return diagnosis
        codes = ", ".join(dict.fromkeys(f"{f.code} {f.name}" for f in known))
        if diagnosis.status not in ("warning", "critical"):
            return replace(diagnosis, findings=new)
        alarms = [f.severity for f in new if severity_rank(f.severity) >= 1]
        status = max(alarms, key=severity_rank) if alarms else "healthy"
        basis = (
            f"{diagnosis.basis} (known and accepted: {codes})"
            if alarms
            else f"nothing new; known and accepted: {codes}"
        )
        return replace(diagnosis, findings=new, status=status, basis=basis)


def _known(report: Mapping[str, Any], path: str) -> dict[Key, str]:
    known: dict[Key, str] = {}
    try:
        for run in report["runs"]:
            for finding in run["findings"]:
                key = (str(run["run"]), str(finding["code"]), str(finding["metric"]))
                severity = str(finding["severity"])
                worst = known.get(key, SEVERITIES[0])
                known[key] = max(worst, severity, key=severity_rank)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"--baseline {path}: not a whole report ({type(error).__name__}: {error}); make it anew with --format json"
        ) from None
    return known
