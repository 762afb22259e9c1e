"""Every style of training log gives its curves: names, steps and values as printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.textlog import TextLogReader

DATA = Path(__file__).parents[1] / "data" / "text"
Expected = dict[str, tuple[Iterable[int], Callable[[float], float]]]


def read(name: str) -> TrainingHistory:
    source = Source.from_path(DATA / f"{name}.log")
    assert TextLogReader().sniff(source) == 50
    (history,) = TextLogReader().read(source)
    return history


def loss(x: float) -> float:
    """The curve that the samples print."""
    return 0.5 + 4 * math.exp(-x / 40)


def val(x: float) -> float:
    return loss(x) + 0.1


def scaled(by: float, of: Callable[[float], float] = loss, times: float = 1.0) -> Callable[[float], float]:
    return lambda x: times * of(x / by)


def per_epoch(size: int, by: float) -> Callable[[float], float]:
    """Of a value printed at each epoch's end, by step."""
    return lambda step: val((step // size + 1) * by)


STYLES: dict[str, tuple[str, Expected]] = {
    "simple_pipes": (
        "step",
        {"loss": (range(100, 1001, 100), scaled(10)), "lr": (range(100, 1001, 100), lambda _: 3e-4)},
    ),
    "nanogpt": ("step", {"loss": (range(0, 101, 5), loss), "val loss": (range(0, 101, 25), val)}),
    "modded_nanogpt": ("step", {"train_loss": (range(1, 41), loss), "val_loss": ((0, 20, 40), val)}),
    "llm_c": ("step", {"loss": (range(1, 41), loss), "norm": (range(1, 41), lambda s: 12.5 / s)}),
    "olmo": (
        "step",
        {
            "train/CrossEntropyLoss": (range(1, 21), loss),
            "train/Perplexity": (range(1, 21), lambda s: math.exp(loss(s)) * 900),
            "optim/total_grad_norm": (range(1, 21), lambda s: 6.9 / s),
        },
    ),
    "megatron": (
        "step",
        {
            "lm loss": (range(100, 2001, 100), scaled(20)),
            "val/lm loss": ((1000, 2000), scaled(20, val)),
            "number of nan iterations": (range(100, 2001, 100), lambda _: 0.0),
        },
    ),
    "deepspeed": ("step", {"loss": (range(10, 201, 10), scaled(2)), "lr": (range(10, 201, 10), lambda s: s * 1e-6)}),
    "fairseq": (
        "step",
        {
            "loss": (range(10, 301, 10), loss),
            "valid_loss": ((100, 200, 300), val),
            "gnorm": (range(10, 301, 10), lambda _: 2.1),
        },
    ),
    "fairseq_simple": (
        "step",
        {"loss": (range(500, 2001, 500), scaled(50)), "val/loss": (range(500, 2001, 500), scaled(50, val))},
    ),
    "detectron2": (
        "step",
        {"total_loss": (range(19, 420, 20), scaled(4)), "loss_cls": (range(19, 420, 20), scaled(4, times=0.6))},
    ),
    "mmcv": (
        "step",
        {"loss": (range(50, 601, 50), scaled(10)), "val/bbox_mAP": ((200, 400, 600), lambda s: s / 2000 + 0.01)},
    ),
    "mmengine": (
        "step",
        {"loss": (range(50, 601, 50), scaled(10)), "val/coco/bbox_mAP": ((200, 400, 600), lambda s: s / 2000 + 0.01)},
    ),
    "mmengine_iter": (
        "step",
        {"loss": (range(50, 1001, 50), scaled(10)), "decode.loss_ce": (range(50, 1001, 50), scaled(10, times=0.6))},
    ),
    "keras_bar": (
        "epoch",
        {
            "loss": (range(1, 6), scaled(0.1)),
            "val_loss": (range(1, 6), scaled(0.1, val)),
            "acc": (range(1, 6), lambda e: e / 10 + 0.05),
        },
    ),
    "keras3_bar": (
        "epoch",
        {
            "loss": (range(1, 5), scaled(0.1)),
            "val_loss": (range(1, 5), scaled(0.1, val)),
            "accuracy": (range(1, 5), lambda e: e / 10 + 0.05),
        },
    ),
    "keras_verbose2": ("epoch", {"loss": (range(1, 9), scaled(0.1)), "val_loss": (range(1, 9), scaled(0.1, val))}),
    "tqdm_epochs": ("step", {"loss": (range(10, 151, 10), loss)}),
    "lightning_bar": (
        "step",
        {
            "train_loss_step": (range(25, 201, 25), lambda s: loss((s - 1) // 50 * 10 + ((s - 1) % 50 + 1) / 5)),
            "val_loss": (range(50, 201, 50), lambda s: val(s / 5 - 10)),
            "train_loss_epoch": (range(50, 201, 50), lambda s: loss(s / 5 - 10)),
        },
    ),
    "hf_trainer": ("step", {"loss": (range(10, 301, 10), scaled(3)), "eval_loss": ((100, 200, 300), scaled(3, val))}),
    "hf_trainer_no_bar": ("row", {"loss": (range(1, 31), scaled(0.3)), "eval_loss": ((10, 20, 30), scaled(0.3, val))}),
    "ultralytics": (
        "epoch",
        {
            "box_loss": (range(1, 7), scaled(0.1)),
            "dfl_loss": (range(1, 7), scaled(0.1, times=0.5)),
            "val/mAP50": (range(1, 7), lambda e: e / 10 + 0.005),
        },
    ),
    "torchvision": (
        "step",
        {
            "loss": (range(0, 300, 10), scaled(3)),
            "test/loss": ((90, 190, 290), lambda s: val(s // 100 * 33)),
            "test/Acc@1": ((90, 190, 290), lambda s: 60 + s // 100),
        },
    ),
    "timm": (
        "step",
        {
            "Loss": ([e * 101 + i for e in range(3) for i in range(0, 101, 20)], scaled(3)),
            "test/Loss": ((100, 201, 302), lambda s: val((s - 100) // 101 * 33)),
            "test/Acc@1": ((100, 201, 302), lambda s: 40 + (s - 100) // 101),
        },
    ),
    "pytorch_mnist": (
        "step",
        {
            "Loss": (
                [e * 60000 + i for e in range(3) for i in range(0, 60000, 6400)],
                lambda s: loss(s // 60000 * 10 + s % 60000 / 6400),
            ),
            "test/Average loss": ((57600, 117600, 177600), lambda s: val((s // 60000 + 1) * 10)),
            "test/Accuracy": ((57600, 117600, 177600), lambda s: 0.9 + (s // 60000 + 1) / 100),
        },
    ),
    "algoperf": (
        "step",
        {
            name: (
                (1, 1031, 2203, 3387, 4570),
                lambda s, plus=plus: loss(20 * (1, 1031, 2203, 3387, 4570).index(int(s))) + plus,
            )
            for name, plus in (("train/ctc_loss", 0.0), ("validation/ctc_loss", 0.1), ("test/ctc_loss", 0.2))
        },
    ),
    "xgboost_sagemaker": ("step", {"train-rmse": (range(20), loss), "validation-rmse": (range(20), val)}),
    "paddle": ("step", {"loss": (range(0, 100, 10), loss), "lr": (range(0, 100, 10), lambda _: 1e-3)}),
    "spacy": (
        "step",
        {
            "LOSS TOK2VEC": (range(0, 2400, 200), scaled(40, times=10)),
            "LOSS NER": (range(0, 2400, 200), scaled(40, times=100)),
        },
    ),
    "espnet": (
        "step",
        {
            "loss": (range(100, 901, 100), scaled(10, times=1.3)),
            "val/loss": ((300, 600, 900), scaled(10, val, 1.3)),
            "loss_att": (range(100, 901, 100), scaled(10)),
        },
    ),
    "stable_baselines3": (
        "step",
        {
            "train/loss": (range(2048, 16385, 2048), scaled(204.8)),
            "rollout/ep_rew_mean": (range(2048, 16385, 2048), lambda s: 20.5 + s / 2048),
        },
    ),
    "clu_jax": (
        "step",
        {"loss": (range(10, 201, 10), scaled(2)), "accuracy": (range(10, 201, 10), lambda s: s / 1000)},
    ),
    "sklearn_mlp": ("step", {"loss": (range(1, 31), loss), "Validation score": ((10, 20, 30), lambda i: i / 100)}),
    "ranks": ("step", {"loss": (range(1, 21), loss), "grad_norm": (range(1, 21), lambda _: 1.0)}),
    "srun_labels": ("step", {"loss": (range(1, 21), loss)}),
    "same_on_all_ranks": ("step", {"loss": (range(1, 21), loss)}),
    "epoch_lines": (
        "epoch",
        {
            "Train Loss": (range(1, 11), scaled(0.2)),
            "Val Loss": (range(1, 11), scaled(0.2, val)),
            "Val Acc": (range(1, 11), lambda e: e * 8),
        },
    ),
    "epoch_blocks": (
        "epoch",
        {
            "train Loss": (range(10), scaled(0.2)),
            "val Loss": (range(10), scaled(0.2, val)),
            "val/Acc": (range(10), lambda e: e / 10 + 0.04),
        },
    ),
    "epoch_sections": (
        "epoch",
        {
            "loss": (range(1, 8), scaled(0.2)),
            "val/loss": (range(1, 8), scaled(0.2, val)),
            "val/accuracy": (range(1, 8), lambda e: e / 10 + 0.04),
        },
    ),
    "repeated_keys": (
        "epoch",
        {"Train Loss": (range(1, 9), scaled(0.2)), "Val. Loss": (range(1, 9), scaled(0.2, val))},
    ),
    "yunjey": ("step", {"Loss": (range(100, 1801, 100), scaled(10))}),
    "cifar_tutorial": ("step", {"loss": (range(2000, 36001, 2000), scaled(200))}),
    "dcgan": (
        "step",
        {"Loss_D": (range(0, 600, 50), scaled(10)), "Loss_G": (range(0, 600, 50), lambda s: 4 - loss(s / 10) / 2)},
    ),
    "skorch": ("epoch", {"train_loss": (range(1, 11), scaled(0.2)), "valid_loss": (range(1, 11), scaled(0.2, val))}),
    "fastai": (
        "epoch",
        {
            "train_loss": (range(8), scaled(0.2)),
            "valid_loss": (range(8), scaled(0.2, val)),
            "error_rate": (range(8), lambda e: 0.9 - e * 0.08),
        },
    ),
    "markdown_table": (
        "step",
        {
            "Training Loss": (range(100, 1001, 100), scaled(10)),
            "Validation Loss": (range(100, 1001, 100), scaled(10, val)),
        },
    ),
    "json_behind_prefix": ("step", {"loss": (range(0, 200, 10), scaled(2)), "lr": (range(0, 200, 10), lambda _: 1e-3)}),
    "bare_losses": ("row", {"loss": (range(1, 51), lambda r: loss(r - 1))}),
    "tensor_prints": ("step", {"loss": (range(20), loss)}),
    "prose": (
        "epoch",
        {"training loss": (range(1, 9), scaled(0.2)), "validation loss": (range(1, 9), scaled(0.2, val))},
    ),
    "two_runs": ("step", {"loss": ([*range(0, 200, 10)] * 2, scaled(2))}),
    "crash": ("step", {"loss": (range(1, 21), loss)}),
    "nanotron": ("step", {"lm_loss": (range(1, 21), loss), "grad_norm": (range(1, 21), lambda _: 1.5)}),
    "torchtitan": ("step", {"loss": (range(10, 201, 10), scaled(2))}),
    "rich_bar": ("step", {"loss": (range(10, 91, 10), loss)}),
}


@pytest.mark.parametrize("name", sorted(STYLES))
def test_style(name: str) -> None:
    unit, expected = STYLES[name]
    history = read(name)
    assert history.step_unit == unit
    for metric, (steps, value) in expected.items():
        curve = history[metric]
        assert curve.steps.tolist() == list(steps), metric
        wanted = np.array([value(float(s)) for s in curve.steps])
        np.testing.assert_allclose(curve.values, wanted, rtol=4e-3, atol=6e-4, err_msg=metric)


TRAINING_AND_VALIDATION = {
    "nanogpt": ("loss", "val loss"),
    "modded_nanogpt": ("train_loss", "val_loss"),
    "llm_c": ("loss", "val loss"),
    "megatron": ("lm loss", "val/lm loss"),
    "fairseq": ("loss", "valid_loss"),
    "keras_bar": ("loss", "val_loss"),
    "hf_trainer": ("loss", "eval_loss"),
    "pytorch_mnist": ("Loss", "test/Average loss"),
    "epoch_lines": ("Train Loss", "Val Loss"),
    "epoch_sections": ("loss", "val/loss"),
    "algoperf": ("train/ctc_loss", "validation/ctc_loss"),
    "timm": ("Loss", "test/Loss"),
    "xgboost_sagemaker": ("train-rmse", "validation-rmse"),
}


@pytest.mark.parametrize("name", sorted(TRAINING_AND_VALIDATION))
def test_roles(name: str) -> None:
    train, validation = TRAINING_AND_VALIDATION[name]
    roles = read(name).roles
    assert roles.primary("train_loss") == train
    assert roles.primary("val_loss") == validation


def test_every_sample_is_tested() -> None:
    assert {p.stem for p in DATA.glob("*.log")} - {"nonfinite"} == set(STYLES)


def test_first_evaluation_before_the_first_step() -> None:
    curve = read("llm_c")["val loss"]
    assert curve.steps.tolist() == [0, 10, 20, 30, 40]


def test_gradient_norm_called_norm() -> None:
    assert read("llm_c").roles.primary("grad_norm") == "norm"


def test_nonfinite_losses_are_kept() -> None:
    curve = read("nonfinite")["loss"]
    assert len(curve) == 30
    assert np.isinf(curve.values[24])
    assert np.isnan(curve.values[25:]).all()


def test_step_average_of_nan_is_no_nan_loss() -> None:
    history = read("modded_nanogpt")
    assert all(np.isfinite(history[n].values).all() for n in ("train_loss", "val_loss"))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("modded_nanogpt", {"planned_steps": 40}),
        ("megatron", {"planned_steps": 500000}),
        ("keras_bar", {"planned_steps": 5}),
        ("hf_trainer", {"planned_steps": 300}),
        ("yunjey", {"planned_steps": 1800, "steps_per_epoch": 600}),
        ("two_runs", {"batch_size": 32, "learning_rate": 0.001}),
    ],
)
def test_context(name: str, known: dict[str, float]) -> None:
    found = read(name).context.known()
    assert {k: found.get(k) for k in known} == known


def test_wall_times() -> None:
    times = read("fairseq")["valid_loss"].times
    assert times is not None
    assert np.diff(times).tolist() == [60.0, 60.0]
    assert times[0] == np.datetime64("2021-03-02T11:01:59").astype("datetime64[s]").astype(float)


def test_crash_is_an_event_not_an_error() -> None:
    history = read("crash")
    assert [(e["event"], e["line"]) for e in history.events] == [("traceback", 21), ("out_of_memory", 24)]
    assert "out of memory at line 24" in history.notes
