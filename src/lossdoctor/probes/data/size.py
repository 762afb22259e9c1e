"""How many examples there are for how many inputs."""

from __future__ import annotations

from lossdoctor.probes.data.case import Case
from lossdoctor.probes.data.finding import DataFinding
from lossdoctor.probes.data.remedy import Remedy


def check(case: Case) -> list[DataFinding]:
    """Fewer than 100 examples, or fewer than inputs: then even a linear model can fit any labels."""
    table = case.train
    count = table.total or table.examples
    if table.total is None and not table.loader:
        count = table.examples
    inputs = table.features
    if count >= 100 and (count > inputs or any(p.kind != "table" for p in table.parts)):
        return []
    few = count < 100
    if few:
        summary = f"there are only {count:,} examples" + (f" of {inputs:,} inputs each" if inputs else "")
    else:
        summary = f"there are {count:,} examples for {inputs:,} inputs: even a linear model can fit any labels to them"
    return [
        DataFinding(
            check="size",
            severity="warning" if few else "info",
            summary=summary,
            value=float(count),
            causes={"too-little-data": 4.0 if few else 1.3, "capacity-exceeds-data": 2.0 if few else 1.3},
            remedy=Remedy(what="Cross-validate, keep the model small or pre-trained, augment, or get more examples."),
        )
    ]
