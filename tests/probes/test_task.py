"""What task a loss makes, what guessing gives, how low a batch lets it go, and short trainings."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes.subject import Subject
from lossdoctor.probes.task.examples import cut, merged, rows
from lossdoctor.probes.task.kind import identify
from lossdoctor.probes.task.levels import floor, guess
from lossdoctor.probes.task.misuse import misuses, reduction
from lossdoctor.probes.task.noise import above, paired
from lossdoctor.probes.task.reset import reinitialise
from lossdoctor.probes.task.run import fresh, outside, quiet, train
from lossdoctor.probes.task.task import Seen, Task, seen

torch.set_num_threads(1)


def told(model: nn.Module, loss_fn: Any, batch: Any) -> tuple[Task, Seen]:
    subject = Subject(model, loss_fn, [batch])
    what = seen(subject, batch)
    return identify(subject, what), what


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "kind", "loss", "classes"),
    [
        ("digits_mlp", "classification", "cross_entropy", 10),
        ("friedman", "regression", "mse", None),
        ("angles_huber", "regression", "huber", None),
        ("rings_deep", "binary", "bce_logits", None),
        ("chars_transformer", "language", "cross_entropy", 60),
        ("moons_flow", "unknown", "unknown", None),
        ("counts_poisson", "unknown", "unknown", None),
        ("digits_vae", "unknown", "unknown", None),
    ],
)
def test_the_clinics_tasks_are_told(name: str, kind: str, loss: str, classes: int | None) -> None:
    task = tasks.make(name)
    found, _ = told(task.model, task.loss_fn, next(iter(task.train_loader)))
    assert (found.kind, found.loss, found.classes) == (kind, loss, classes)


X = torch.randn(12, 6, generator=gen())
Y = torch.arange(12) % 4
SHARES = F.one_hot(Y, 4).float() * 0.9 + 0.025
HIGH = (Y[:, None] > 1).float()
CE = F.cross_entropy  # inside a lambda a loss has no name


def focal(o: Tensor, y: Tensor) -> Tensor:
    return (-((1 - o.softmax(-1)) ** 2) * o.log_softmax(-1)).gather(1, y[:, None]).mean()


def linear(outputs: int, *after: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, outputs), *after)


LOSSES: dict[str, tuple[nn.Module, Any, Tensor, str, str]] = {
    "unnamed": (linear(4), lambda o, y: CE(o, y) * 1, Y, "classification", "cross_entropy"),
    "smooth": (linear(4), lambda o, y: CE(o, y, label_smoothing=0.2), Y, "classification", "cross_entropy"),
    "partial": (linear(4), functools.partial(CE, reduction="sum"), Y, "classification", "cross_entropy"),
    "summed": (linear(4), lambda o, y: CE(o, y, reduction="sum"), Y, "classification", "cross_entropy"),
    "nll": (linear(4, nn.LogSoftmax(-1)), lambda o, y: F.nll_loss(o, y) * 1, Y, "classification", "nll"),
    "focal": (linear(4), focal, Y, "classification", "unknown"),
    "of shares": (linear(4, nn.Softmax(-1)), lambda o, y: F.nll_loss(o.log(), y), Y, "classification", "unknown"),
    "soft": (linear(4), lambda o, y: CE(o, y) * 1, SHARES, "classification", "cross_entropy"),
    "bce": (linear(1, nn.Sigmoid()), lambda o, y: F.binary_cross_entropy(o, y) * 1, HIGH, "binary", "bce"),
    "multilabel": (
        linear(3),
        lambda o, y: F.binary_cross_entropy_with_logits(o, y, reduction="sum") / len(o),
        (X[:, :3] > 0).float(),
        "binary",
        "bce_logits",
    ),
    "squared": (linear(2), lambda o, y: ((o - y) ** 2).sum(1).mean(), X[:, :2], "regression", "mse"),
    "squeezed": (linear(1), lambda o, y: (o[:, 0] - y).abs().mean(), X[:, 0], "regression", "mae"),
    "quantile": (
        linear(1),
        lambda o, y: torch.maximum(0.9 * (y - o), 0.1 * (o - y)).mean(),
        X[:, :1],
        "regression",
        "unknown",
    ),
}


@pytest.mark.parametrize(("model", "loss_fn", "y", "kind", "loss"), LOSSES.values(), ids=LOSSES)
def test_a_loss_without_a_name_is_asked(model: nn.Module, loss_fn: Any, y: Tensor, kind: str, loss: str) -> None:
    found, _ = told(model, loss_fn, (X, y))
    assert (found.kind, found.loss) == (kind, loss)
    assert not found.broadcast


class Heads(nn.Module):
    """Logits of any shape, free of the inputs."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.out = nn.Parameter(torch.randn(*shape, generator=gen(1)))

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002 -- free of the inputs
        return self.out


