# ruff: noqa: E501  (logs have long lines)
"""Home-made training loops: ways of printing that belong to no tool. Values fall as 4 / (n + 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.textlog import TextLogReader


def read(text: str) -> TrainingHistory:
    source = Source("out.txt", "out.txt", data=text.encode())
    assert TextLogReader().sniff(source) == 50
    (history,) = TextLogReader().read(source)
    return history


@dataclass(frozen=True)
class Wild:
    """One way of printing.

    Attributes:
        template: printed once per record; ``{n}`` counts from 0, ``{e}`` from 1, ``{a}`` and ``{b}`` are the losses.
        unit: the step unit.
        train, val: names of the curves; ``""`` when there is none.
        by, start: the steps are ``start + by * n``.
        count: records.
    """

    template: str
    unit: str
    train: str
    val: str = ""
    by: int = 1
    start: int = 1
    count: int = 12


WILD = {
    "eva": Wild(
        "EPOCH: {e}\n\rLoss=9 Batch_id=0 Accuracy=1: 0%|  | 1/20 [00:01<00:09, 20.0it/s]\rLoss={a} Batch_id=19 Accuracy=81.83: 100%|███| 20/20 [00:39<00:00, 20.0it/s]\n\nTest set: Average loss: {b}, Accuracy: 7584/10000 (75.84%)\n\nvalidation-accuracy improved from 77.75 to 78.0, saving model to D:\\x.h5\n",
        "step",
        "Loss",
        "test/Average loss",
        by=20,
        start=20,
    ),
    "go": Wild(
        "\t\t2021-12-28 09:03:29.716 : logger.go:110 : End {e} 20/20 (4s/4s) loss: {a} acc: 0.0261 val_loss: {b} val_acc: 0.1500\n\t\t2021-12-28 09:03:29.903 : logger.go:87 : Saved\n",
        "row",
        "loss",
        "val_loss",
    ),
    "dots": Wild(
        "2026-01-24T02:34:07.082507385Z   Epoch {e}/12.. Train loss: {a}.. Validation loss: {b}.. Validation accuracy: 0.908\n",
        "epoch",
        "Train loss",
        "Validation loss",
    ),
    "terms under a heading": Wild(
        "100% 18/18 [07:40<00:00, 7.41s/it]\nEpoch {e} Loss => total: {a} , g: 32.3822, l: 0.0933, theta: 0.517\n",
        "epoch",
        "Loss/total",
    ),
    "heading with colon": Wild(
        "[{e:>5}/20000] (GPU 0) lr=0.001 Loss: total={a} rec=1.5 kl=0.02\n", "step", "Loss/total"
    ),
    "position glued to the epoch": Wild(
        "[300/300]epoch {e} loss : {a} emit_clip : 3\n", "step", "loss", by=300, start=300
    ),
    "errors": Wild(
        "epoch: {e} time: 59.21s train_error: 72.90 test_error: 68.41 train_loss: {a}\n", "epoch", "train_loss"
    ),
    "bar then values": Wild(
        "Epoch {e}/12: 100%|██████████| 500/500 [25:30<00:00]\n  train_loss: {a}\n  val_loss: {b}\n✓ New best validation loss: {b}\n\n",
        "epoch",
        "train_loss",
        "val_loss",
    ),
    "titles": Wild(
        "======\nEpoch {e}/60 - Training\n======\n  loss: {a}\n======\nEpoch {e}/60 - Validation\n======\nEpoch {e} Validation Results:\n  mAP: 0.4756\n  loss: {b}\n",
        "epoch",
        "loss",
        "val/loss",
    ),
    "split lines": Wild(
        "epoch {n}\ntrain: loss={a}, acc=0.5\nvalid: loss={b}, acc=0.4\ntest: loss=0.1, acc=0.3\n",
        "epoch",
        "loss",
        "val/loss",
        start=0,
    ),
    "spaced percent": Wild(
        "INFO:root:[Epoch {n}]\nINFO:root:Train loss {a}, acc 80.5 %\nINFO:root:Valid loss {b}, acc 70.1 %\n",
        "epoch",
        "Train loss",
        "Valid loss",
        start=0,
    ),
    "eval in the line": Wild(
        "step {n}: train/loss={a} train/acc=0.5 | eval: loss={b} acc=0.4\n", "step", "train/loss", "val/loss", start=0
    ),
    "value after the counter": Wild(
        "Training loss (for one batch) at step {n}: {a}\n", "step", "Training loss", start=0
    ),
    "cost": Wild("Cost after iteration {n}00: {a}\n", "step", "Cost", by=100, start=0),
    "split words": Wild("Epoch {n:>3} |  Train: {a}  |  Val: {b}\n", "epoch", "Train/loss", "Val/loss", start=0),
    "estimator": Wild(
        "INFO:tensorflow:loss = {a}, step = {n} (0.123 sec)\nINFO:tensorflow:global_step/sec: 812.3\n",
        "step",
        "loss",
        start=0,
    ),
    "lead in brackets": Wild(
        "[{e:03d}] train loss: {a} test loss: {b} | time 3.2\n", "step", "train loss", "test loss"
    ),
    "lead in parentheses": Wild("({n}) loss_train: {a} - loss_val: {b}\n", "step", "loss_train", "loss_val", start=0),
    "flow": Wild(
        "Iter {n:04d} | Time 0.1234(0.1300) | Bit/dim {a}({a}) | Steps 20(20.00) | Grad Norm 1.2(1.3)\n",
        "step",
        "Bit/dim",
        start=0,
    ),
    "arrows": Wild("===> Epoch {e} Complete: Avg. Loss: {a}\n===> Avg. PSNR: 21.2 dB\n", "epoch", "Avg. Loss"),
    "ascii bar": Wild("{n}/1000 [====>....] loss = {a}\n", "step", "loss", start=0),
    "box by blank lines": Wild(
        "***** Eval results *****\n  eval_loss = {b}\n  global_step = {e}00\n  loss = {a}\n",
        "step",
        "loss",
        "eval_loss",
        by=100,
        start=100,
    ),
    "nested dict": Wild(
        '{{"epoch": {e}, "train_loss": {a}, "val": {{"loss": {b}}}}}\n', "epoch", "train_loss", "val/loss"
    ),
    "bert": Wild(
        "======== Epoch {e} / 12 ========\nTraining...\n  Batch    40  of    241.    Elapsed: 0:00:08.\n  Average training loss: {a}\n  Training epcoh took: 0:00:51\nRunning Validation...\n  Accuracy: 0.82\n  Validation Loss: {b}\n  Validation took: 0:00:02\n",
        "step",
        "Average training loss",
        "Validation Loss",
        by=241,
        start=40,
    ),
    "pytorch quickstart": Wild(
        "Epoch {e}\n-------------------------------\nloss: {a}  [   64/60000]\nTest Error: \n Accuracy: 50.9%, Avg loss: {b} \n\n",
        "step",
        "loss",
        "test/Avg loss",
        by=60000,
        start=64,
    ),
    "language model": Wild(
        "| epoch {e:3d} |   200/ 2983 batches | lr 5.00 | ms/batch 12.3 | loss {a} | ppl  900.1\n-----\n| end of epoch {e:3d} | time: 12.3s | valid loss {b} | valid ppl   300.2\n-----\n",
        "step",
        "loss",
        "valid loss",
        by=2983,
        start=200,
    ),
    "best beside": Wild(
        "2021-10-01 00:00:00 Epoch: {e} train_mse: {a} val_mse: {b} best_val: 0.3\n", "epoch", "train_mse", "val_mse"
    ),
    "tab table": Wild("{n}\t{a}\t{b}\n", "step", "train/loss", "val/loss", start=0),
}


@pytest.mark.parametrize("name", sorted(WILD))
def test_wild(name: str) -> None:
    wild = WILD[name]
    text = "iter\ttrain\tval\n" if name == "tab table" else ""
    values = [round(4 / (n + 1), 4) for n in range(wild.count)]
    text += "".join(wild.template.format(n=n, e=n + 1, a=a, b=round(a + 0.1, 4)) for n, a in enumerate(values))
    history = read(text)
    assert history.step_unit == wild.unit
    steps = [wild.start + wild.by * n for n in range(wild.count)]
    train = history[wild.train]
    if name == "eva":
        train = train.take(slice(1, None, 2))
    assert train.steps.tolist() == steps
    np.testing.assert_allclose(train.values, values)
    assert history.roles.primary("train_loss") == wild.train
    if wild.val:
        validation = history[wild.val]
        assert len(validation) == wild.count
        np.testing.assert_allclose(validation.values, np.array(values) + 0.1)
        assert history.roles.primary("val_loss") == wild.val


def test_batches_that_start_again_go_on() -> None:
    text = "".join(f"Batch {i} of 100, Loss: {4 - i / 50}\n" for _ in range(3) for i in range(1, 101))
    assert read(text)["Loss"].steps.tolist() == list(range(1, 301))


def test_a_report_of_an_estimator_is_validation() -> None:
    text = "".join(f"INFO:tensorflow:loss = {4 / s}, step = {s}\n" for s in range(1, 20))
    text += "INFO:tensorflow:Saving dict for global step 20: accuracy = 0.9, global_step = 20, loss = 0.6\n"
    history = read(text)
    assert len(history["loss"]) == 19
    assert history["val/loss"].values.tolist() == [0.6]
