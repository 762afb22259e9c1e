"""What is found in the public logs of ``tests/data/real``, as a table that people read and a test compares.

``make corpus-accept`` (``python -m tests.corpus.findings``) rewrites ``expected.tsv`` after a change that was meant;
its diff then says in the commit which findings came and went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import lossdoctor
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import LossdoctorError
from lossdoctor.core.finding import Finding
from tests.rules.runs import real, real_files

EXPECTED = Path(__file__).with_name("expected.tsv")
HEADER = "run\tstatus\tfindings, the first is the one to act on"
Verdicts = dict[str, tuple[str, ...]]


def observed() -> Verdicts:
    """Run -> its status, then its findings; a log that cannot be read has the error as its status."""
    found: Verdicts = {name: verdict(history.diagnose()) for name, history in real()}
    for name, path in real_files():
        if name not in found:
            try:
                lossdoctor.read(path)
            except LossdoctorError as error:
                found[name] = (type(error).__name__,)
    return dict(sorted(found.items(), key=lambda item: _place(item[0])))


def verdict(diagnosis: Diagnosis) -> tuple[str, ...]:
    """The status, then each finding as ``"LD204 info @1200"``."""
    return (diagnosis.status, *(_words(f) for f in diagnosis.findings))


def _words(finding: Finding) -> str:
    onset = "" if finding.onset_step is None else f" @{finding.onset_step}"
    return f"{finding.code} {finding.severity}{onset}"


def _place(name: str) -> tuple[str, int]:
    log, _, number = name.partition("#")
    return log, int(number or 0)


def expected() -> Verdicts:
    """The accepted table."""
    rows = [line.split("\t") for line in EXPECTED.read_text().splitlines()[1:]]
    return {name: (status, *(f for f in findings.split("; ") if f)) for name, status, findings in rows}


def table(verdicts: Mapping[str, tuple[str, ...]]) -> str:
    """The table as text."""
    rows = (f"{name}\t{status}\t{'; '.join(findings)}" for name, (status, *findings) in verdicts.items())
    return "\n".join([HEADER, *rows]) + "\n"


def difference(was: Mapping[str, tuple[str, ...]], now: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What came (+) and went (-), a line each; empty when nothing did.

    >>> difference({"a/1": ("healthy",)}, {"a/1": ("healthy", "LD204 info @1200")})
    ['+ LD204 info @1200 in a/1']
    """
    lines: list[str] = []
    for name in dict.fromkeys([*was, *now]):
        before, after = was.get(name), now.get(name)
        if before is None or after is None:
            lines += [f"{'+' if before is None else '-'} the run {name}: {'; '.join(after or before or ())}"]
            continue
        lines += [f"- {f} in {name}" for f in before[1:] if f not in after[1:]]
        lines += [f"+ {f} in {name}" for f in after[1:] if f not in before[1:]]
        if before[0] != after[0]:
            lines.append(f"  {name} is {after[0]}, was {before[0]}")
        elif before != after and set(before) == set(after):
            lines.append(f"  the order of findings in {name}: {_list(after[1:])}, was {_list(before[1:])}")
    return lines


def _list(findings: Iterable[str]) -> str:
    return ", ".join(findings)


if __name__ == "__main__":
    now = observed()
    print("\n".join(difference(expected(), now) if EXPECTED.exists() else ()) or "nothing changed")
    EXPECTED.write_text(table(now))
