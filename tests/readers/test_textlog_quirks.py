# ruff: noqa: E501  (logs have long lines)
"""What public logs do to a reader, and what must not become a run."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

import lossdoctor.readers.textlog as module
from lossdoctor.core.errors import BrokenFileError, NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.textlog import TextLogReader

ROOT = Path(__file__).parents[2]


def source(text: str | bytes, name: str = "train.log") -> Source:
    data = text.encode() if isinstance(text, str) else text
    return Source(name, name, data=data)


def read(text: str | bytes, name: str = "train.log") -> TrainingHistory:
    (history,) = TextLogReader().read(source(text, name))
    return history


def lines(count: int = 20, template: str = "step {} loss {}", start: int = 1) -> str:
    return "".join(template.format(s, f"{4 / s:.4f}") + "\n" for s in range(start, start + count))


# encodings, line ends, terminals


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "latin-1"])
def test_encodings(encoding: str) -> None:
    text = "dernière époque\n" * (encoding != "utf-16-le") + lines()
    assert read(text.encode(encoding))["loss"].steps.tolist() == list(range(1, 21))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
def test_line_ends(end: str) -> None:
    assert len(read(lines().replace("\n", end))["loss"]) == 20


def test_ansi_codes() -> None:
    text = lines(template="\x1b[32mstep\x1b[0m {} \x1b[1;31mloss\x1b[0m=\x1b[38;5;3m{}\x1b[0m\x1b[K")
    assert read(text)["loss"].values[0] == 4.0


def test_no_newline_at_the_end_and_a_cut_line() -> None:
    assert len(read(lines(20) + "step 21 lo")["loss"]) == 20


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "train.log.gz"
    path.write_bytes(gzip.compress(lines(500).encode()))
    assert len(TextLogReader().read(Source.from_path(path))[0]["loss"]) == 500


def test_cut_gzip_is_read_up_to_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "train.log.gz"
    rng = np.random.default_rng(0)
    text = "".join(f"step {s} loss {rng.random():.9f}\n" for s in range(60_000))
    path.write_bytes(gzip.compress(text.encode())[:-60_000])
    history = TextLogReader().read(Source.from_path(path))[0]
    assert 10_000 < len(history["loss"]) < 60_000
    assert any("cut off" in n for n in history.notes)


def test_gzip_damaged_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "train.log.gz"
    path.write_bytes(b"\x1f\x8b" + b"junk" * 100)
    with pytest.raises(BrokenFileError):
        TextLogReader().read(Source.from_path(path))


# numbers and keys


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("step={} loss={}", "loss"),
        ("step: {}, loss: {}", "loss"),
        ("Step {}\tLoss {}", "Loss"),
        ("[step {}] (loss: {})", "loss"),
        ("it {}; training_loss -> {}", "training_loss"),
        ("[{}] loss={}", "loss"),
        ("{}: loss {}", "loss"),
        ("global_step {} - total loss = {}", "total loss"),
        ('{{"step": {}, "loss": {}}}', "loss"),
        ("{{'step': {}, 'train/loss': {}}}", "train/loss"),
        ("Iteration {}: loss is {} nats", "loss"),
        ("iter {} | loss: np.float32({})", "loss"),
        ("step {} loss {}%", "loss"),
        ("Step {} -- Loss (train): {}", "Loss (train)"),
        ("update={} mse={}", "mse"),
        ("step {} loss:{}", "loss"),
        ("INFO 2024-01-01 00:00:00,123 main.py:45] step {} loss {}", "loss"),
        ("Jan 02 10:00:00 node-7 train[123]: step {} loss {}", "loss"),
    ],
)
def test_separators(template: str, name: str) -> None:
    curve = read(lines(template=template))[name]
    assert curve.steps.tolist() == list(range(1, 21))
    assert curve.values.tolist() == [float(f"{4 / s:.4f}") for s in range(1, 21)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0E-04", 1e-4),
        ("1,234.5", 1234.5),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("3.", 3.0),
        ("+2e3", 2000.0),
        ("-inf", -np.inf),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert read(f"step 1 loss {text}\nstep 2 loss {text}\n")["loss"].values[0] == value


def test_thousands_only_when_clear() -> None:
    history = read("".join(f"step {s} loss 2.5 shape (12,345) ids [1,200]\n" for s in range(1, 9)))
    assert [history[n].values[0] for n in ("loss", "shape", "ids")] == [2.5, 12.0, 1.0]


def test_value_before_its_running_average() -> None:
    history = read(lines(template="step {} loss: {} (9.9)"))
    assert history["loss"].values[0] == 4.0


def test_arrow_means_the_new_value() -> None:
    assert read(lines(template="step {} loss 9.0 -> {}"))["loss"].values[0] == 4.0


def test_best_and_final_values_are_not_the_curve() -> None:
    history = read(
        lines(template="step {0} loss {1} best_loss 0.1") + "Final loss: 0.2\nBest val loss: 0.3 at step 7\n"
    )
    assert set(history.curves) == {"loss"}


@pytest.mark.parametrize(
    "closing",
    [
        "Early stopping, best iteration is:",
        "Did not meet early stopping. Best iteration is:",
        "Stopping. Best iteration:",
        "[2018-10-01:10:00:00:INFO] Stopping. Best iteration:",
    ],
)
def test_the_best_record_printed_again_at_the_end_is_no_record(closing: str) -> None:
    """LightGBM and XGBoost end so; that record would be a spike of the training loss."""
    record = "[{}]\ttraining's binary_logloss: {:.5f}\tvalid_1's binary_logloss: {:.5f}\n"
    log = [record.format(i, 0.6 / i, 0.3 + 0.01 * abs(i - 21)) for i in range(1, 41, 2)]
    history = read("".join(log) + closing + "\n" + log[10] + "\n")
    for name in ("training's binary_logloss", "valid_1's binary_logloss"):
        assert history[name].steps.tolist() == list(range(1, 41, 2))


def test_a_record_under_each_new_best_score_is_a_record() -> None:
    log = lines(8, "epoch {} loss {}").replace("epoch", "New best score:\nepoch")
    assert len(read(log)["loss"]) == 8


def test_a_bar_on_the_line_of_one_record_gives_the_others_no_step() -> None:
    """A console of the HF Trainer, of which the first line was drawn over a progress bar."""
    record = "{{'loss': {:.4f}, 'grad_norm': 1.5, 'learning_rate': 1e-05, 'epoch': 0.0}}"
    log = [record.format(8 / s) for s in range(1, 11)]
    log[0] += " " * 40 + "| 19/92 [00:03<00:11,  6.29it/s]"
    history = read("\n".join(log) + "\n")
    assert history["loss"].steps.tolist() == list(range(1, 11))
    assert history.step_unit == "row"


def test_numbered_values_without_a_name_are_a_loss() -> None:
    history = read("".join(f"{s}: -{5 + s % 7 / 10:.6f}\n" for s in range(1200, 1230)))
    assert history["loss"].steps.tolist() == list(range(1200, 1230))
    assert history["loss"].values[0] == -5.3
    assert "without a name: taken as step and loss" in history.notes[0]


@pytest.mark.parametrize("text", ["1: 5\n2: 6\n3: 7\n", "3: 0.5\n2: 0.6\n9: 0.7\n", "1: 0.5\n2: 0.6\nend\nof\nit\n"])
def test_numbered_lists_are_no_loss(text: str) -> None:
    with pytest.raises(NotRecognizedError):
        read(text)


def test_a_header_with_a_colon_opens_a_table() -> None:
    rows = "".join(f"{s}:\t{4 / s:.4f}\t{3.0 + s:.4f}\n" for s in range(1881, 1888))
    history = read("ITER:       LOSS               SUM(GRADNORM)\n" + rows)
    assert history["LOSS"].steps.tolist() == list(range(1881, 1888))
    assert history.roles.names["train_loss"] == ("LOSS",)


def test_a_backtick_before_the_first_epoch_of_a_pasted_log() -> None:
    bar = "178/178 [==============================] - 0s 76us/step - loss: {:.4f} - acc: 0.0056\n"
    log = "`" + "".join(f"Epoch {e}/250\n" + bar.format(1 / e) for e in range(1, 9))
    assert read(log)["loss"].steps.tolist() == list(range(1, 9))


def test_a_line_like_a_bar_without_its_position_is_survived() -> None:
    with pytest.raises(NotRecognizedError):
        read("- 10/100 8 - loss 100%|\n")


def test_a_bar_of_keras_glued_to_its_predecessor_is_two() -> None:
    bar = "50000/50000 [==============================] - 49s 9us/step - loss: 2.3027 - acc: {:.4f}\n"
    part = "9472/50000 [====>.........................] - ETA: 37s - loss: 2.3026 - acc: 0.0984"
    log = "".join(f"Epoch {e}/20\n{part * (e % 2)}{bar.format(e / 50)}" for e in range(1, 9))
    history = read(log)
    assert set(history.curves) == {"loss", "acc"}
    assert history["acc"].values.tolist() == [e / 50 for e in range(1, 9)]


def test_a_record_before_the_first_epoch_header_is_of_the_epoch_before() -> None:
    bar = "1000/1000 [==============================] - 0s 20us/step - loss: {:.4f}\n"
    log = bar.format(2) + "".join(f"Epoch {e}/20\n" + bar.format(4 / e) for e in range(5, 13))
    assert read(log)["loss"].steps.tolist() == list(range(4, 13))


def test_what_cyclegan_prints_is_adversarial() -> None:
    line = "(epoch: 1, iters: {}, time: 2.416, data: 9.430) D_A: {} G_A: 0.433 cycle_A: 2.246 idt_A: 1.263 \n"
    history = read("".join(line.format(100 * i, 0.5 + i / 100) for i in range(1, 9)))
    assert set(history.roles.adversarial) == {"D_A", "G_A"}
    assert history["D_A"].steps.tolist() == list(range(100, 900, 100))


def test_nan_and_inf() -> None:
    values = read("step 1 loss 1.0\nstep 2 loss nan\nstep 3 loss: inf\nstep 4 loss -inf\n")["loss"].values
    np.testing.assert_array_equal(values, [1.0, np.nan, np.inf, -np.inf])


def test_loss_scale_is_no_loss() -> None:
    assert read(lines(template="step {} loss {} loss_scale 65536"))["loss"].values[0] == 4.0


# steps


def test_iterations_reset_each_epoch() -> None:
    text = "".join(f"epoch {e} iter {i} loss {9 - e}.{i}\n" for e in range(3) for i in range(0, 50, 10))
    assert read(text)["loss"].steps.tolist() == list(range(0, 150, 10))


def test_global_step_beside_an_epoch() -> None:
    text = "".join(f"epoch {s // 50} step {s} loss {9 - s / 20}\n" for s in range(0, 150, 10))
    assert read(text)["loss"].steps.tolist() == list(range(0, 150, 10))


def test_epoch_header_then_batches() -> None:
    text = "".join(f"Epoch {e}/3\n" + "".join(f"batch {b}/4: loss {e}.{b}\n" for b in range(1, 5)) for e in range(1, 4))
    history = read(text)
    assert history["loss"].steps.tolist() == list(range(1, 13))
    assert history.context.steps_per_epoch == 4


def test_bars_that_start_again_without_an_epoch() -> None:
    text = "".join(
        f"\r {i}%|###| {i}/100 [00:01<00:02, 9.1it/s, loss={4 - i / 100}]" for _ in range(3) for i in range(25, 101, 25)
    )
    assert read(text)["loss"].steps.tolist() == list(range(25, 301, 25))


def test_resume_keeps_the_order_of_arrival() -> None:
    steps = read(lines(20) + "Resuming from checkpoint\n" + lines(20, start=11))["loss"].steps
    assert steps.tolist() == [*range(1, 21), *range(11, 31)]


def test_many_points_on_one_step_are_kept() -> None:
    text = "".join(f"epoch: 0 loss: {4 - i / 100:.3f}\n" for i in range(100))
    assert len(read(text)["loss"]) == 100


def test_single_evaluation_of_a_short_run() -> None:
    history = read(lines() + "Test loss: 0.35\n")
    assert history["Test loss"].steps.tolist() == [20]


def test_only_evaluations() -> None:
    history = read("".join(f"step {s}: val_loss={5 / (s + 1):.3f}\n" for s in range(0, 1000, 100)))
    assert history.roles.primary("val_loss") == "val_loss"
    assert history["val_loss"].steps.tolist() == list(range(0, 1000, 100))


def test_source_code_before_the_log() -> None:
    code = (ROOT / "src/lossdoctor/readers/text/curves.py").read_text(encoding="utf-8")
    code += "val_loss = 0.0\nloss_weight=0.5\nprint(f'step:{step} loss:{loss:.3f}')\nfor step in range(10):\n    loss = 1.0\n"
    history = read(code + lines() + code)
    assert set(history.curves) == {"loss"}
    assert len(history["loss"]) == 20


def test_configuration_is_context_and_no_curve() -> None:
    config = "lr: 0.01\nbatch_size: 64\nloss_weight: 1.0\nnum_classes = 10\nweight-decay=0.0005\nlabel_smoothing: 0.1\n"
    history = read(config + lines())
    assert set(history.curves) == {"loss"}
    known = history.context
    assert (known.batch_size, known.classes, known.learning_rate, known.weight_decay) == (64, 10, 0.01, 0.0005)


def test_namespace_dump() -> None:
    history = read("Namespace(batch_size=128, data='/x', epochs=90, lr=0.1, momentum=0.9, print_freq=10)\n" + lines())
    assert history.context.batch_size == 128
    assert set(history.curves) == {"loss"}


def test_bare_numbers_need_a_telling_name() -> None:
    text = "".join(f"{4 / s:.5f}\n" for s in range(1, 50))
    assert len(read(text, "train_loss.txt")["train_loss"]) == 49
    with pytest.raises(NotRecognizedError):
        read(text, "indices.txt")


# events


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB", "out_of_memory"),
        ("Traceback (most recent call last):", "traceback"),
        ("Loss is nan, stopping training", "nonfinite_message"),
        ("slurmstepd: error: *** JOB 123 ON n1 CANCELLED AT 2024-01-01T00:00:00 DUE TO TIME LIMIT ***", "killed"),
    ],
)
def test_events(line: str, event: str) -> None:
    history = read(lines() + line + "\n")
    assert [(e["event"], e["line"]) for e in history.events] == [(event, 21)]


# hostile input


def test_huge_line() -> None:
    text = lines(10) + "x1 " * 1_000_000 + "\n" + lines(10, start=11)
    began = time.perf_counter()
    assert read(text)["loss"].steps.tolist() == list(range(1, 21))
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "junk", ["(" * 30_000, " " * 30_000 + "x", "1,111" * 6_000, "1" * 30_000, "a:" * 15_000, "|" * 30_000]
)
def test_no_quadratic_time(junk: str) -> None:
    text = lines(5) + "".join(f"{junk[:19_000]}{i}\n" for i in range(30)) + lines(5, start=6)
    began = time.perf_counter()
    assert len(read(text)["loss"]) == 10
    assert time.perf_counter() - began < 8


def test_many_shapes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.readers.text import scan

    monkeypatch.setattr(scan, "MAX_SHAPES", 50)
    monkeypatch.setattr(scan, "MAX_LAYOUTS", 60)
    noise = "".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}: {i}\n" for i in range(300))
    assert len(read(lines(10) + noise + lines(10, start=11))["loss"]) == 20


@pytest.mark.parametrize(
    "data",
    [b"\x00\x01\x02" * 100, bytes(range(256)) * 20, b"\x80\x04\x95step loss 1.0", b"\x89PNG\r\n\x1a\n" + b"\x00" * 50],
)
def test_binary(data: bytes) -> None:
    assert TextLogReader().sniff(source(data)) == 0
    with pytest.raises(NotRecognizedError):
        read(data)


# what is no log

README = """# Trainer
Train with a batch size of 32 and a learning rate of 3e-4; the loss should fall below 2.5 after 1000 steps.
We reach a loss of 3.28 on FineWeb in 3 minutes and an accuracy of 94.1 on CIFAR-10.
- `--lr 0.1`: learning rate
- `--loss-weight 0.5`: weight of the auxiliary loss
| Model | Params | Accuracy |
|---|---|---|
| small | 12M | 76.1 |
| large | 80M | 82.3 |
"""
PIP = """Collecting torch==2.0.1
  Downloading torch-2.0.1-cp310-cp310-manylinux1_x86_64.whl (619.9 MB)
     \u2501\u2501\u2501\u2501\u2501\u2501 619.9/619.9 MB 2.1 MB/s eta 0:00:00
