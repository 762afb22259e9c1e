"""What a watch measures, against the naive way; and in every kind of training loop."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lossdoctor.core.curve import Curve
from lossdoctor.core.names import parse
from lossdoctor.core.roles import map_roles
from lossdoctor.live.watching.watch import Watch
from tests.live.watching.watched_models import Notes, backward, batch, net, norm


def test_a_step_like_the_naive_way() -> None:
    model = net()
    with torch.no_grad():
        model[0].bias[:4] = -100.0  # four of the first layer's units are dead
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    watch = Watch(Notes(), model, optimizer, every=1)
    for _ in range(3):
        optimizer.zero_grad()
        backward(model)
        grads = {n: p.grad.clone() for n, p in model.named_parameters()}
        old = {n: p.detach().clone() for n, p in model.named_parameters()}
        optimizer.step()
        row = watch.collect()
        moved = {n: p - old[n] for n, p in model.named_parameters()}
        assert row["grad_norm"] == pytest.approx(norm(list(grads.values())), rel=1e-5)
        assert row["param_norm"] == pytest.approx(norm(list(old.values())), rel=1e-5)
        assert row["update_ratio"] == pytest.approx(norm(list(moved.values())) / norm(list(old.values())), rel=1e-4)
        for layer in ("0.weight", "3.weight", "5.weight"):
            assert row[f"grad_norm/{layer}"] == pytest.approx(norm([grads[layer]]), rel=1e-5)
            assert row[f"update_ratio/{layer}"] == pytest.approx(norm([moved[layer]]) / norm([old[layer]]), rel=1e-4)
        units = {n: int((grads[f"{n}.weight"] == 0).all(1).sum()) for n in ("0", "3", "5")}
        assert units["0"] >= 4
        assert row["dead_units/0"] == units["0"] / 16
        assert row["dead_units"] == sum(units.values()) / 34
        assert row["nonfinite_grads"] == 0
        assert row["learning_rate"] == 0.01
    assert watch.collect() == {"learning_rate": 0.01}  # a measurement is told once


def test_dead_units_are_those_whose_activation_is_always_zero() -> None:
    model = net(64)
    with torch.no_grad():
        model[0].bias[::3] = -50.0
        model[3].weight[5] = -model[3].weight[5].abs()
        model[3].bias[5] = -1.0
    seen: dict[int, Any] = {}
    for place in (1, 4):
        model[place].register_forward_hook(lambda _m, _i, o, p=place: seen.__setitem__(p, (o == 0).all(0)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    watch = Watch(Notes(), model, optimizer)
    backward(model)
    optimizer.step()
    row = watch.collect()
    assert row["dead_units/0"] == pytest.approx(float(seen[1].float().mean()))
    assert row["dead_units/3"] == pytest.approx(float(seen[4].float().mean()))
    assert row["dead_units/0"] >= 22 / 64
    assert "dead_units/5" not in row  # never had one


@pytest.mark.parametrize("channels_last", [False, True])
def test_large_and_convolutional_layers(channels_last: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, bias=False), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 256),
        nn.ReLU(), nn.Linear(256, 5, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight[3] = -model[0].weight[3].abs()  # inputs are positive: dead
        model[2].bias[7:12] = -100.0
        model[5].bias[:64] = -100.0
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer, every=1)
    old = {n: p.detach().clone() for n, p in model.named_parameters()}
    model(torch.rand(4, 3, 8, 8)).square().mean().backward()
    dead = {n: int((model.get_parameter(f"{n}.weight").grad.flatten(1) == 0).all(1).sum()) for n in ("0", "2", "5")}
    optimizer.step()
    row = watch.collect()
    assert dead["0"] == 1
    assert dead["2"] >= 5
    assert dead["5"] >= 64
    for layer, units in (("0", 32), ("2", 64), ("5", 256)):
        assert row[f"dead_units/{layer}"] == pytest.approx(dead[layer] / units)
    # Parameters of more than 65,536 values are followed by a sample.
    moved, whole = (model.get_parameter("5.weight") - old["5.weight"]).norm(), old["5.weight"].norm()
    assert row["update_ratio/5.weight"] == pytest.approx(float((moved / whole).detach()), rel=0.1)
    assert row["param_norm"] == pytest.approx(norm(list(old.values())), rel=0.01)


def test_groups_schedulers_and_tensor_rates() -> None:
    model = net()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": torch.tensor(0.25)}]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    watch = Watch(Notes(), model, optimizer, scheduler=scheduler)
    assert watch.collect() == {"learning_rate": 0.5, "learning_rate/group1": 0.25}
    backward(model)
    optimizer.step()
    scheduler.step()
    row = watch.collect()
    assert (row["learning_rate"], row["learning_rate/group1"]) == (0.5, pytest.approx(0.25))  # those of the step
    assert watch.collect()["learning_rate"] == 0.25
    assert row["grad_norm"] == pytest.approx(norm([p.grad for i in (0, 3) for p in model[i].parameters()]), rel=1e-5)
    optimizer.add_param_group({"params": model[5].parameters()})
    watch.optimizers[0].pace.interval = 1
    optimizer.step()
    row = watch.collect()
    assert "grad_norm/5.weight" in row
    assert "learning_rate/group2" in row


def test_accumulated_frozen_and_missing_gradients() -> None:
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer, every=1)
    for micro in range(4):
        backward(model)
        assert "grad_norm" not in watch.collect(), micro  # rows between the steps have none
    total = norm([p.grad for p in model.parameters() if p.grad is not None])
    optimizer.step()
    row = watch.collect()
    assert row["grad_norm"] == pytest.approx(total, rel=1e-5)
    assert "grad_norm/0.weight" not in row
    assert "dead_units/0" not in row
    optimizer.zero_grad()
    optimizer.step()  # no gradient at all
    assert "grad_norm" not in watch.collect()


def test_sparse_gradients_and_several_optimizers() -> None:
    torch.manual_seed(0)
    table, head = nn.Embedding(50, 8, sparse=True), nn.Linear(8, 3)
    sparse, dense = torch.optim.SparseAdam(table.parameters(), lr=0.01), torch.optim.Adam(head.parameters(), lr=0.02)
    watch = Watch(Notes(), {"table": table, "head": head}, [sparse, dense], every=1)
    head(table(torch.tensor([1, 1, 4]))).square().sum().backward()
    grads = [table.weight.grad, head.weight.grad, head.bias.grad]
    total = norm(grads)
    sparse.step()
    dense.step()
    row = watch.collect()
    assert row["grad_norm"] == pytest.approx(total, rel=1e-5)
    assert row["grad_norm/table.weight"] == pytest.approx(norm(grads[:1]), rel=1e-5)
    assert row["grad_norm/head.weight"] == pytest.approx(norm(grads[1:2]), rel=1e-5)
    assert (row["learning_rate"], row["learning_rate/optimizer1"]) == (0.01, 0.02)
    dense.step()  # one of them steps more often: the other's last measurement stands
    assert watch.collect()["grad_norm"] == pytest.approx(total, rel=1e-5)


def test_without_an_optimizer_gradients_are_measured_at_the_row() -> None:
    model = net()
    watch = Watch(Notes(), model, every=1)
    assert "grad_norm" not in watch.collect()
    backward(model)
    row = watch.collect()
    assert row["grad_norm"] == pytest.approx(norm([p.grad for p in model.parameters()]), rel=1e-5)
    assert row["param_norm"] == pytest.approx(norm(list(model.parameters())), rel=1e-5)
    assert "update_ratio" not in row


def test_what_is_not_wanted_is_not_measured() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer, per_layer=False, updates=False, dead_units=False)
    backward(model)
    optimizer.step()
    assert set(watch.collect()) == {"learning_rate", "grad_norm", "param_norm", "nonfinite_grads"}


def test_gradients_that_are_not_finite_are_counted() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer)
    backward(model)
    model[0].weight.grad[0, 0] = math.inf
    model[3].bias.grad[0] = math.nan
    optimizer.step()
    row = watch.collect()
    assert row["nonfinite_grads"] == 2
    assert math.isnan(row["grad_norm"])
    assert row["grad_norm/0.weight"] == math.inf
    assert math.isfinite(row["grad_norm/5.weight"])


@pytest.mark.parametrize("unscaled", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_gradient_scaling(fused: bool, unscaled: bool) -> None:
    model = net()
    reference = copy.deepcopy(model)
    backward(reference)
    expected = norm([p.grad for p in reference.parameters()])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    notes = Notes()
    watch = Watch(notes, model, optimizer, scaler=scaler, every=1)
    rows = []
    for step in range(4):
        optimizer.zero_grad()
        loss = model(batch()).square().mean()
        scaler.scale(loss * (math.inf if step == 1 else 1.0)).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        rows.append(watch.collect())
    assert [r["loss_scale"] for r in rows] == [1024.0, 512.0, 512.0, 512.0]
    assert [r["skipped_steps"] for r in rows] == [0, 1, 1, 1]
    assert ["grad_norm" in r for r in rows] == [True, False, True, True]  # a skipped step has no norm
    assert rows[0]["grad_norm"] == pytest.approx(expected, rel=1e-4)
    assert rows[2]["grad_norm"] == pytest.approx(expected, rel=1e-3)


def test_a_scaler_that_is_switched_off_says_nothing() -> None:
    model = net()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer, scaler=scaler)
    assert watch.collect() == {"learning_rate": 0.1}


@pytest.mark.parametrize("closure_by_name", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.LBFGS])
def test_closures_are_measured_once_their_gradients_are_there(kind: Any, closure_by_name: bool) -> None:
    model = net()
    optimizer = kind(model.parameters(), lr=0.1)
    notes = Notes()
    watch = Watch(notes, model, optimizer, every=1)
    reference = copy.deepcopy(model)
    backward(reference)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        return backward(model)

    loss = optimizer.step(closure=closure) if closure_by_name else optimizer.step(closure)
    assert float(loss) == pytest.approx(float(reference(batch()).square().mean().detach()))
    row = watch.collect()
    assert row["grad_norm"] == pytest.approx(norm([p.grad for p in reference.parameters()]), rel=1e-5)
    assert row["update_ratio"] > 0
    assert len(notes.asked) == 1
    assert all(notes.asked[0])  # all gradients were there when the actions were asked
    assert notes.stepped == [optimizer]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS])
@pytest.mark.parametrize("closed", [False, True])
def test_a_step_that_an_action_refuses_is_left_out(kind: Any, closed: bool) -> None:
    if kind is torch.optim.LBFGS and not closed:
        pytest.skip("LBFGS needs a closure")
    model = net()
    before = copy.deepcopy(model.state_dict())
    optimizer = kind(model.parameters(), lr=0.1)
    notes = Notes(lambda _: len(notes.asked) != 1)
    watch = Watch(notes, model, optimizer, every=1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        return backward(model)

    for refused in (True, False):
        if closed:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        unchanged = all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
        assert unchanged is refused
        assert watch.collect()["skipped_steps"] == 1


def test_names_are_told_apart_by_the_reader() -> None:
    model = net()
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    optimizer = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[3].parameters()}], lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    watch = Watch(Notes(), model, optimizer, scaler=scaler)
    scaler.scale(model(batch()).square().mean()).backward()
    scaler.step(optimizer)
    row = watch.collect()
    kinds = {name: parse(name).kind for name in row}
    assert not {n: k for n, k in kinds.items() if k in ("loss", "accuracy", "score", "adversarial")}
    roles = map_roles({n: Curve([1, 2], [v, v]) for n, v in {"loss": 1.0, **row}.items()}).names
    assert roles["train_loss"] == ("loss",)
    assert roles["learning_rate"] == ("learning_rate", "learning_rate/group1")
    assert roles["grad_norm"] == ("grad_norm",)
    assert roles["layer_grad_norm"] == ("grad_norm/0.weight", "grad_norm/3.weight")
    assert roles["param_norm"] == ("param_norm",)
    assert roles["loss_scale"] == ("loss_scale",)


def test_deep_models_are_told_by_their_blocks() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.ModuleDict({k: nn.Linear(2, 2) for k in "abc"}) for _ in range(30))
            self.head = nn.Linear(2, 2)

    model = Deep()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    row = watch.collect()
    layers = [n for n in row if n.startswith("grad_norm/")]
    assert layers == [*(f"grad_norm/blocks.{i}.weight" for i in range(30)), "grad_norm/head.weight"]
    assert row["grad_norm/blocks.3.weight"] == pytest.approx(math.sqrt(12))
    flat = nn.Sequential(*(nn.Linear(1, 1) for _ in range(500)))
    optimizer = torch.optim.SGD(flat.parameters(), lr=0.1)
    watch = Watch(Notes(), flat, optimizer)
    flat(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    row = watch.collect()
    shown = [int(n.split("/")[1].split(".")[0]) for n in row if n.startswith("grad_norm/")]
    assert len(shown) <= 64
    assert {0, 1, 2, 497, 498, 499} <= set(shown)
    assert max(b - a for a, b in itertools.pairwise(shown)) < 12


def test_the_guide_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "how-to" / "what-to-log.md").read_text("utf-8")
    example = guide.split("```python\n")[1].split("```")[0]
    exec(compile(example, "what-to-log.md", "exec"), {})
    logged = ast.literal_eval(capsys.readouterr().out)
    assert {"loss", "grad_norm", "update_ratio", "dead_units", "param_norm", "learning_rate"} <= set(logged)
    told = {word.split("/")[0] for word in re.findall(r"`([a-z_/<>.0-9]+)`", guide)}
    assert {name.split("/")[0] for name in logged} <= told
    options = set(inspect.signature(Watch).parameters) - {"monitor", "model", "optimizer", "scheduler"}
    assert {o for o in options if f"{o}=" not in guide} == set()
