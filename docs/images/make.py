"""Writes the pictures of the README from the logs in examples/logs. Needs Chromium.

python docs/images/make.py
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

import lossdoctor
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.report import Report
from lossdoctor.readers import read
from lossdoctor.render.html import report_html
from lossdoctor.render.pictures import save_picture
from lossdoctor.render.text import print_report

HERE = Path(__file__).parent
LOGS = Path("examples/logs")
SHOWN = ("algoperf-ogbg", "modded-nanogpt", "algoperf-fastmri", "olmo-1b")


def main() -> None:
    """Terminal, report and curves."""
    runs = [lossdoctor.diagnose(history) for name in SHOWN for history in read(LOGS / name)]
    report = Report(runs)
    _terminal(report, HERE / "terminal.png")
    _page(report, HERE / "report.png")
    sick = next(d for d in runs if d.alarm)
    _curves(sick, HERE / "curves.png")


def _terminal(report: Report, target: Path) -> None:
    console = Console(file=io.StringIO(), record=True, width=112, force_terminal=True, highlight=False)
    print_report(report, console)
    svg = console.export_svg(title="lossdoctor diagnose", theme=MONOKAI)
    lines = svg.count("-line-") or 40
    style = "<style>body{margin:0} svg{width:1180px;display:block}</style>"
    _shoot(f"<!doctype html><meta charset=utf-8>{style}{svg}", target, 1180, _height(svg, 1180, lines))


def _height(svg: str, width: int, lines: int) -> int:
    """The height at which the whole picture shows, from its view box."""
    box = svg.split('viewBox="', 1)[-1].split('"', 1)[0].split()
    return round(width * float(box[3]) / float(box[2])) if len(box) == 4 else 24 * lines


def _page(report: Report, target: Path) -> None:
    _shoot(report_html(report), target, 1080, 1240)


def _curves(diagnosis: Diagnosis, target: Path) -> None:
    save_picture(diagnosis.history, target, diagnosis, dpi=130)
    _shrink(target)


def _shoot(html: str, target: Path, width: int, height: int) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium here: apt-get install -y chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(html, "utf-8")
        flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --hide-scrollbars".split()
        flags += [f"--window-size={width},{height}", "--virtual-time-budget=5000", f"--screenshot={target.resolve()}"]
        subprocess.run([browser, *flags, page.as_uri()], check=True, capture_output=True, timeout=120)
    _shrink(target)


def _shrink(target: Path) -> None:
    """A palette is enough for text and lines, and a third of the size."""
    from PIL import Image  # Matplotlib brings Pillow

    with Image.open(target) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(target, optimize=True)


if __name__ == "__main__":
    main()