Requirement already satisfied: numpy>=1.17 in ./lib (from torch) (1.26.4)
ERROR: pip's dependency resolver: error: 2 conflicts
Successfully installed torch-2.0.1
"""
NVIDIA = """Thu May  2 10:00:00 2024
+-----------------------------------------------------------------------------+
| NVIDIA-SMI 525.60.13    Driver Version: 525.60.13    CUDA Version: 12.0     |
|   0  NVIDIA A100-SXM...  On   | 00000000:07:00.0 Off |                    0 |
| N/A   30C    P0    52W / 400W |      0MiB / 40960MiB |      0%      Default |
|   1  NVIDIA A100-SXM...  On   | 00000000:0F:00.0 Off |                    0 |
| N/A   31C    P0    53W / 400W |      3MiB / 40960MiB |      1%      Default |
+-----------------------------------------------------------------------------+
"""
CONFIG = """train:
  lr: 0.001
  loss_weight: 0.5
  aux_loss: 0.1
model:
  dropout: 0.1
loss:
  gamma: 2.0
  alpha: 0.25
"""
SERVER = "".join(
    f'10.0.0.{i} - - [01/May/2024:10:00:{i:02d} +0000] "GET /epoch/{i} HTTP/1.1" 200 {i * 37}\n' for i in range(40)
)
SUMMARY = (
    "".join(f"layer{i} (Conv2d)      [-1, 64, {i}, {i}]      {i * 1728:,}\n" for i in range(1, 30))
    + "Total params: 11,689,512\n"
)
DOWNLOAD = "".join(f"\rDownloading: {i}%|####| {i}/100 [00:01<00:02, 9.1MB/s]" for i in range(101))
TEST_LOG = "".join(f"tests/test_{i}.py::test_loss[{i}] PASSED [{i}%]\n" for i in range(90))
TIMES = "Time for gradient: 0.10\nTime for weight: 0.20\nTime for loss: 0.30\n" * 9


@pytest.mark.parametrize(
    "text", [README, PIP, NVIDIA, CONFIG, CONFIG * 3, SERVER, SUMMARY, DOWNLOAD, TEST_LOG, TIMES, "", "hello\n"]
)
def test_no_log(text: str) -> None:
    assert TextLogReader().sniff(source(text)) < 10
    with pytest.raises(NotRecognizedError, match=r"train\.log"):
        read(text)


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("src/lossdoctor/**/*.py"), *ROOT.glob("*.toml"), *ROOT.glob("*.md"), Path(module.__file__)]),
)
def test_own_sources_are_no_logs(path: Path) -> None:
    with pytest.raises(NotRecognizedError):
        TextLogReader().read(Source.from_path(path))
