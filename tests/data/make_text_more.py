# ruff: noqa: E501  (the lines are as long as the tools print them)
"""More styles for :mod:`make_text`, which runs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

STYLES: dict[str, Callable[[], Iterator[str]]] = {}


def style(function: Callable[[], Iterator[str]]) -> Callable[[], Iterator[str]]:
    """Register a style under its function's name."""
    STYLES[function.__name__] = function
    return function


def loss(step: float, floor: float = 0.5) -> float:
    """The training loss at a step: 4.5 falling to 0.5 with a time constant of 40 steps."""
    return floor + 4 * math.exp(-step / 40)


def val(step: float) -> float:
    """The validation loss: a tenth above."""
    return loss(step) + 0.1


@style
def algoperf() -> Iterator[str]:
    for k, s in enumerate((1, 1031, 2203, 3387, 4570)):
        for split in ("training", "validation", "test"):
            yield f"I0319 03:5{k}:02.849947 139711714366656 spec.py:321] Evaluating on the {split} split."
        yield (
            f"I0319 03:5{k}:03.849947 139711714366656 submission_runner.py:469] Time since start: {k * 1000 + 150.89:.2f}s, \tStep: {s}, "
            f"\t{{'train/ctc_loss': {loss(k * 20):.15f}, 'train/wer': {0.9 - k / 10:.16f}, 'validation/ctc_loss': {val(k * 20):.15f},"
            f" 'test/ctc_loss': {val(k * 20) + 0.1:.15f}, 'score': {k * 1500.123456:.6f}}}"
        )
        yield (
            f"I0319 03:5{k}:03.904176 139688206624512 logging_writer.py:48] [{s}] global_step={s}, preemption_count=0,"
            f" score={k * 1500.123456:.6g}, test/ctc_loss={val(k * 20) + 0.1:.6g}, train/ctc_loss={loss(k * 20):.6g},"
            f" train/wer={0.9 - k / 10:.6g}, validation/ctc_loss={val(k * 20):.6g}"
        )
    yield "I0319 04:00:00.000000 139711714366656 submission_runner.py:500] Final librispeech score: 57630.1"


@style
def xgboost_sagemaker() -> Iterator[str]:
    for i in range(20):
        yield f"[{i}]#011train-rmse:{loss(i):.5f}#011validation-rmse:{val(i):.5f}"


@style
def paddle() -> Iterator[str]:
    for epoch in (1, 2):
        for i in range(0, 50, 10):
            s = (epoch - 1) * 50 + i
            yield (
                f"[2022/03/04 10:00:{i:02d}] ppocr INFO: epoch: [{epoch}/500], global_step: {s}, lr: 0.001000, acc: 0.5,"
                f" loss: {loss(s):.6f}, avg_reader_cost: 0.10 s, avg_batch_cost: 0.30 s, avg_samples: 32.0, ips: 106.1 samples/s, eta: 1:02:03"
            )
        yield f"[2022/03/04 10:00:59] ppocr INFO: cur metric, acc: 0.{epoch}1, norm_edit_dis: 0.6, fps: 500.1"


@style
def spacy() -> Iterator[str]:
    yield "ℹ Pipeline: ['tok2vec', 'ner']"
    yield "ℹ Initial learn rate: 0.001"
    yield "E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  ENTS_P  ENTS_R  SCORE "
    yield "---  ------  ------------  --------  ------  ------  ------  ------"
    for k in range(12):
        yield f"{k // 3:3d}  {k * 200:6d}  {loss(k * 5) * 10:12.2f}  {loss(k * 5) * 100:8.2f}  {k * 5:6.2f}  {k * 6:6.2f}  {k * 4:6.2f}  {k * 0.05:6.2f}"
    yield "✔ Saved pipeline to output directory"


@style
def espnet() -> Iterator[str]:
    for epoch in (1, 2, 3):
        yield f"[gpu1] 2022-01-0{epoch} 10:00:00,101 (trainer:270) INFO: {epoch}/3epoch started. Estimated time to finish: 2 hours"
        for i in range(100, 400, 100):
            s = (epoch - 1) * 300 + i
            yield (
                f"[gpu1] 2022-01-0{epoch} 10:0{i // 100}:00,101 (trainer:673) INFO: {epoch}epoch:train:{i - 99}-{i}batch: iter_time=0.01,"
                f" forward_time=0.1, loss_ctc={loss(s / 10) * 2:.3f}, loss_att={loss(s / 10):.3f}, acc=0.{epoch}1, loss={loss(s / 10) * 1.3:.3f},"
                f" backward_time=0.1, optim0_lr0=1.2e-05, train_time=0.5"
            )
        yield (
            f"[gpu1] 2022-01-0{epoch} 10:09:00,101 (trainer:328) INFO: {epoch}epoch results: [train] iter_time=0.01, loss_ctc={loss(epoch * 30) * 2:.3f},"
            f" loss={loss(epoch * 30) * 1.3:.3f}, [valid] loss_ctc={val(epoch * 30) * 2:.3f}, loss={val(epoch * 30) * 1.3:.3f}, total_count=50"
        )