@pytest.mark.parametrize(("shape", "axis"), [((5, 7, 3), 2), ((5, 3, 7), 1), ((5, 7, 7), 1)])
def test_the_dimension_of_the_classes_is_found(shape: tuple[int, ...], axis: int) -> None:
    y = torch.randint(0, 3, (5, 7), generator=gen())
    flat = shape[-1] == 3 and shape[1] != 3
    loss_fn = (lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten())) if flat else F.cross_entropy
    found, _ = told(Heads(*shape), loss_fn, (torch.zeros(5, 7), y))
    assert (found.classes, found.axis) == (shape[axis], axis)


@pytest.mark.parametrize("shift", [False, True])
def test_a_model_with_a_loss_of_its_own(shift: bool) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 9)

        def forward(self, input_ids: Tensor, labels: Tensor) -> Any:
            logits = self.embed(input_ids)
            o, t = (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)
            return SimpleNamespace(loss=F.cross_entropy(o.flatten(0, 1), t.flatten()), logits=logits)

    ids = torch.randint(0, 9, (4, 8), generator=gen())
    labels = ids.clone()
    labels[0, :5] = -100
    found, what = told(Own(), None, {"input_ids": ids, "labels": labels})
    assert (found.kind, found.classes, found.shifted) == ("language", 9, shift)
    assert guess(found, [what]).uniform == pytest.approx(math.log(9), rel=1e-5)
    lowest = floor(found, what)
    assert lowest is not None
    assert lowest == pytest.approx(naive_prefix_floor(ids, labels, shift), abs=2e-3)


def naive_prefix_floor(ids: Tensor, labels: Tensor, shift: bool) -> float:
    """Entropy of the label given all tokens up to there, by counting."""
    seen_labels: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, due in zip(ids.tolist(), labels.tolist(), strict=True):
        due = [*due[1:], -100] if shift else due
        for i, label in enumerate(due):
            if label != -100:
                seen_labels[tuple(row[: i + 1])].append(label)
    every = [(v.count(x) / len(v)) for v in seen_labels.values() for x in v]
    return -sum(math.log(p) for p in every) / len(every)


def test_unknown_is_said() -> None:
    assert told(nn.Linear(6, 4), lambda o, y: -o.mean(), (X, Y))[0].kind == "unknown"  # noqa: ARG005 -- no target
    assert told(nn.Linear(6, 4), lambda o, y: o.std() + y.sum() * 0, (X, X[:, :4]))[0].kind == "unknown"
    subject = Subject(nn.Linear(6, 4), None, [X], forward=lambda model, batch: model(batch).mean())
    assert identify(subject, seen(subject, X)).kind == "unknown"


@given(st.lists(st.integers(0, 4), min_size=3, max_size=40))
@settings(max_examples=20, deadline=None)
def test_guessing_gives_the_entropy_of_the_labels(labels: list[int]) -> None:
    y = torch.tensor(labels)
    found, what = told(nn.Linear(2, 5), F.cross_entropy, (torch.randn(len(y), 2), y))
    level = guess(found, [what])
    assert level.uniform == pytest.approx(math.log(5), rel=1e-5)
    assert level.constant == pytest.approx(stats.entropy(np.bincount(labels)), abs=5e-3)


