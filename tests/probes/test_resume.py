"""resume_test: checkpoints that hold all, and those that lose a part; and no trace."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.clinic import tasks
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.optim import lr_scheduler

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes.resume.check import resume_test
from lossdoctor.probes.resume.result import ResumeResult

torch.set_num_threads(1)

Data = list[tuple[Tensor, Tensor]]


def net(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 1))


def data(count: int = 6) -> Data:
    g = torch.Generator().manual_seed(1)
    return [(torch.randn(32, 6, generator=g), torch.randn(32, 1, generator=g)) for _ in range(count)]


def shuffled() -> Any:
    x, y = (torch.cat(parts) for parts in zip(*data(), strict=True))
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 32, shuffle=True)


class Run:
    """A script's objects, with a checkpoint that holds the parts that are named."""

    def __init__(self, parts: str, dropout: float = 0.0) -> None:
        self.model = net(dropout)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.02)
        self.scheduler = lr_scheduler.LambdaLR(self.optimizer, lambda t: 0.7**t)
        self.parts = {name: getattr(self, name) for name in parts.split()}

    def save(self, path: Path) -> None:
        torch.save({name: part.state_dict() for name, part in self.parts.items()}, path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])

    def test(self, save: Any = None, load: Any = None) -> ResumeResult:
        return resume_test(
            self.model, F.mse_loss, shuffled(), self.optimizer, scheduler=self.scheduler,
            save=save or self.save, load=load or self.load, progress=False,
        )  # fmt: skip


def test_a_whole_checkpoint_passes() -> None:
    found = Run("model optimizer scheduler").test()
    assert found.outcome == "passed", found.verdict
    assert found.lost == ()
    assert found.agree
    assert found.losses == found.resumed_losses
    assert found.rates == found.resumed_rates
    assert found.causes["state-lost-on-resume"] < 0.1
    assert found.charts() == ()


@pytest.mark.parametrize(
    ("parts", "lost", "cause"),
    [
        ("optimizer scheduler", {"weights", "buffers"}, "state-lost-on-resume"),
        ("model scheduler", {"optimizer", "groups"}, "state-lost-on-resume"),
        ("model optimizer", {"scheduler"}, "schedule-restart"),
        ("model", {"optimizer", "groups", "scheduler"}, "schedule-restart"),
    ],
)
def test_what_a_checkpoint_lacks_is_named(parts: str, lost: set[str], cause: str) -> None:
    found = Run(parts).test()
    assert found.outcome == "failed"
    assert set(found.lost) == lost
    assert not found.agree
    assert found.causes[cause] >= 5
    assert "Not restored" in found.verdict
    assert "state_dict()" in found.verdict
    assert found.charts()


def test_a_lost_momentum_shows_in_the_second_loss_and_a_lost_schedule_in_the_rate() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found = resume_test(
        model, F.mse_loss, shuffled(), optimizer, progress=False,
        save=lambda path: torch.save(model.state_dict(), path),
        load=lambda path: model.load_state_dict(torch.load(path, weights_only=True)),
    )  # fmt: skip
    assert found.lost == ("optimizer",)
    assert found.losses[0] == found.resumed_losses[0]
    assert found.losses[1] != found.resumed_losses[1]
    assert "momentum_buffer" in found.verdict
    assert "second loss" in found.verdict
    schedule = Run("model optimizer").test()
    assert "last_epoch: 0 instead of 3" in schedule.verdict
    assert schedule.rates[0] == pytest.approx(0.02 * 0.7**3)
    restarted = Run("model").test()
    assert restarted.resumed_rates[0] == pytest.approx(0.02)
    assert "learning rate is 0.02 instead of" in restarted.verdict


def test_a_lost_schedule_whose_next_steps_agree() -> None:
    run = Run("model optimizer")
    run.scheduler = lr_scheduler.StepLR(run.optimizer, 30)
    found = run.test()
    assert found.lost == ("scheduler",)
    assert found.agree
    assert "the same even so" in found.verdict


def test_names_that_do_not_match_leave_weights_as_they_were() -> None:
    run = Run("model optimizer scheduler")

    def save(path: Path) -> None:
        state = {k.replace("4.", "head."): v for k, v in run.model.state_dict().items()}
        torch.save([state, run.optimizer.state_dict(), run.scheduler.state_dict()], path)

    def load(path: Path) -> None:
        state, optimizer, scheduler = torch.load(path, weights_only=True)
        run.model.load_state_dict(state, strict=False)
        run.optimizer.load_state_dict(optimizer)
        run.scheduler.load_state_dict(scheduler)

    found = run.test(save, load)
    assert found.lost == ("weights",)
    assert {d.name for d in found.differences} == {"4.weight", "4.bias"}


def test_a_load_that_ends_in_evaluation_mode() -> None:
    run = Run("model optimizer scheduler")

    def load(path: Path) -> None:
        run.load(path)
        run.model.eval()

    found = run.test(load=load)
    assert found.lost == ("mode",)
    assert "model.train()" in found.verdict
    assert run.model.training