@style
def stable_baselines3() -> Iterator[str]:
    for k in range(1, 9):
        yield "-" * 42
        yield "| rollout/                |              |"
        yield f"|    ep_len_mean          | {20 + k}           |"
        yield f"|    ep_rew_mean          | {20 + k}.5         |"
        yield "| time/                   |              |"
        yield "|    fps                  | 879          |"
        yield f"|    iterations           | {k}            |"
        yield f"|    time_elapsed         | {k * 2}            |"
        yield f"|    total_timesteps      | {k * 2048}        |"
        yield "| train/                  |              |"
        yield "|    approx_kl            | 0.0083       |"
        yield f"|    loss                 | {loss(k * 10):.3g}         |"
        yield f"|    value_loss           | {loss(k * 10) * 10:.3g}         |"
        yield "-" * 42


@style
def clu_jax() -> Iterator[str]:
    for s in range(10, 210, 10):
        yield f"I0319 10:00:{s % 60:02d}.123456 140735 logging_writer.py:48] [{s}] accuracy=0.{s:03d}, loss={loss(s / 2):.6g}"


@style
def sklearn_mlp() -> Iterator[str]:
    for i in range(1, 31):
        yield f"Iteration {i}, loss = {loss(i):.8f}"
        if i % 10 == 0:
            yield f"Validation score: 0.{i}0000"
    yield "Training loss did not improve more than tol=0.000100 for 10 consecutive epochs. Stopping."


@style
def ranks() -> Iterator[str]:
    for s in range(1, 21):
        for rank in (2, 0, 3, 1):
            yield f"[rank{rank}]: 2024-05-01 10:00:{s:02d} INFO step {s} loss {loss(s) + rank:.4f} grad_norm {1 + rank / 10:.3f}"


@style
def srun_labels() -> Iterator[str]:
    for s in range(1, 21):
        for rank in (0, 1):
            yield f"{rank}: epoch 0 step {s} loss: {loss(s) + rank:.4f}"


@style
def same_on_all_ranks() -> Iterator[str]:
    for s in range(1, 21):
        for _ in range(4):
            yield f"step: {s}, loss: {loss(s):.4f}"


@style
def nonfinite() -> Iterator[str]:
    for s in range(1, 31):
        yield f"step={s} loss={'nan' if s > 25 else 'inf' if s == 25 else f'{loss(s):.4f}'}"


@style
def epoch_lines() -> Iterator[str]:
    for e in range(1, 11):
        yield f"Epoch {e}/10, Train Loss: {loss(e * 5):.4f}, Train Acc: {e * 9:.2f}%, Val Loss: {val(e * 5):.4f}, Val Acc: {e * 8:.2f}%"


@style
def epoch_blocks() -> Iterator[str]:
    for e in range(10):
        yield f"Epoch {e}/9"
        yield "-" * 10
        yield f"train Loss: {loss(e * 5):.4f} Acc: 0.{e}500"
        yield f"val Loss: {val(e * 5):.4f} Acc: 0.{e}400"
        yield ""
    yield "Training complete in 1m 8s"
    yield "Best val Acc: 0.940000"


@style
def epoch_sections() -> Iterator[str]:
    for e in range(1, 8):
        yield f"===== Epoch {e} ====="
        yield "Training"
        yield f"  loss: {loss(e * 5):.4f}"
        yield f"  accuracy: 0.{e}50"
        yield "Validation"
        yield f"  loss: {val(e * 5):.4f}"
        yield f"  accuracy: 0.{e}40"


@style
def repeated_keys() -> Iterator[str]:
    for e in range(1, 9):
        yield f"Epoch: {e:02} | Epoch Time: 0m 32s"
        yield f"\tTrain Loss: {loss(e * 5):.3f} | Train PPL: {math.exp(loss(e * 5)):7.3f}"
        yield f"\t Val. Loss: {val(e * 5):.3f} |  Val. PPL: {math.exp(val(e * 5)):7.3f}"


@style
def yunjey() -> Iterator[str]:
    for e in range(1, 4):
        for i in range(100, 700, 100):
            yield f"Epoch [{e}/3], Step [{i}/600], Loss: {loss((e - 1) * 60 + i / 10):.4f}"


@style
def cifar_tutorial() -> Iterator[str]:
    for e in range(1, 4):
        for i in range(2000, 14000, 2000):
            yield f"[{e}, {i:5d}] loss: {loss((e - 1) * 60 + i / 200):.3f}"
    yield "Finished Training"