@pytest.mark.parametrize("centre", [0.0, 30.0])
def test_guessing_gives_variance_and_deviation(centre: float) -> None:
    y = centre + torch.randn(41, 1, generator=gen()).exp()
    for loss_fn, value in ((F.mse_loss, y.var(unbiased=False)), (F.l1_loss, (y - y.median()).abs().mean())):
        found, what = told(nn.Linear(6, 1), loss_fn, (torch.randn(41, 6), y))
        assert guess(found, [what]).constant == pytest.approx(float(value), rel=1e-4)
        assert floor(found, what) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 1.0, 0.2])),
        nn.CrossEntropyLoss(label_smoothing=0.3),
        nn.CrossEntropyLoss(reduction="sum"),
        F.multi_margin_loss,
    ],
)
def test_no_constant_answer_is_better_than_the_guess(loss_fn: Any) -> None:
    y = torch.tensor([0] * 9 + [1] * 3 + [2] * 2 + [3] * 6)
    found, what = told(nn.Linear(6, 4), loss_fn, (torch.randn(20, 6), y))
    level = guess(found, [what])
    assert level.constant is not None
    assert level.uniform is not None
    others = [torch.randn(4, generator=gen(i)) * 2 for i in range(200)]
    assert level.constant <= min(float(loss_fn(o.expand(20, 4), y)) for o in others) * 1.001
    assert level.constant <= level.uniform + 1e-6


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.25, 0.4, 0.7])
def test_the_floor_of_smoothed_labels(smoothing: float) -> None:
    share = 1 - smoothing + smoothing / 4, *[smoothing / 4] * 3
    entropy = float(stats.entropy(share))
    found, what = told(nn.Linear(6, 4), lambda o, y: F.cross_entropy(o, y, label_smoothing=smoothing), (X, Y))
    assert floor(found, what) == pytest.approx(entropy, abs=2e-3)


def test_contradictions_raise_the_floor() -> None:
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [2.0]])
    found, what = told(nn.Linear(1, 2), F.cross_entropy, (x, torch.tensor([0, 0, 1, 1, 0])))
    assert floor(found, what) == pytest.approx(0.6 * float(stats.entropy([2, 1])), rel=1e-3)
    y = torch.tensor([[0.0], [3.0], [6.0], [1.0], [1.0]])
    found, what = told(nn.Linear(1, 1), F.mse_loss, (x, y))
    assert floor(found, what) == pytest.approx((9 + 0 + 9) / 5)
    found, what = told(nn.Linear(1, 1), F.l1_loss, (x, y))
    assert floor(found, what) == pytest.approx((3 + 0 + 3) / 5)
    found, what = told(nn.Linear(1, 1), F.binary_cross_entropy_with_logits, (x, (y > 1).float()))
    assert floor(found, what) == pytest.approx(0.6 * float(stats.entropy([2, 1])), rel=1e-3)


def test_masked_labels_do_not_count() -> None:
    y = Y.clone()
    y[:6] = -100
    found, what = told(nn.Linear(6, 4), F.cross_entropy, (X, y))
    kept = np.bincount(Y[6:].numpy())
    assert guess(found, [what]).constant == pytest.approx(float(stats.entropy(kept)), abs=5e-3)
    assert not misuses(found, what)
    found, what = told(
        nn.Linear(6, 4), nn.CrossEntropyLoss(ignore_index=0, reduction="sum"), (X, torch.zeros(12).long())
    )
    assert not misuses(Task(), what)


MISUSES: list[tuple[str, Any, Any, Any]] = [
    ("softmax-twice", nn.Sequential(nn.Linear(6, 4), nn.Softmax(-1)), F.cross_entropy, Y),
    ("not-log-probabilities", nn.Linear(6, 4), F.nll_loss, Y),
    ("not-log-probabilities", nn.Sequential(nn.Linear(6, 4), nn.Softmax(-1)), nn.NLLLoss(), Y),
    ("sigmoid-twice", nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()), nn.BCEWithLogitsLoss(), (Y[:, None] > 1).float()),
    ("shapes-broadcast", nn.Linear(6, 1), F.mse_loss, X[:, 0]),
    ("shapes-broadcast", nn.Linear(6, 1), lambda o, y: (o - y).abs().mean(), X[:, 0]),
    ("", nn.Linear(6, 4), F.cross_entropy, Y),
    ("", nn.Sequential(nn.Linear(6, 4), nn.LogSoftmax(-1)), F.nll_loss, Y),
    ("", nn.Sequential(nn.Linear(6, 4), nn.LogSoftmax(-1)), F.cross_entropy, Y),
    ("", nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()), nn.BCELoss(), (Y[:, None] > 1).float()),
    ("", nn.Linear(6, 1), nn.BCEWithLogitsLoss(), (Y[:, None] > 1).float()),
    ("", nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)), F.mse_loss, X[:, 0]),
    ("", nn.Sequential(nn.Linear(6, 4), nn.Softmax(-1)), lambda o, y: F.nll_loss(o.log(), y), Y),
]


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(("name", "model", "loss_fn", "y"), MISUSES)
def test_misused_losses_are_told_and_right_ones_are_not(name: str, model: nn.Module, loss_fn: Any, y: Tensor) -> None:
    assert [m.name for m in misuses(*told(model, loss_fn, (X, y)))] == ([name] if name else [])


