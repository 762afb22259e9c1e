"""The notebook runs from top to bottom and shows what its words promise; it is kept without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "lab.ipynb"
nbformat = pytest.importorskip("nbformat")


def outputs(cell: Any, kind: str) -> list[str]:
    found = [o.get("text") or o.get("data", {}).get(kind) for o in cell.outputs]
    return [text for text in found if text]


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c for c in code if c.outputs or c.execution_count is not None] == []
    assert NOTEBOOK.stat().st_size < 20_000


def test_it_runs_and_shows_its_pictures(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()  # raises at the first cell that fails
    code = [c for c in notebook.cells if c.cell_type == "code"]
    drawn = [c for c in code if c.source.rstrip().splitlines()[-1].startswith("draw(")]
    assert len(drawn) >= 6
    assert [c.source for c in drawn if not any("image/png" in o.get("data", {}) for o in c.outputs)] == []
    said = "\n".join(text for c in code for text in outputs(c, "text/plain"))
    for part in ("(201, 4, 2)", "limit cycle", "diverged", "descent.gif", "evaluations for 625 points"):
        assert part in said
    judged = next(c for c in code if c.source.endswith("diagnose()"))
    assert "LD102" in outputs(judged, "text/html")[0]