@style
def dcgan() -> Iterator[str]:
    yield "Starting Training Loop..."
    for e in range(3):
        for i in range(0, 200, 50):
            s = e * 200 + i
            yield f"[{e}/3][{i}/200]\tLoss_D: {loss(s / 10):.4f}\tLoss_G: {4 - loss(s / 10) / 2:.4f}\tD(x): 0.8123\tD(G(z)): 0.5010 / 0.0123"


@style
def skorch() -> Iterator[str]:
    yield "  epoch    train_loss    valid_acc    valid_loss     dur"
    yield "-------  ------------  -----------  ------------  ------"
    for e in range(1, 11):
        yield f"{e:7d}        \x1b[36m{loss(e * 5):.4f}\x1b[0m       \x1b[32m0.{e:02d}50\x1b[0m        \x1b[35m{val(e * 5):.4f}\x1b[0m  0.0234"


@style
def fastai() -> Iterator[str]:
    yield "epoch     train_loss  valid_loss  error_rate  time    "
    for e in range(8):
        yield f"{e}         {loss(e * 5):.6f}    {val(e * 5):.6f}    0.{90 - e * 8}    00:{10 + e}     "


@style
def markdown_table() -> Iterator[str]:
    yield "| Step | Training Loss | Validation Loss |"
    yield "|-----:|--------------:|:---------------:|"
    for s in range(100, 1100, 100):
        yield f"| {s} | {loss(s / 10):.4f} | {val(s / 10):.4f} |"


@style
def json_behind_prefix() -> Iterator[str]:
    for s in range(0, 200, 10):
        yield f'INFO:root:{{"step": {s}, "train": {{"loss": {loss(s / 2):.5f}, "accuracy": 0.{s:03d}}}, "lr": 1e-3}}'


@style
def bare_losses() -> Iterator[str]:
    for s in range(50):
        yield f"loss: {loss(s):.6f}"


@style
def tensor_prints() -> Iterator[str]:
    for s in range(20):
        yield (
            f"{s} tensor({loss(s):.4f}, device='cuda:0', grad_fn=<NllLossBackward0>)"
            if s < 0
            else (f"iteration: {s}, loss: tensor({loss(s):.4f}, device='cuda:0', grad_fn=<NllLossBackward0>)")
        )


@style
def prose() -> Iterator[str]:
    for e in range(1, 9):
        yield f"After epoch {e}, the training loss was {loss(e * 5):.4f} and the validation loss was {val(e * 5):.4f} (took 3.2 s)."


@style
def two_runs() -> Iterator[str]:
    for _ in range(2):
        yield "Starting training, learning_rate: 0.001, batch_size: 32"
        for s in range(0, 200, 10):
            yield f"step {s}: loss {loss(s / 2):.4f}"


@style
def crash() -> Iterator[str]:
    for s in range(1, 21):
        yield f"step {s} loss {loss(s):.4f}"
    yield "Traceback (most recent call last):"
    yield '  File "train.py", line 123, in <module>'
    yield "    loss.backward()"
    yield "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity)"


@style
def nanotron() -> Iterator[str]:
    for s in range(1, 21):
        yield (
            f"05/01/2024 10:00:{s:02d} [INFO|DP=0|PP=0|TP=0|ip-26-0-161-153]: iteration: {s} / 20 | consumed_tokens: {s * 4}.19M |"
            f" elapsed_time_per_iteration_ms: 1.5K | tokens_per_sec: 2.7M | global_batch_size: 1.02K | lm_loss: {loss(s):.3g} | lr: 0.0003 |"
            f" model_tflops_per_gpu: 120 | grad_norm: 1.5"
        )


@style
def torchtitan() -> Iterator[str]:
    for s in range(10, 210, 10):
        yield (
            f"[rank0]:[titan] 2024-08-01 10:00:{s % 60:02d},123 - root - INFO - \x1b[31mstep: {s:2d}  \x1b[32mloss: {loss(s / 2):7.4f}"
            f"  \x1b[33mmemory: 38.22GiB(40.26%)  \x1b[34mwps: 7,123  \x1b[35mmfu: 36.51%\x1b[39m"
        )


@style
def rich_bar() -> Iterator[str]:
    for e in range(3):
        for i in (10, 20, 30):
            yield f"Epoch {e}/2  {'━' * 20} {i}/30 0:00:01 • 0:00:02 49.5it/s loss: {loss(e * 30 + i):.3f}"


@style
def pytorch_mnist() -> Iterator[str]:
    for epoch in (1, 2, 3):
        for i in range(0, 60000, 6400):
            s = (epoch - 1) * 10 + i // 6400
            yield f"Train Epoch: {epoch} [{i}/60000 ({100 * i // 60000}%)]\tLoss: {loss(s):.6f}"
        yield ""
        yield f"Test set: Average loss: {val(epoch * 10):.4f}, Accuracy: {9000 + epoch * 100}/10000 ({90 + epoch}%)"
        yield ""
