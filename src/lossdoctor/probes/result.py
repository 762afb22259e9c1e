"""What every active test returns: numbers, a verdict in words, a plot, and measurements that rules judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lossdoctor.core.finding import Measurement
from lossdoctor.probes.chart import Chart

OUTCOMES = ("passed", "noted", "failed", "unknown")


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The base of all results. Subclasses add their numbers as fields and name their test.

    Attributes:
        outcome: ``"passed"``; ``"noted"``: worth knowing, not clearly wrong; ``"failed"``: something is wrong;
            ``"unknown"``: the test could not tell, and the verdict says why.
        verdict: one to three sentences, with their numbers and, where something is wrong, the next step.
        measurements: what rules judge; their names are those that the rules read.
        causes: cause of the closed vocabulary -> how many times likelier this result is where that cause holds than
            where it does not (a likelihood ratio: 1 says nothing, below 1 speaks against it).
        steps: how many optimizer steps or evaluations of a batch it cost.
        seconds: wall time.
    """

    test: ClassVar[str] = ""  # its word in lossdoctor.core.vocabulary.TESTS
    title: ClassVar[str] = ""  # for people

    outcome: str
    verdict: str
    measurements: tuple[Measurement, ...] = ()
    causes: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.outcome in ("passed", "noted")

    def charts(self) -> tuple[Chart, ...]:
        """What there is to see; empty when the verdict says it all."""
        return ()

    def rows(self) -> tuple[tuple[str, str], ...]:
        """(what, its value with the unit) of the numbers that a reader wants to see below the verdict."""
        return ()

    def as_dict(self) -> dict[str, Any]:
        """All numbers by name, with the test and its title."""
        return {"test": self.test, "title": self.title, **asdict(self)}

    def plot(self, path: str | Path | None = None, *, style: str = "light") -> Any:
        """A Matplotlib figure of :meth:`charts`; with a path it is written there (PNG, SVG or PDF by its ending)."""
        from lossdoctor.render.probes import plot  # results show themselves; the drawing lives with the renderers

        return plot(self, path, style=style)

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {self.verdict}", *(f"  {name}: {value}" for name, value in self.rows())])

    def _repr_html_(self) -> str:
        from lossdoctor.render.probes import notebook

        return notebook(self)
