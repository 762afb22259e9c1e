"""What ``make demo`` runs: diagnose the logs in examples/logs, then write the HTML report and the sick runs' pictures.

The same from a shell:

    lossdoctor diagnose examples/logs
    lossdoctor diagnose examples/logs --format html --output demo/report.html
    lossdoctor plot examples/logs/algoperf-ogbg --output demo/algoperf-ogbg.png
"""

from __future__ import annotations

import os
from pathlib import Path

import lossdoctor
from lossdoctor.core.report import Report
from lossdoctor.readers import scan
from lossdoctor.render.html import report_html
from lossdoctor.render.pictures import save_picture
from lossdoctor.render.text import make_console, print_report

HERE = Path(os.path.relpath(Path(__file__).parent))
LOGS = HERE / "logs"
OUT = HERE.parent / "demo"


def main(logs: Path = LOGS, out: Path = OUT) -> list[Path]:
    """Print the report, write the files, and return their paths."""
    found = scan([logs])
    runs = [lossdoctor.diagnose(history) for history in found.histories]
    errors = [{"path": e.path, "error": e.message} for e in found.errors]
    report = Report(runs, errors, found.skipped)
    print_report(report, make_console())

    out.mkdir(parents=True, exist_ok=True)
    page = out / "report.html"
    html = report_html(report)
    page.write_bytes(html if isinstance(html, bytes) else html.encode())
    written = [page]
    for diagnosis in report.worst_first():
        if diagnosis.alarm:
            history = diagnosis.history
            name = Path(history.path).parent.name or "run"
            written.append(save_picture(history, out / f"{name}.png", diagnosis))
    print("\nWritten:")
    for path in written:
        print(f"  {path}")
    return written


if __name__ == "__main__":
    main()
