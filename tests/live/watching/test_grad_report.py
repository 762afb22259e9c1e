"""The table of gradients, against the naive way."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.live.watching.grad_report import VERDICTS, grad_report
from tests.live.watching.watched_models import backward, net, norm


def sick() -> nn.Module:
    """A model in which everything that the table tells of is there."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 6) for _ in range(9)]
    model = nn.Sequential(*layers)
    for layer in layers:
        layer.weight.grad = torch.full((6, 6), 0.5)
        layer.bias.grad = torch.full((6,), 0.5)
    layers[0].requires_grad_(False)
    layers[0].weight.grad = layers[0].bias.grad = None
    layers[1].weight.grad = None
    layers[2].weight.grad.zero_()
    layers[3].weight.grad *= 1e-4
    layers[4].weight.grad *= 71
    layers[5].weight.grad[0, :2] = torch.tensor([math.nan, -math.inf])
    layers[6].weight.grad[:3] = 0.0
    return model


def test_every_verdict() -> None:
    report = grad_report(sick())
    assert {row.name: row.verdict for row in report if row.name.endswith("weight")} == {
        "0.weight": "frozen", "1.weight": "none", "2.weight": "zero", "3.weight": "vanishing", "4.weight": "exploding",
        "5.weight": "nonfinite", "6.weight": "ok", "7.weight": "ok", "8.weight": "ok",
    }  # fmt: skip
    assert set(VERDICTS) == {row.verdict for row in report}
    row = report["5.weight"]
    assert (row.nonfinite, row.max_abs, row.shape) == (2, 0.5, (6, 6))
    assert report["6.weight"].zeros == 0.5
    assert (report["1.weight"].grad_norm, report["1.weight"].ratio, report["1.weight"].zeros) == (None, None, None)
    assert report.summary.startswith("gradient norm nan over 18 parameters: 2 frozen, 1 none, 1 zero, 1 vanishing")


def test_like_the_naive_way() -> None:
    model = net()
    backward(model)
    report = grad_report(model)
    for name, parameter in model.named_parameters():
        row, grad = report[name], parameter.grad
        assert grad is not None
        assert row.grad_norm == pytest.approx(norm([grad]), rel=1e-5)
        assert row.param_norm == pytest.approx(norm([parameter]), rel=1e-5)
        assert row.ratio == pytest.approx(norm([grad]) / norm([parameter]), rel=1e-5)
        assert row.max_abs == pytest.approx(float(grad.abs().max()))
        assert row.zeros == pytest.approx(float((grad == 0).float().mean()))
    assert report.total == pytest.approx(norm([p.grad for p in model.parameters()]), rel=1e-5)
    assert len(report) == 6


def test_it_prints_in_80_columns_and_in_a_notebook() -> None:
    model = nn.ModuleDict({"a_rather_long_name_of_a_module": sick(), "conv<1>": nn.Conv2d(64, 3, 7)})
    report = grad_report(model)
    text = str(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "3×64×7×7" in text
    assert "5.weight: 2 of 36 values" in text
    assert "vanishing: " in text
    html = report._repr_html_()
    assert "conv&lt;1&gt;.weight" in html
    assert "nonfinite (2)" in html
    many = str(grad_report(nn.Sequential(*(nn.Linear(1, 1) for _ in range(300)))))
    assert "400 more" in many
    assert "no parameter has a gradient" in many


def test_as_data() -> None:
    pandas = pytest.importorskip("pandas")
    report = grad_report(sick())
    frame = report.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.loc["4.weight", "verdict"] == "exploding"
    assert report.as_dicts()[5]["name"] == "2.bias"


def test_special_gradients() -> None:
    table = nn.Embedding(10, 4, sparse=True)
    table(torch.tensor([1, 1, 3])).sum().backward()
    row = grad_report(table)["weight"]
    assert row.zeros == pytest.approx(0.8)
    assert row.grad_norm == pytest.approx(norm([table.weight.grad]))
    scalar = nn.Module()
    scalar.temperature = nn.Parameter(torch.zeros(()))
    scalar.temperature.grad = torch.tensor(2.0)
    scalar.nothing = nn.Parameter(torch.empty(0))
    scalar.nothing.grad = torch.empty(0)
    report = grad_report(scalar)
    assert report["temperature"].ratio == math.inf
    assert report["nothing"].verdict == "zero"
    assert "temperature" in str(report)


def test_of_compiled_and_of_several_models() -> None:
    names = [row.name for row in grad_report(torch.compile(net(), backend="eager"))]
    assert names == [row.name for row in grad_report(net())]
    both = grad_report({"gen": nn.Linear(1, 1), "disc": nn.Linear(1, 1)})
    assert [row.name for row in both] == ["gen.weight", "gen.bias", "disc.weight", "disc.bias"]


def test_nothing_is_changed() -> None:
    model = net()
    backward(model)
    grads = [p.grad.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    grad_report(model)
    assert all(torch.equal(a, p.grad) for a, p in zip(grads, model.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_what_is_no_model() -> None:
    for wrong in (3, [], [1], nn.Linear(1, 1).parameters()):
        with pytest.raises(UsageError, match="needs a torch module"):
            grad_report(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one batch"):
        grad_report(nn.LazyLinear(3))