def test_generators_of_dropout() -> None:
    found = Run("model optimizer scheduler", dropout=0.5).test()
    assert found.outcome == "noted"
    assert found.random
    assert found.rng_restored is False
    assert "dropout" in found.verdict
    run = Run("model optimizer scheduler", dropout=0.5)

    def save(path: Path) -> None:
        torch.save({"rng": torch.get_rng_state(), **{n: p.state_dict() for n, p in run.parts.items()}}, path)

    def load(path: Path) -> None:
        run.load(path)
        torch.set_rng_state(torch.load(path, weights_only=True)["rng"])

    kept = run.test(save, load)
    assert kept.rng_restored
    assert kept.outcome == "passed"


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "none": lambda o: None,  # noqa: ARG005
    "steps": lambda o: lr_scheduler.MultiStepLR(o, [2, 4]),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=40),
    "warmup, cosine": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=4), lr_scheduler.CosineAnnealingLR(o, 30)], [4]
    ),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_state_dicts_of_torch_hold_all(schedule: str) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = SCHEDULES[schedule](optimizer)
    found = resume_test(model, F.mse_loss, shuffled(), optimizer, scheduler=scheduler, steps=4, progress=False)
    assert found.outcome == "passed", found.verdict
    assert "Give save and load" in found.verdict
    assert found.rates == found.resumed_rates
    assert 0.3 < found.causes["schedule-restart"] < 1


def test_a_buffer_outside_of_the_state_dict_is_lost() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 1)
            self.register_buffer("seen", torch.zeros(()), persistent=False)
            self.register_buffer("table", torch.arange(6.0), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.seen += 1
            return self.inner(x + 0.01 * self.table) / self.seen

    torch.manual_seed(0)
    model = Counting()
    found = resume_test(model, F.mse_loss, shuffled(), torch.optim.SGD(model.parameters(), lr=0.1), progress=False)
    assert found.lost == ("buffers",)
    assert [d.name for d in found.differences] == ["seen"]


def test_frozen_weights_need_not_be_saved() -> None:
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])

    def save(path: Path) -> None:
        state = {k: v for k, v in model.state_dict().items() if not k.startswith("0.")}
        torch.save([state, optimizer.state_dict()], path)

    def load(path: Path) -> None:
        state, rest = torch.load(path, weights_only=True)
        model.load_state_dict(state, strict=False)
        optimizer.load_state_dict(rest)

    found = resume_test(model, F.mse_loss, shuffled(), optimizer, save=save, load=load, progress=False)
    assert found.outcome == "passed"


def test_a_loader_in_fixed_order_begins_anew() -> None:
    model = net()
    found = resume_test(model, F.mse_loss, data(), torch.optim.Adam(model.parameters()), progress=False)
    assert found.repeats
    assert found.outcome == "noted"
    assert "first ones again" in found.verdict


def test_a_scaler_is_part_of_the_state() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
    whole = resume_test(model, F.mse_loss, shuffled(), optimizer, scaler=scaler, progress=False)
    assert whole.outcome == "passed", whole.verdict
    lost = resume_test(
        model, F.mse_loss, shuffled(), optimizer, scaler=scaler, progress=False,
        save=lambda path: torch.save([model.state_dict(), optimizer.state_dict()], path),
        load=lambda path: [p.load_state_dict(s) for p, s in zip(
            (model, optimizer), torch.load(path, weights_only=True), strict=True
        )],
    )  # fmt: skip
    assert lost.lost == ("scaler",)
    assert scaler.get_scale() == 256.0


@pytest.mark.parametrize("failing", [None, ValueError, KeyboardInterrupt])
def test_no_trace(failing: type[BaseException] | None) -> None:
    task = tasks.make("digits_cnn", seed=0, dropout=0.2)
    optimizer, loader = task.make_optimizer("momentum"), task.train_loader
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for x, y in list(loader)[:3]:
        task.loss_fn(task.model(x), y).backward()
        optimizer.step()
        scheduler.step()
    before = {k: v.clone() for k, v in task.model.state_dict().items()}
    held, planned = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(scheduler.state_dict())
    states = (torch.get_rng_state(), loader.sampler.sampler.generator.get_state())  # type: ignore[union-attr]
    groups = optimizer.param_groups

    def load(path: Path) -> None:
        task.model.load_state_dict(torch.load(path, weights_only=True))
        if failing is not None:
            raise failing("broken")

    run = lambda: resume_test(  # noqa: E731
        task.model, task.loss_fn, loader, optimizer, scheduler=scheduler, progress=False,
        save=lambda path: torch.save(task.model.state_dict(), path), load=load,
    )  # fmt: skip
    if failing is None:
        run()
    else:
        with pytest.raises(UserCodeError if failing is ValueError else failing, match="broken"):
            run()
    assert all(torch.equal(v, before[k]) for k, v in task.model.state_dict().items())
    assert scheduler.state_dict() == planned
    assert optimizer.param_groups is groups
    now = optimizer.state_dict()
    assert now["param_groups"] == held["param_groups"]
    assert all(torch.equal(now["state"][k]["momentum_buffer"], v["momentum_buffer"]) for k, v in held["state"].items())
    after = (torch.get_rng_state(), loader.sampler.sampler.generator.get_state())  # type: ignore[union-attr]
    assert all(map(torch.equal, states, after))


def test_bad_input_is_named() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"give both save\(path\) and load\(path\), or neither"):
        resume_test(model, F.mse_loss, data(), optimizer, save=print, progress=False)
    with pytest.raises(UsageError, match="steps is 1"):
        resume_test(model, F.mse_loss, data(), optimizer, steps=1, progress=False)
    with pytest.raises(UsageError, match="the optimizer is missing"):
        resume_test(model, F.mse_loss, data(), None, progress=False)  # type: ignore[arg-type]

    def save(_path: Path) -> None:
        raise OSError("disk full")

    with pytest.raises(UserCodeError, match=r"save\(\) raised OSError: disk full"):
        resume_test(model, F.mse_loss, data(), optimizer, save=save, load=print, progress=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_cuda_agree() -> None:
    for device in ("cpu", "cuda"):
        model = net(0.3).to(device)
        optimizer = torch.optim.AdamW(model.parameters())
        found = resume_test(model, F.mse_loss, shuffled(), optimizer, progress=False)
        assert found.agree
        assert found.lost == ()