@pytest.mark.parametrize(("kind", "expected"), [("mean", "mean"), ("sum", "sum")])
def test_the_reduction_is_told(kind: str, expected: str) -> None:
    for model, loss_fn, y in (
        (nn.Linear(6, 4), nn.CrossEntropyLoss(reduction=kind), Y),
        (nn.Linear(6, 2), nn.MSELoss(reduction=kind), X[:, :2]),
    ):
        assert reduction(*told(model, loss_fn, (X, y))) == expected


def test_dropout_is_off_and_batch_norm_trains() -> None:
    model = nn.ModuleDict(
        {
            "norm": nn.BatchNorm1d(3),
            "drop": nn.Dropout(0.5),
            "cell": nn.LSTM(3, 4, num_layers=2, dropout=0.3),
            "attention": nn.MultiheadAttention(4, 2, dropout=0.2),
            "layer": nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True),
        }
    ).eval()
    quiet(model)
    assert model["norm"].training
    assert model["cell"].training  # the backward pass of cuDNN asks for it
    assert not model["drop"].training
    assert model["cell"].dropout == 0
    assert model["attention"].dropout == 0
    x = torch.randn(2, 5, 4)
    assert torch.equal(model["layer"](x), model["layer"](x))


def test_the_optimizer_starts_afresh_with_its_own_settings() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.02}]
    optimizer = torch.optim.AdamW(groups, betas=(0.8, 0.9), weight_decay=0.3)
    heard: list[Any] = []
    optimizer.register_step_post_hook(lambda *a: heard.append(a))
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 100)
    assert optimizer.param_groups[0]["lr"] == 0
    subject = Subject(model, F.mse_loss, [(torch.ones(3, 2), torch.ones(3, 1))], optimizer, scheduler=warmup)
    with subject.untouched():
        made = fresh(subject, None, 10.0)
        assert [g["lr"] for g in made.param_groups] == pytest.approx([1.0, 0.2])  # what the warmup climbs to
        assert [g["weight_decay"] for g in made.param_groups] == [0, 0]
        assert made.param_groups[0]["betas"] == (0.8, 0.9)
        train(subject, made, subject.batches.cycle(3))
        assert [g["lr"] for g in fresh(subject, 0.5, 1.0).param_groups] == pytest.approx([0.5, 0.1])
    assert not heard
    assert [g["lr"] for g in optimizer.param_groups] == [0, 0]
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.3, 0.3]
    assert not optimizer.state
    assert outside(Subject(model, F.mse_loss, [], torch.optim.SGD(model[0].parameters(), 1))) == ("1.weight", "1.bias")


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS, torch.optim.RMSprop])
def test_a_short_training_learns_and_stops(kind: Any) -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    x = torch.randn(32, 2)
    subject = Subject(model, F.mse_loss, [(x, x @ torch.tensor([[1.0], [-2.0]]))], kind(model.parameters(), lr=0.05))
    course = train(subject, fresh(subject, None, 1.0), subject.batches.cycle(500), goal=0.01)
    assert course.reached is not None
    assert course.losses[course.reached] <= 0.01 < min(course.losses[: course.reached])
    assert len(course.losses) == course.reached + 1


