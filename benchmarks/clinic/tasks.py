"""Small real training tasks behind one call. Each trains in seconds on one CPU thread.

>>> from benchmarks.clinic import tasks
>>> task = tasks.make("digits_mlp", seed=0)
>>> x, y = next(iter(task.train_loader))
>>> float(task.loss_fn(task.model(x), y)) > 1.5
True
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from benchmarks.clinic import data, models, more_tasks, other_tasks
from benchmarks.clinic.data import Pair, Splits
from benchmarks.clinic.models import Shape
from benchmarks.clinic.spec import LossFn, Spec, rates

Loader = DataLoader[Any]


@dataclass
class Task:
    """A made task. Everything may be replaced before training; that is how faults are injected.

    Attributes:
        model: freshly initialised by the seed.
        loss_fn: ``loss_fn(model(x), y)`` is the mean loss of a batch.
        splits: inputs and targets of train, val and test. Loaders read them when they are asked for.
        optimizer: name of the default optimizer; ``lr`` its tuned learning rate at ``batch_size``.
        classes: K of a classification or a language model, else None.
        metrics: name -> function of (output, target), larger is better.
    """

    name: str
    seed: int
    spec: Spec
    model: nn.Module
    loss_fn: LossFn
    splits: Splits
    batch_size: int
    optimizer: str = "adam"
    shuffle: bool = True
    metrics: dict[str, LossFn] = field(default_factory=dict)

    @property
    def classes(self) -> int | None:
        return self.spec.classes

    @property
    def lr(self) -> float:
        return learning_rate(self.name, self.optimizer, self.batch_size)

    @property
    def steps(self) -> int:
        return self.spec.steps

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self.splits.train[0]) // self.batch_size)

    @property
    def train_loader(self) -> Loader:
        """Batches of the training part, reshuffled each epoch by the seed; an incomplete last batch is dropped."""
        return loader(self.splits.train, self.batch_size, seed=self.seed if self.shuffle else None, drop_last=True)

    @property
    def val_loader(self) -> Loader:
        """Large batches of the validation part, in order."""
        return loader(self.splits.val, 512)

    def make_optimizer(self, name: str | None = None, lr: float | None = None, **options: Any) -> torch.optim.Optimizer:
        """An optimizer of the model's parameters: ``sgd``, ``momentum``, ``adam`` or ``adamw``."""
        name = name or self.optimizer
        rate = learning_rate(self.name, name, self.batch_size) if lr is None else lr
        return make_optimizer(self.model, name, rate, **options)

    def evaluate(self, part: str = "val") -> float:
        """Mean loss on a part, in evaluation mode; the mode is restored."""
        return evaluate(self.model, self.loss_fn, self.splits.parts[part])


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of examples whose largest output is the target's class."""
    return (output.argmax(dim=-1) == target).float().mean()


