"""Read a log, look at the diagnosis, and ask for what a script needs of it."""

from __future__ import annotations

from pathlib import Path

import lossdoctor
from lossdoctor.core.diagnosis import Diagnosis

LOG = Path(__file__).parent / "logs" / "algoperf-ogbg"


def main() -> Diagnosis:
    """Diagnose one real run and print what was found."""
    (history,) = lossdoctor.read(LOG)
    diagnosis = history.diagnose()
    print(f"{history.name or history.path}: {diagnosis.status} ({diagnosis.basis})")
    for finding in diagnosis.findings:
        since = "" if finding.onset_step is None else f" since {history.step_unit} {finding.onset_step:,}"
        print(f"  {finding.code} {finding.name}{since}: {finding.summary}")
        for action in finding.actions:
            print(f"    -> {action.action}: {action.detail}")
    return diagnosis


if __name__ == "__main__":
    main()