def test_what_ends_a_training_early() -> None:
    x, y = torch.ones(4, 1), torch.ones(4, 1)
    model = nn.Linear(1, 1)
    subject = Subject(model, F.mse_loss, [(x, y)], torch.optim.SGD(model.parameters(), lr=1e4))
    assert train(subject, fresh(subject, None, 1.0), subject.batches.cycle(99)).broken == "non-finite"
    model = nn.Linear(1, 1)
    subject = Subject(model, F.mse_loss, [(x, y)], torch.optim.SGD(model.parameters(), lr=2.0))
    assert train(subject, fresh(subject, None, 1.0), subject.batches.cycle(99), limit=1e3).broken == "diverged"
    subject = Subject(nn.Linear(1, 1), lambda o, t: F.mse_loss(o.detach(), t), [(x, y)])
    assert train(subject, fresh(subject, None, 1.0), subject.batches.cycle(99)).broken == "detached"


def test_weights_are_drawn_anew() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.MultiheadAttention(3, 1), nn.GRU(3, 3))
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(7.0)
    assert reinitialise(model, True) == ()
    assert all(p.isfinite().all() and not (p == 7).all() for p in model.parameters())

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.ones(2))
            self.inner = nn.Linear(2, 2)

    model = Own()
    assert reinitialise(model, True) == ("place",)
    assert torch.equal(model.place, torch.ones(2))
    assert reinitialise(model, lambda m: nn.init.zeros_(m.place)) == ()
    assert not model.place.any()


def test_what_cannot_be_drawn_anew_is_said() -> None:
    with pytest.raises(UsageError, match=r"no module of Heads has reset_parameters.*reset=function"):
        reinitialise(Heads(2, 2), True)

    def broken(model: nn.Module) -> None:  # noqa: ARG001 -- as it is called
        raise RuntimeError("no such file")

    with pytest.raises(UserCodeError, match="the function given as reset raised RuntimeError: no such file"):
        reinitialise(nn.Linear(1, 1), broken)


def test_a_transformer_of_hugging_face_is_drawn_anew() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(3.0)
    assert reinitialise(model, True) == ()
    # Its own initialisation, small, and not that of the modules.
    assert float(model.transformer.wte.weight.detach().std()) == pytest.approx(0.02, rel=0.2)
    ids = torch.randint(0, 50, (4, 12))
    found, what = told(model, None, {"input_ids": ids, "labels": ids})
    assert (found.kind, found.classes, found.shifted) == ("language", 50, True)
    assert float(what.loss) == pytest.approx(math.log(50), abs=0.1)


def test_batches_are_cut_and_joined() -> None:
    batch = {"x": torch.arange(6).reshape(3, 2), "n": torch.tensor(5), "labels": torch.arange(3)}
    assert rows(batch) is None  # a number of the whole batch
    pair = (torch.arange(6).reshape(3, 2), torch.arange(3))
    assert rows(pair) == 3
    assert cut(pair, slice(0, 2))[1].tolist() == [0, 1]
    first = Seen(pair, torch.zeros(3, 4), pair[1], torch.tensor(1.0))
    whole = merged([first, first])
    assert whole is not None
    assert whole.batch[0].shape == (6, 2)
    assert merged([first, Seen((torch.zeros(3, 5), pair[1]), torch.zeros(3, 4), pair[1], torch.tensor(1.0))]) is None


def test_differences_as_scipy_judges_them() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=20), rng.normal(0.3, size=20)
    found = paired(a.tolist(), b.tolist())
    student = stats.ttest_rel(b, a, alternative="greater").pvalue
    assert found.p == pytest.approx(2 * min(student, stats.wilcoxon(b - a, alternative="greater").pvalue))
    under_null = [paired([0.0] * 8, v).p for v in rng.normal(size=(600, 8)).tolist()]
    assert np.mean(np.array(under_null) < 0.05) < 0.07
    # Under the null a further value of the same kind is called different as often as p says.
    chances = [above(v[0], v[1:]).p for v in rng.normal(size=(2000, 5)).tolist()]
    assert np.mean(np.array(chances) < 0.05) == pytest.approx(0.05, abs=0.015)
    assert math.isnan(paired([1.0], [2.0]).p)
