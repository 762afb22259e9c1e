"""The types that are drawn and printed: what does not fit together is refused where it is made."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Band, Experiment, Field, Line, Panel, Table


def test_numbers_become_arrays() -> None:
    line = Line("a", [1, 2], [3, 4])  # type: ignore[arg-type]
    assert line.x.dtype == line.y.dtype == np.float64
    field = Field([0, 1, 2], [0, 1], np.zeros((2, 3)), minima=[[1, 0]])  # type: ignore[arg-type]
    assert field.minima.shape == (1, 2)
    assert field.saddles.shape == (0, 2)
    panel = Panel("t", "x", "y", (line,), field=field)
    assert Experiment("n", "t", "text", (panel,)).numbers == {}


def test_what_does_not_fit_is_refused() -> None:
    ones = np.ones(3)
    with pytest.raises(UsageError, match=r"line 'a' needs x and y of one length, got \(3,\) and \(2,\)"):
        Line("a", ones, ones[:2])
    with pytest.raises(UsageError, match="styles: line, points, steps, dashed"):
        Line("a", ones, ones, "dotted")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="band 'b' needs"):
        Band(ones, ones, ones[:2], "b")
    with pytest.raises(UsageError, match=r"shape \(3, 2\); \(len\(y\), len\(x\)\) is \(2, 3\)"):
        Field(ones, ones[:2], np.zeros((3, 2)))
    with pytest.raises(UsageError, match="has 2 columns and a row of 1 cells"):
        Table("t", ("a", "b"), ((1, 2), (3,)))


def test_the_lab_comes_without_torch_until_it_is_used() -> None:
    code = (
        "import sys, lossdoctor; lab = lossdoctor.lab; import lossdoctor.lab.result;"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules;"
        "lab.descend('quadratic', steps=1); assert 'torch' in sys.modules;"
        "assert 'pytorch_optimizer' not in sys.modules; assert set(lab.__all__) == set(dir(lab))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_name_of_the_lab_is_there() -> None:
    from lossdoctor import lab

    for name in (
        "descend",
        "surface",
        "basin_map",
        "Descent",
        "Surface",
        "surfaces",
        "losses",
        "optimizers",
        "schedules",
    ):
        assert getattr(lab, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lab.nothing