def _language_loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def _density_loss(output: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001 -- a density has no target
    return -output.mean()


# The first tasks: on them everything is tuned.
FIRST: dict[str, Spec] = {
    "digits_mlp": Spec(
        "classification", data.digits, lambda s: models.mlp(64, 10, s), F.cross_entropy,
        Shape(64, 2, dropout=0.1), 0.08, 1200, rates(2e-3, 0.2, 0.05), classes=10, weight_decay=1e-4,
    ),
    "digits_cnn": Spec(
        "classification", data.digit_images, lambda s: models.cnn(10, s), F.cross_entropy,
        Shape(12, 2, dropout=0.1), 0.05, 900, rates(3e-3, 0.2, 0.05), classes=10, weight_decay=1e-4, norm="batch",
    ),
    "cancer": Spec(
        "classification", data.cancer, lambda s: models.mlp(30, 2, s), F.cross_entropy,
        Shape(16, 1, dropout=0.2), 0.08, 600, rates(2e-3, 0.1, 0.02), batch_size=32, classes=2, weight_decay=1e-2,
        small=True,
    ),
    "diabetes": Spec(
        "regression", data.diabetes, lambda s: models.mlp(10, 1, s), F.mse_loss,
        Shape(12, 1, dropout=0.1), 0.55, 600, rates(1e-3, 0.01, 0.001), batch_size=32, weight_decay=1e-2, small=True,
    ),
    "friedman": Spec(
        "regression", data.friedman, lambda s: models.mlp(10, 1, s), F.mse_loss,
        Shape(32, 2), 0.06, 1500, rates(1e-3, 0.05, 0.01), weight_decay=1e-4,
    ),
    "digits_inpaint": Spec(
        "regression", data.digit_halves, lambda s: models.mlp(32, 32, s), F.mse_loss,
        Shape(32, 1, dropout=0.1), 0.31, 1200, rates(5e-3, 1.0, 0.1), weight_decay=1e-4,
    ),
    "autoencoder": Spec(
        "autoencoding", data.digit_copies, lambda s: models.autoencoder(64, s), F.mse_loss,
        Shape(48, 1), 0.024, 2000, rates(5e-3, 2.0, 0.3),
    ),
    "chars_transformer": Spec(
        "language", data.characters, lambda s: models.CharTransformer(60, 32, s), _language_loss,
        Shape(32, 2), 1.75, 1200, rates(5e-3, 0.5, 0.1), batch_size=16, classes=60, codes=True,
    ),
    "chars_gru": Spec(
        "language", data.characters, lambda s: models.CharRNN(60, s), _language_loss,
        Shape(48, 1), 1.63, 1200, rates(5e-3, 2.0, 0.3), batch_size=16, classes=60, codes=True, recurrent=True,
    ),
    "moons_flow": Spec(
        "density", data.moons, models.CouplingFlow, _density_loss,
        Shape(24, 1, activation="tanh"), -1.6, 1500, rates(5e-3, 0.01, 0.003), batch_size=128,
    ),
}  # fmt: skip
SPECS: dict[str, Spec] = {**FIRST, **more_tasks.MORE, **other_tasks.OTHER}


def names() -> tuple[str, ...]:
    """The tasks there are."""
    return tuple(SPECS)


def make(name: str, seed: int = 0, *, batch_size: int | None = None, train_share: float = 1.0, **shape: Any) -> Task:
    """Make a task: the same seed gives the same data, weights and batches.

    Args:
        name: one of :func:`names`.
        seed: of the splits, the initial weights and the order of the batches.
        batch_size: examples per step; the task's own by default.
        train_share: share of the training part that is kept.
        shape: changes of the model (see :class:`benchmarks.clinic.models.Shape`).

    Raises:
        ValueError: no task of that name.
    """
    if name not in SPECS:
        raise ValueError(f"no task {name!r}; there are {', '.join(SPECS)}")
    spec = SPECS[name]
    splits = spec.splits(seed)
    if train_share < 1.0:
        keep = max(8, int(train_share * len(splits.train[0])))
        splits.train = (splits.train[0][:keep], splits.train[1][:keep])
    with torch.random.fork_rng():  # making a task leaves the caller's random state alone
        torch.manual_seed(seed)
        model = spec.model(replace(spec.shape, **shape))
        if spec.fine_tuned is not None:
            spec.fine_tuned(model, seed)
    metrics: dict[str, LossFn] = {"accuracy": accuracy} if spec.classes else dict(spec.metrics)
    size = min(batch_size or spec.batch_size, len(splits.train[0]))
    return Task(name, seed, spec, model, spec.loss_fn, splits, size, metrics=metrics)


def learning_rate(name: str, optimizer: str, batch_size: int) -> float:
    """The tuned learning rate, carried over to another batch size: by the root for Adam, linearly downwards for SGD."""
    spec = SPECS[name]
    ratio = batch_size / spec.batch_size
    power = 0.5 if optimizer.startswith("adam") or ratio > 1 else 0.75
    return float(spec.lr[optimizer] * ratio**power)


def make_optimizer(
    model: nn.Module, name: str, lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """``sgd``, ``momentum``, ``adam`` or ``adamw`` over all parameters of a model."""
    parameters = list(model.parameters())
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay)
    if name == "momentum":
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    raise ValueError(f"no optimizer {name!r}; there are sgd, momentum, adam, adamw")


def loader(part: Pair, batch_size: int, *, seed: int | None = None, drop_last: bool = False) -> Loader:
    """Batches of a part; shuffled when a seed is given. Whole batches are indexed at once, for speed."""
    dataset = TensorDataset(*part)
    if seed is None:
        sampler: RandomSampler | SequentialSampler = SequentialSampler(dataset)
    else:
        sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(seed))
    return DataLoader(dataset, sampler=BatchSampler(sampler, batch_size, drop_last), batch_size=None)


@torch.no_grad()
def evaluate(model: nn.Module, loss_fn: LossFn, part: Pair, batch_size: int = 512) -> float:
    """Mean loss on a part, in evaluation mode; the mode is restored."""
    was_training = model.training
    model.eval()
    total = 0.0
    for start in range(0, len(part[0]), batch_size):
        x, y = part[0][start : start + batch_size], part[1][start : start + batch_size]
        total += float(loss_fn(model(x), y)) * len(x)
    model.train(was_training)
    return total / len(part[0])
