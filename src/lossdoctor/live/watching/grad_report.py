"""The gradients of a model at this moment, parameter by parameter."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.core.numbers import percent
from lossdoctor.live.watching.layers import Models, parameter_names
from lossdoctor.torchkit.norms import Pending, device_norms
from lossdoctor.torchkit.packing import local

VANISHING = 1e-3  # norm of a weight's gradient over that of the last layers', as in rule LD106
EXPLODING = 70.0  # the same, as in rule LD105
HUGE = 100.0  # gradient over weight, from which one step of plain descent at a rate of 0.01 replaces the weight
LAST = 3  # layers that the others are compared with
# Verdict -> what it says of a parameter.
VERDICTS = {
    "ok": "nothing stands out",
    "frozen": "does not require a gradient",
    "none": "requires a gradient and has none: it was not reached, or backward() was not called",
    "zero": "every gradient is exactly zero: dead units before it, or a branch that is switched off",
    "vanishing": f"its norm is below {VANISHING:g} of the last layers'",
    "exploding": f"its norm is above {EXPLODING:g} times the last layers', or {HUGE:g} times the weight's own",
    "nonfinite": "some gradients are infinite or NaN",
}
_SHOWN = 200  # rows of the printed table; the dicts have them all
_NAMED = 8  # parameters whose non-finite values are counted below the table
_COLUMNS = ("parameter", "shape", "|grad|", "|param|", "ratio", "max", "zeros", "verdict")
_WIDTHS = (21, 10, 7, 7, 7, 7, 5, 9)
_BOX = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;font-variant-numeric:tabular-nums"
# Legible on white and on black; the word says it too.
_AMBER, _RED = "#A86B00", "#D0451B"
_TINTS = {"none": _AMBER, "zero": _AMBER, "vanishing": _AMBER, "exploding": _RED, "nonfinite": _RED}
_LEFT = (0, 1, len(_COLUMNS) - 1)


@dataclass(frozen=True)
class GradRow:
    """One parameter.

    Attributes:
        name: in the model.
        shape: of the parameter.
        grad_norm: Euclidean norm of its gradient; None without one.
        param_norm: Euclidean norm of the parameter.
        ratio: gradient over parameter norm; None without a gradient, infinite where the parameter is zero.
        max_abs: largest absolute value among its finite gradients.
        zeros: share of the gradients that are exactly zero, 0 to 1.
        nonfinite: number of gradients that are infinite or NaN.
        verdict: a word of :data:`VERDICTS`.
    """

    name: str
    shape: tuple[int, ...]
    grad_norm: float | None
    param_norm: float
    ratio: float | None
    max_abs: float | None
    zeros: float | None
    nonfinite: int
    verdict: str


@dataclass(frozen=True)
class GradReport:
    """The table of :func:`grad_report`: prints in 80 columns, shows itself in a notebook.

    Attributes:
        rows: one per parameter, in the model's order.
        total: norm of all gradients as one vector.
    """

    rows: tuple[GradRow, ...]
    total: float

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[GradRow]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> GradRow:
        return next(row for row in self.rows if row.name == name)

    @property
    def summary(self) -> str:
        """One sentence: the norm, and how many parameters are not well."""
        trainable = [row for row in self.rows if row.verdict != "frozen"]
        if trainable and all(row.verdict == "none" for row in trainable):
            return "no parameter has a gradient: ask after backward() and before zero_grad()"
        counts = {v: sum(row.verdict == v for row in self.rows) for v in VERDICTS if v != "ok"}
        said = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n) or "all ok"
        return f"gradient norm {self.total:.4g} over {len(self.rows)} parameters: {said}"

    def as_dicts(self) -> list[dict[str, Any]]:
        """One dict per parameter, with the attributes of :class:`GradRow`."""
        return [asdict(row) for row in self.rows]

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with one row per parameter."""
        import pandas as pd

        return pd.DataFrame(self.as_dicts()).set_index("name")

    def __str__(self) -> str:
        lines = [_line(_COLUMNS), *(_line(_cells(row, _WIDTHS[0])) for row in self.rows[:_SHOWN])]
        if len(self.rows) > _SHOWN:
            lines.append(f"… {len(self.rows) - _SHOWN:,} more; .rows has them all")
        lines.append(self.summary)
        lines += [f"{r.name}: {r.nonfinite:,} of {math.prod(r.shape):,} values" for r in self.rows if r.nonfinite][
            :_NAMED
        ]
        lines += [f"{v}: {VERDICTS[v]}" for v in VERDICTS if v != "ok" and any(r.verdict == v for r in self.rows)]
        return "\n".join(textwrap.fill(line, 80, subsequent_indent="  ") if len(line) > 80 else line for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='{_side(i)}'>{escape(c)}</th>" for i, c in enumerate(_COLUMNS))
        body = []
        for row in self.rows[:_SHOWN]:
            *cells, verdict = _cells(row, None)
            inner = "".join(f"<td style='{_side(i)}'>{escape(cell)}</td>" for i, cell in enumerate(cells))
            tint = _TINTS.get(row.verdict)
            style = f"{_side(0)};color:{tint};font-weight:600" if tint else _side(0)
            tip = escape(VERDICTS[row.verdict], quote=True)
            body.append(f"<tr>{inner}<td style='{style}' title='{tip}'>{escape(verdict)}</td></tr>")
        more = f"<div>… {len(self.rows) - _SHOWN:,} more</div>" if len(self.rows) > _SHOWN else ""
        table = f"<table style='border-collapse:collapse;color:inherit'><tr>{head}</tr>{''.join(body)}</table>"
        return f'<div style="{_BOX}"><b>{escape(self.summary)}</b>{table}{more}</div>'


def _side(column: int) -> str:
    return f"text-align:{'left' if column in _LEFT else 'right'};padding:0 12px 0 0"


@torch.no_grad()
def grad_report(model: Models) -> GradReport:
    """The gradients that a model holds now, as a table. Changes nothing; on a GPU it waits for the numbers once.

    Call it after ``backward()`` (with a ``GradScaler`` after ``unscale_``) and before ``zero_grad()``. Of a sharded
    model it tells of this process's shards.

    Args:
        model: a module, also compiled or distributed; or several, in a row or by name.

    Raises:
        UsageError: it is no module, or a lazy one that has no parameters yet.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    >>> for p in model.parameters():
    ...     _ = nn.init.ones_(p)
    >>> model(torch.tensor([[3.0, 4.0]])).sum().backward()
    >>> report = grad_report(model)
    >>> report["1.weight"].verdict, round(report["1.weight"].grad_norm, 3), report["1.weight"].zeros
    ('ok', 9.899, 0.0)
    """
    modules = (
        model if isinstance(model, Sequence | nn.Module) else list(model.values()) if isinstance(model, Mapping) else []
    )
    if not (isinstance(modules, nn.Module) or (modules and all(isinstance(m, nn.Module) for m in modules))):
        raise UsageError(f"grad_report() needs a torch module, not {type(model).__name__}")
    named = parameter_names(model)
    if any(nn.parameter.is_lazy(p) for p in named.values()):
        raise UsageError("a lazy module has no parameters yet: run one batch through the model first")
    there = {name: p.grad for name, p in named.items() if p.grad is not None}
    sizes = _norms(named)
    grad_norms = _norms(there)
    found = _statistics(there)
    typical = {
        matrix: _typical([grad_norms[n] for n in there if (named[n].dim() >= 2) is matrix]) for matrix in (True, False)
    }
    rows = []
    for name, parameter in named.items():
        size = sizes[name]
        if name not in there:
            verdict = "none" if parameter.requires_grad else "frozen"
            rows.append(GradRow(name, tuple(parameter.shape), None, size, None, None, None, 0, verdict))
            continue
        norm, (largest, zeros, bad) = grad_norms[name], found[name]
        ratio = norm / size if size else math.inf if norm else 0.0
        verdict = _verdict(norm, ratio if parameter.dim() >= 2 else 0.0, bad, typical[parameter.dim() >= 2])
        rows.append(GradRow(name, tuple(parameter.shape), norm, size, ratio, largest, zeros, bad, verdict))
    return GradReport(tuple(rows), math.hypot(*grad_norms.values()))


def _norms(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    pending: Pending[list[float]] = Pending(device_norms(list(tensors.values())), len(tensors), list)
    return dict(zip(tensors, map(float, pending.result()), strict=True))


def _typical(norms: Sequence[float]) -> float | None:
    """The usual norm in the last layers, of their weights or of their biases and scales."""
    finite = [v for v in norms[-LAST:] if math.isfinite(v) and v > 0]
    return median(finite) if finite else None


def _verdict(norm: float, ratio: float, bad: int, typical: float | None) -> str:
    if bad or not math.isfinite(norm):
        return "nonfinite"
    if norm == 0:
        return "zero"
    if typical is None:
        return "ok"
    if norm > EXPLODING * typical or HUGE < ratio < math.inf:
        return "exploding"
    return "vanishing" if norm < VANISHING * typical else "ok"


def _statistics(grads: Mapping[str, Tensor]) -> dict[str, tuple[float, float, int]]:
    """Of each gradient: largest finite absolute value, share of zeros, number of non-finite values."""
    found: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, grad in grads.items():
        values = local(grad).detach().reshape(-1)
        values = torch.view_as_real(values).reshape(-1) if values.is_complex() else values
        if not values.numel():
            values = values.new_zeros(1)
        finite = torch.isfinite(values)
        largest = torch.where(finite, values, 0).abs().max()
        counts = [largest, (values != 0).sum(), finite.numel() - finite.sum()]
        found.setdefault(grad.device, []).append((name, torch.stack([c.double() for c in counts])))
    table: dict[str, tuple[float, float, int]] = {}
    for rows in found.values():
        for (name, _), (largest, nonzero, bad) in zip(rows, torch.stack([r for _, r in rows]).tolist(), strict=True):
            grad = grads[name]
            size = grad.numel() if grad.layout is not torch.strided else local(grad).numel()
            size *= 2 if grad.is_complex() else 1
            table[name] = (largest, 1 - nonzero / size if size else 0.0, int(bad))
    return table


def _cells(row: GradRow, width: int | None) -> tuple[str, ...]:
    name = row.name if width is None or len(row.name) <= width else "…" + row.name[1 - width :]
    shape = "×".join(map(str, row.shape)) or "1"
    zeros = "" if row.zeros is None else percent(row.zeros).replace(" ", "")
    numbers = (row.grad_norm, row.param_norm, row.ratio, row.max_abs)
    verdict = f"{row.verdict} ({row.nonfinite:,})" if row.nonfinite and width is None else row.verdict
    return (name, shape, *("–" if v is None else f"{v:.1e}" for v in numbers), zeros, verdict)


def _line(cells: Sequence[str]) -> str:
    fitted = (c.ljust(w) if i in _LEFT else c.rjust(w) for i, (c, w) in enumerate(zip(cells, _WIDTHS, strict=True)))
    return " ".join(fitted).rstrip()
