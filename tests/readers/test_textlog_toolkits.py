# ruff: noqa: E501  (logs have long lines)
"""Toolkits that name and place their numbers in ways of their own. Lines are written by hand in each one's form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossdoctor.core.errors import NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.registry import read_source
from lossdoctor.readers.text.fields import analyse
from lossdoctor.readers.text.shapes import split
from lossdoctor.readers.textlog import TextLogReader

FALL = [round(4 / n, 4) for n in range(1, 11)]


def runs(text: str, name: str = "out.txt") -> list[TrainingHistory]:
    return TextLogReader().read(Source(name, name, data=text.encode()))


def read(text: str) -> TrainingHistory:
    (history,) = runs(text)
    return history


def metrics(line: str) -> list[str]:
    found = analyse(line, split(line))
    return [] if found is None else [c.name for c in found.layout.metrics]


# name and value in other shapes


@pytest.mark.parametrize(
    ("template", "name", "steps"),
    [
        ("epoch 0 iter {n}0 metric ('loss', {v})", "loss", range(10, 101, 10)),
        ("iter {n} [('loss', {v}), ('accuracy', 0.5)]", "loss", range(1, 11)),
        ("2023-01-25 00:21:09.074 | INFO     | trainers.base:train:256 - [R0] | E5 iter[ 14/ 15] | [Loss] {v} | [exp] ./exp/0125 | [step]  {n} | [url] none | [time] 0.4m", "Loss", range(1, 11)),
        ("I0906 23:29:51.568229 436 TrainerInternal.cpp:165] Batch={n}00 samples={n}000 AvgCost=5.0 CurrentCost={v} Eval: classification_error=0.9 CurrentEval: classification_error=0.8 ", "CurrentCost", range(100, 1001, 100)),
        ("{n}: {v}, 7.500000 avg, 0.001000 rate, 0.089617 seconds, {n}64 images", "loss", range(1, 11)),
        ("{n}: {v}, 7.500000 avg loss, 0.001000 rate, 2.300000 seconds, {n}64 images, 3.4 hours left", "loss", range(1, 11)),
        ("15/09/06 11:15:01 INFO ScoreIterationListener: Score at iteration {n} is {v}", "Score (loss)", range(1, 11)),
        ("2024-01-01 10:00:00 INFO: {n}: {v}, 7.5 avg loss, 0.001 rate, 2.3 seconds, {n}64 images", "loss", range(1, 11)),
        ("{n}, 0.006: {v}, 7.5 avg, 0.1 rate, 1.2 seconds, {n}28 images", "loss", range(1, 11)),
        ("{n}: {v} loss, 0.51 acc, 12 ms", "loss", range(1, 11)),
        ("# [{n}]\teval-mlogloss:{v}", "eval-mlogloss", range(1, 11)),
        ("> step {n} | loss {v}", "loss", range(1, 11)),
        ("[10/21/2018 16:13:01 INFO 139701434767168] Epoch[{n}] Train-cross-entropy={v}", "Train-cross-entropy", range(1, 11)),
        ("Epoch {n}: classification loss {v}", "classification loss", range(1, 11)),
        ("After {n}000 sequences (34.5Hr): loss = {v}", "loss", range(1000, 10001, 1000)),
    ],
)  # fmt: skip
def test_the_loss_and_its_steps(template: str, name: str, steps: range) -> None:
    history = read("".join(template.format(n=n, v=v) + "\n" for n, v in enumerate(FALL, 1)))
    assert history[name].values.tolist() == FALL
    assert history[name].steps.tolist() == list(steps)
    assert name in (history.roles.primary("train_loss"), history.roles.primary("val_loss"))


@pytest.mark.parametrize("value", ["nan", "NaN", "-nan", "inf"])
@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("Score at iteration {n} is {v}", "Score (loss)"),
        ("Cost after iteration {n}: {v}", "Cost"),
        ("{n}: {v}, {v} avg, 0.001000 rate, 0.27 seconds, 932 images", "loss"),
        ("[R0] | E6 iter[ 14/ 15] | [Loss] {v} | [step] {n} |", "Loss"),
    ],
)
def test_a_value_that_is_no_number_is_a_value(template: str, name: str, value: str) -> None:
    text = "".join(template.format(n=n, v=v) + "\n" for n, v in enumerate([3.0, 2.0, value, value], 1))
    curve = read(text)[name]
    assert curve.steps.tolist() == [1, 2, 3, 4]
    assert not np.isfinite(curve.values[2:]).any()
    assert math.isinf(curve.values[2]) == (value == "inf")


def test_darknet_has_an_average_and_a_rate_beside_the_loss() -> None:
    lines = (
        "Region Avg IOU: 0.300000, Class: 0.100000, Obj: 0.500000, No Obj: 0.004019, Avg Recall: 0.100000,  count: 1\n"
    )
    text = "".join(
        f"{lines}{n}: {v}, {v + 1} avg, 0.000751 rate, 0.089617 seconds, {n} images\nLoaded: 0.000031 seconds\n"
        for n, v in enumerate(FALL, 931)
    )
    roles = read(text).roles
    assert roles.primary("train_loss") == "loss"
    assert roles.auxiliary == ("avg loss",)
    assert roles.primary("learning_rate") == "learning rate"


def test_paddle_evaluators_are_of_the_training_batches() -> None:
    line = "Batch={n} AvgCost={v} CurrentCost={v} Eval: classification_error=0.9 avg_tok_cost=6.2 CurrentEval: classification_error=0.8 avg_tok_cost=6.1\n"
    history = read("".join(line.format(n=n, v=v) for n, v in enumerate(FALL, 1)))
    assert history.roles.primary("val_loss") is None
    assert history.roles.primary("train_loss") == "CurrentCost"


def test_pairs_of_name_and_value_keep_the_split_before_them() -> None:
    text = "".join(
        f"Epoch[{n}] Train-accuracy=('accuracy', 0.9)\nEpoch[{n}] Validation-accuracy=(accuracy,0.{n})\n"
        for n in range(1, 9)
    )
    history = read(text)
    assert history["Validation-accuracy"].values.tolist() == [n / 10 for n in range(1, 9)]
    assert history.roles.primary("val_accuracy") == "Validation-accuracy"


def test_words_that_begin_as_keywords_do_are_no_code() -> None:
    assert metrics("Epoch 3: classification loss 0.5, importance 0.1") == ["classification loss", "importance"]
    text = "Config(device='default', classifier='linear', max_grad_norm=1.0, learning_rate=0.0003)\n"
    history = read(text + "".join(f"step {n} loss {v}\n" for n, v in enumerate(FALL)))
    assert (history.context.clip_norm, history.context.learning_rate) == (1.0, 0.0003)
    assert metrics("def loss(x): return 0.5 * x, loss=0.5") == metrics("class Loss: loss = 0.5") == []


# objectives that are maximised


def test_an_objective_that_is_maximised_is_read_as_its_negative() -> None:
    line = "LOG (nnet3-train:PrintStatsForThisPhase():nnet-training.cc:121) Average objective function for 'output' for minibatches {a}-{b} is {v} over 19538 frames.\n"
    history = read("".join(line.format(a=10 * n, b=10 * n + 9, v=-v) for n, v in enumerate(FALL)))
    curve = history["-Average objective function"]
    assert curve.values.tolist() == FALL
    assert curve.steps.tolist() == [10 * n + 9 for n in range(10)]
    assert history.roles.primary("train_loss") == "-Average objective function"
    assert "Average objective function is to be maximised: -Average objective function is its negative" in history.notes


def test_a_name_with_brackets() -> None:
    line = "VLOG[1] (train-ctc-parallel:EvalParallel():ctc-loss.cc:182) After {n} sequences (343.467Hr): Obj(log[Pzx]) = {v}   TokenAcc = 65.5%\n"
    history = read("".join(line.format(n=10_000 * n, v=-v) for n, v in enumerate([34.1, 35.1, 3e29], 1)))
    assert history["-Obj(log[Pzx])"].values.tolist() == [34.1, 35.1, 3e29]
    assert history["-Obj(log[Pzx])"].steps.tolist() == [10_000, 20_000, 30_000]
    assert history.roles.primary("train_loss") == "-Obj(log[Pzx])"
    assert history.roles.primary("train_accuracy") == "TokenAcc"


# times


@pytest.mark.parametrize(
    "words",
    ["Time cost=12.633", "time cost: 3.1", "cost time: 0.31", "cost_time=0.31", "cost: 12.3 s", "cost 12.3s", "epoch cost: 3 min"],
)  # fmt: skip
def test_a_time_is_no_loss(words: str) -> None:
    assert metrics(f"Epoch 3 accuracy=0.5 {words}") == ["accuracy"]


def test_a_cost_is_a_loss_where_it_is_no_time() -> None:
    assert metrics("Epoch 3 cost=0.5") == ["cost"]
    assert metrics("epoch: 1, iter: 10/100, loss: 0.5, batch_cost: 0.23, reader_cost: 0.001") == ["loss"]


def test_an_epoch_that_takes_longer_is_no_divergence() -> None:
    text = "".join(
        f"INFO:root:Epoch[{n}] Train-accuracy=0.{50 + n}\nINFO:root:Epoch[{n}] Time cost={20 + n * n}.5\n"
        for n in range(20)
    )
    assert list(read(text).curves) == ["Train-accuracy"]


# training and evaluation under one form


def test_rows_after_a_title_are_an_evaluation() -> None:
    text = "testing in eval mode……\nepoch: 0,  loss is: 2.5, acc is: 0.07\n"
    for n, v in enumerate(FALL):
        text += f"epoch: {n},  loss is: {v}, acc is: 0.8\ntesting in eval mode……\nepoch: {n},  loss is: {v + 1}, acc is: 0.7\nNow continue training……\n"
    history = read(text)
    assert history.step_unit == "epoch"
    assert history["loss"].values.tolist() == FALL
    assert history["loss"].steps.tolist() == list(range(10))
    assert history["test/loss"].values.tolist() == [2.5, *(v + 1 for v in FALL)]
    assert history.roles.primary("val_loss") == "test/loss"
    assert history.notes == []


def test_a_title_before_rows_that_count_other_epochs_says_nothing() -> None:
    text = "".join(f"epoch: {n}, loss is: {v}\n" for n, v in enumerate(FALL))
    text += "testing in eval mode\n" + "".join(f"epoch: {n}, loss is: {v / 9}\n" for n, v in enumerate(FALL, 10))
    assert len(read(text)["loss"]) == 20


@pytest.mark.parametrize("value", ["0.5", "nan"])
def test_a_bar_says_its_split(value: str) -> None:
    text = ""
    for n in range(1, 6):
        text += f"epoch {n}: 100%|██████████| 4/4 [00:00<00:00,  9.40it/s, loss={value}, metrics={{'acc': 0.18}}]\n"
        text += f"valid: 100%|██████████| 1/1 [00:00<00:00, 12.79it/s, loss={value}, metrics={{'acc': 0.1{n}}}]\n"
    history = read(text)
    assert history["loss"].steps.tolist() == history["val/loss"].steps.tolist() == [4, 8, 12, 16, 20]
    assert history["val/acc"].values.tolist() == [0.11, 0.12, 0.13, 0.14, 0.15]


# CatBoost names no metric


def catboost(values: list[float], best: list[float]) -> TrainingHistory:
    return read(
        "".join(
            f"{n}:\tlearn: {v}\ttest: {v}\tbest: {b} ({n})\ttotal: 17.{n}s\tremaining: 1h 39m 38s\n"
            for n, (v, b) in enumerate(zip(values, best, strict=True), 34)
        )
    )


def test_a_best_above_the_others_is_of_a_score() -> None:
    history = catboost([0.82, 0.83, 0.825, 0.83], [0.84] * 4)
    assert list(history.curves) == ["learn/score", "test/score"]
    assert history.roles.names == {}


@pytest.mark.parametrize(
    ("values", "kind"), [(FALL, "loss"), ([0.5, 0.6, 0.7], "score"), ([0.7, 0.6, 0.5], "loss"), ([0.5, 0.5], "loss")]
)
def test_where_each_is_the_best_the_way_tells(values: list[float], kind: str) -> None:
    assert list(catboost(values, values).curves) == [f"learn/{kind}", f"test/{kind}"]


def test_a_best_below_the_others_is_of_a_loss() -> None:
    history = catboost([0.5, 0.6, 0.7], [0.4] * 3)
    assert history.roles.primary("val_loss") == "test/loss"


# several runs


def lightgbm(metric: str, rounds: range) -> str:
    head = "Training until validation scores don't improve for 20 rounds\n"
    lines = (f"[{n}]\ttraining's {metric}: {4 / n}\tvalid_1's {metric}: {5 / n}\n" for n in rounds)
    return (
        head
        + "".join(lines)
        + f"Early stopping, best iteration is:\n[{rounds[-1] - 7}]\ttraining's {metric}: 9\tvalid_1's {metric}: 9\n"
    )


def test_a_second_fit_with_another_loss_is_another_run() -> None:
    first, second = runs(lightgbm("binary_logloss", range(20, 101, 20)) + lightgbm("rmse", range(20, 201, 20)))
    assert list(first.curves) == ["training's binary_logloss", "valid_1's binary_logloss"]
    assert list(second.curves) == ["training's rmse", "valid_1's rmse"]
    assert (len(first["training's binary_logloss"]), len(second["training's rmse"])) == (5, 10)
    assert (first.path, second.path) == ("out.txt#1", "out.txt#2")
    assert "the log holds 2 runs: its steps return to the start under other names" in second.notes


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"step {n} loss {4 / n}\n" for n in range(1, 9)) + "".join(f"step {n} aux_loss {4 / n}\n" for n in range(9, 17)),
        "".join(f"step {n} loss {4 / n}\nstep {n} aux_loss {5 / n}\n" for n in range(1, 9)),
        "".join(f"step {n} loss {4 / n}\n" for n in range(1, 9)) + "".join(f"step {n} val_loss {4 / n}\n" for n in range(1, 9)),
    ],
    ids=["steps go on", "in turn", "an evaluation afterwards"],
)  # fmt: skip
def test_other_names_alone_are_no_other_run(text: str) -> None:
    assert len(read(text).curves) == 2


# spaCy


def spacy(losses: list[float], component: str = "TOK2VEC") -> TrainingHistory:
    text = f"ℹ Initial learn rate: 0.001\nE    #       LOSS {component}  LOSS NER  ENTS_F  ENTS_P  ENTS_R  SCORE \n"
    text += "---  ------  ------------  --------  ------  ------  ------  ------\n"
    for n, v in enumerate(losses):
        text += f"{n // 3:3d}  {200 * n:6d}  {v:12.2f}  {44.28 if not n else 30 * v:8.2f}  {80 + n:6.2f}  {80 + n:6.2f}  {80 + n:6.2f}  {0.8 + n / 100:6.2f}\n"
    return read(text)


@pytest.mark.parametrize("component", ["TOK2VEC", "TRANSFORMER", "TAGGER"])
def test_sums_of_spacy_that_grow_are_no_divergence(component: str) -> None:
    history = spacy([0.0, 54, 44, 48, 63, 65, 78, 293, 113, 125, 148, 136, 189], component)
    assert history.roles.names == {}
    assert {f"LOSS {component}", "LOSS NER", "val/SCORE", "val/ENTS_F"} <= set(history.roles.adversarial)
    diagnosis = history.diagnose()
    assert not diagnosis.alarm
    assert "LOSS NER" in diagnosis.basis


def test_a_nan_in_a_table_of_spacy_is_told() -> None:
    diagnosis = spacy([0.0, 54, 44, 48, 63, 65, *[math.nan] * 6]).diagnose()
    assert [f.code for f in diagnosis.findings][:1] == ["LD101"]


# refused


def test_the_refusal_says_what_is_the_case() -> None:
    source = Source("notes.txt", "notes.txt", data=b"the run took 3 hours on 8 cards\nit cost 12 euros\n")
    with pytest.raises(NotRecognizedError, match="no loss or other metric recurs in its lines under a name"):
        read_source(source)
