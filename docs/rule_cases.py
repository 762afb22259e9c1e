"""What the pages of the rules take from the rules' own cases in tests/rules/cases: pictures, causes and advice.

The pictures are drawn by ``make docs`` alone; tests/test_docs.py checks the text, and that every picture is there.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the cases are part of the tests, which are not installed

from lossdoctor.core.diagnosis import Diagnosis  # noqa: E402
from lossdoctor.core.finding import Finding  # noqa: E402
from lossdoctor.core.history import TrainingHistory  # noqa: E402
from lossdoctor.core.options import Settings  # noqa: E402
from lossdoctor.engine import diagnose  # noqa: E402
from lossdoctor.rules import find_rule  # noqa: E402

PICTURES = Path("rules", "pictures")  # below docs/
SIZE = (6.6, 3.3)
TALL = (6.6, 4.3)  # with the panels of gradient norm and learning rate
DPI = 84
COLOURS = 48


@dataclass(frozen=True)
class Shown:
    """One case of a rule, judged by that rule alone."""

    code: str
    kind: str
    name: str
    diagnosis: Diagnosis

    @property
    def picture(self) -> Path:
        """Where its picture lies, below docs/."""
        return PICTURES / f"{self.code}-{self.kind}.png"

    @property
    def panels(self) -> bool:
        """Whether the rule goes by more than losses."""
        rule = find_rule(self.code)
        return rule is not None and any(word in rule.needs for word in ("gradient", "learning rate"))

    @property
    def finding(self) -> Finding | None:
        return next((f for f in self.diagnosis.findings if f.code == self.code), None)


def shown(code: str) -> list[Shown]:
    """The first sick and the first healthy case of a rule; none for a rule without cases (a plugin's)."""
    out = []
    for kind in ("sick", "healthy"):
        for name, make in list(_cases(code, kind.upper()).items())[:1]:
            out.append(Shown(code, kind, name, _judged(make(), code)))
    return out


def findings(code: str) -> list[Finding]:
    """What the rule says of each of its sick cases."""
    made = (Shown(code, "sick", name, _judged(make(), code)) for name, make in _cases(code, "SICK").items())
    return [s.finding for s in made if s.finding is not None]


def _cases(code: str, kind: str) -> dict[str, Callable[[], TrainingHistory]]:
    from tests.rules import cases

    try:
        return dict(getattr(cases.load(code), kind, {}))
    except ModuleNotFoundError:
        return {}


def _judged(history: TrainingHistory, code: str) -> Diagnosis:
    return diagnose(history, settings=Settings(select=(code,)))


# as Markdown


def pictures_section(examples: Sequence[Shown]) -> list[str]:
    """``## What it looks like``: a sick run and a healthy one, each with its picture."""
    lines = ["", "## What it looks like"] if examples else []
    for one in examples:
        link = one.picture.relative_to("rules").as_posix()
        what = f"Found in the case “{one.name}”" if one.kind == "sick" else f"Not found in the case “{one.name}”"
        told = f": {one.finding.summary}." if one.finding is not None else "."
        lines += ["", what + told, "", f"![{one.kind}: {one.name}]({link})"]
    return lines


def vocabulary_section(found: Sequence[Finding]) -> list[str]:
    """``## Causes and advice``: what the rule names over its sick cases, in the words of the closed vocabularies."""
    causes: dict[str, tuple[float, str]] = {}
    actions: dict[str, tuple[str, str]] = {}
    for finding in found:
        for cause in finding.causes:
            if cause.likelihood > causes.get(cause.name, (0.0, ""))[0]:
                causes[cause.name] = (cause.likelihood, f"`{cause.test}`" if cause.test else "")
        for action in finding.actions:
            actions.setdefault(action.action, (action.grade, action.detail))
    lines: list[str] = []
    if causes:
        lines += ["", "## Causes it weighs", "", "| cause | up to | test that tells |", "|---|---|---|"]
        ranked = sorted(causes.items(), key=lambda item: (-item[1][0], item[0]))
        lines += [f"| `{name}` | {100 * share:.0f} % | {test} |" for name, (share, test) in ranked]
    if actions:
        lines += ["", "## What it advises", "", "| action | safety | as in |", "|---|---|---|"]
        lines += [
            f"| `{n}` | {safety} | {detail.replace('|', chr(92) + '|')} |" for n, (safety, detail) in actions.items()
        ]
    return lines


# pictures


def draw(examples: Sequence[Shown], docs: Path) -> None:
    """Write the pictures; one that is there already with the same bytes is left alone."""
    for one in examples:
        data = _png(one)
        target = docs / one.picture
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_bytes() != data:
            target.write_bytes(data)


def _png(one: Shown) -> bytes:
    """A small picture with few colours (10 to 30 kB)."""
    from PIL import Image  # Matplotlib brings Pillow

    from lossdoctor.render.pictures import plot_history

    figure = plot_history(one.diagnosis.history, one.diagnosis, size=TALL if one.panels else SIZE, title=one.name)
    # A remark (severity info) leaves a run healthy: here the finding is the point, not the status.
    figure.suptitle(f"{'found' if one.kind == 'sick' else 'not found'}: {one.name}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    with Image.open(buffer) as image:
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, format="PNG", optimize=True)
    return out.getvalue()
