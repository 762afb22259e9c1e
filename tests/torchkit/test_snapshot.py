"""Kept states: training goes on from them bit for bit, from memory and from disk."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.snapshot import Snapshot
from tests.torchkit.test_state import Net, fingerprint

SCHEDULERS = {
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
    "multistep": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 2, 4]),
    "plateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "onecycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=50),
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 0.9**e),
    "chained": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.ConstantLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.5)], [3]
    ),
}
OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "tensor_lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), foreach=False),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2),
}


class Run:
    def __init__(self, optimizer: str = "adamw", scheduler: str = "cosine", seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = Net()
        self.optimizer = OPTIMIZERS[optimizer]([p for p in self.model.parameters() if p.requires_grad])
        self.scheduler = SCHEDULERS[scheduler](self.optimizer)

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.model, self.optimizer, self.scheduler

    def go(self, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):

            def closure() -> Tensor:
                self.optimizer.zero_grad()
                loss = self.model(torch.randn(8, 4)).square().mean()
                loss.backward()
                return loss

            losses.append(float(self.optimizer.step(closure).detach()))
            plateau = isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            self.scheduler.step(losses[-1]) if plateau else self.scheduler.step()
        return losses


def state(run: Run) -> Any:
    tensors = {**dict(run.model.named_parameters()), **dict(run.model.named_buffers())}
    bytes_of = {n: t.detach().contiguous().reshape(-1).view(torch.uint8).tolist() for n, t in tensors.items()}
    return bytes_of, [g["lr"] for g in run.optimizer.param_groups]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_run_repeats_itself(optimizer: str, scheduler: str, tmp_path: Path) -> None:
    if (optimizer, scheduler) == ("lbfgs", "onecycle"):
        pytest.skip("OneCycleLR cycles a momentum, LBFGS has none")
    run = Run(optimizer, scheduler)
    run.go(2)
    weight = run.model.first.weight
    kept = Snapshot.take(*run.parts, step=2)
    kept.save(tmp_path / "state.pt")
    first, end = run.go(4), state(run)
    for _ in range(2):  # a snapshot can be used again and again
        kept.restore(*run.parts)
        assert run.go(4) == first
        assert state(run) == end
    assert run.model.first.weight is weight
    assert run.model.tied.weight is weight
    other = Run(optimizer, scheduler, seed=9)  # in another process there is only the file
    other.go(1)
    loaded = Snapshot.load(tmp_path / "state.pt")
    loaded.restore(*other.parts)
    hidden = [h.clone() for h in other.model.hidden]
    assert loaded.step == 2
    assert len(hidden) == 1
    assert other.go(4) == first
    assert state(other) == end


def test_lazy_optimizer_state_is_removed() -> None:
    run = Run()
    kept = Snapshot.take(*run.parts)
    run.go(1)
    run.optimizer.param_groups[0]["added"] = 1
    kept.restore(*run.parts)
    assert not run.optimizer.state
    assert "added" not in run.optimizer.param_groups[0]
    assert all(p.grad is None for p in run.model.parameters())


def test_state_of_higher_precision_than_its_parameter_is_kept() -> None:
    weight = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    optimizer.state[weight] = {"master": torch.tensor([1.0001, 2.0001, 3.0001])}
    model = nn.ParameterList([weight])
    kept = Snapshot.take(model, optimizer)
    optimizer.state[weight] = {}
    kept.restore(model, optimizer)
    master = optimizer.state[weight]["master"]
    assert master.dtype is torch.float32
    assert master.tolist() == torch.tensor([1.0001, 2.0001, 3.0001]).tolist()


def test_mode_and_requires_grad() -> None:
    model = Net()
    model.drop.eval()
    kept = Snapshot.take(model)
    before = fingerprint(model)
    model.eval()
    model.frozen.requires_grad_(True)
    model.drop.train()
    kept.restore(model)
    assert fingerprint(model) == before


def test_compiled_and_plain_models_share_snapshots() -> None:
    model = Net()
    kept = Snapshot.take(torch.compile(model, backend="eager"))
    nn.init.zeros_(model.first.weight)
    kept.restore(model)
    assert bool(model.first.weight.any())
    assert kept.nbytes() > 4 * sum(p.numel() for p in model.parameters())


def test_a_loader_with_a_position() -> None:
    class Loader:
        position = 3

        def state_dict(self) -> dict[str, int]:
            return {"position": self.position}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.position = state["position"]

    loader = Loader()
    model = nn.Linear(1, 1)
    kept = Snapshot.take(model, loader=loader)
    loader.position = 9
    kept.restore(model, loader=loader)
    assert loader.position == 3
    Snapshot.take(model, loader=[1, 2])  # a loader without a position is passed over
    kept.restore(model, loader=[1, 2])


def test_scaler(tmp_path: Path) -> None:
    model, scaler = nn.Linear(1, 1), torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(1))
    Snapshot.take(model, scaler=scaler).save(tmp_path / "s")
    scaler.update(2.0)
    assert scaler.get_scale() == 2.0
    Snapshot.load(tmp_path / "s").restore(model, scaler=scaler)
    assert scaler.get_scale() == 8.0


def test_a_wrong_model_is_refused_and_left_alone() -> None:
    run = Run()
    kept = Snapshot.take(run.model)
    other = nn.Linear(2, 2)
    before = fingerprint(other)
    with pytest.raises(UsageError, match=r"lacks first\.bias, first\.weight, frozen and \d+ more"):
        kept.restore(other)
    with pytest.raises(UsageError, match="no state of the optimizer"):
        kept.restore(*run.parts)
    with pytest.raises(UsageError, match=r"weight has shape \(2, 2\) in the model and \(2, 3\)"):
        Snapshot.take(nn.Linear(3, 2)).restore(other)
    with pytest.raises(UsageError, match="the model has bias"):
        Snapshot.take(nn.Linear(2, 2, bias=False)).restore(other)
    taken = Snapshot.take(other, torch.optim.SGD(other.parameters()))
    with pytest.raises(UsageError, match=r"groups of \[1\] tensors, the snapshot of \[2\]"):
        taken.restore(other, torch.optim.SGD([other.weight]))
    assert fingerprint(other) == before


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code that must not run",)


def test_files_run_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(UsageError, match="not a snapshot"):
        Snapshot.load(path)
    torch.save({"format": 1, "random": Payload()}, path)
    with pytest.raises(UsageError, match="not a snapshot"):
        Snapshot.load(path)
    torch.save({"weights": torch.ones(1)}, path)
    with pytest.raises(UsageError, match="format 1"):
        Snapshot.load(path)
    assert capsys.readouterr().out == ""
    kept = Snapshot({}, {}, {}, parts={"scheduler": {"fn": [1, Payload()]}})
    with pytest.raises(UsageError, match=r"snapshot\.parts\.scheduler\.fn\[1\] is a Payload"):
        kept.save(tmp_path / "never.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pt"]


def test_a_cut_off_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s.pt"
    Snapshot.take(nn.Linear(20, 20)).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UsageError, match="cut off"):
        Snapshot.load(path)
