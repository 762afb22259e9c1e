# ruff: noqa: E501  (the lines are as long as the tools print them)
"""Write the small logs under ``text/``: one file per style of printing, exactly as the tools print it.

Run ``python tests/data/make_text.py``. Each style is a function that yields lines; losses follow one simple curve, so a
test can state names, counts, steps and values without running the reader. Logs of real tools (XGBoost, LightGBM,
CatBoost, scikit-learn, Keras, Transformers) come from ``make_text_tools.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

OUT = Path(__file__).parent / "text"
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
def simple_pipes() -> Iterator[str]:
    for s in range(100, 1100, 100):
        yield f"step {s} | loss {loss(s / 10):.4f} | lr {3e-4:.2e}"


@style
def nanogpt() -> Iterator[str]:
    yield "Overriding config with config/train_shakespeare_char.py:"
    yield "# train a miniature character-level shakespeare model"
    yield "eval_interval = 250 # keep frequent because we'll overfit"
    yield "learning_rate = 1e-3 # with baby networks can afford to go a bit higher"
    yield "tokens per iteration will be: 16,384"
    yield "number of parameters: 10.65M"
    yield "num decayed parameter tensors: 26, with 10,740,096 parameters"
    for s in range(0, 101, 5):
        if s % 25 == 0:
            yield f"step {s}: train loss {loss(s):.4f}, val loss {val(s):.4f}"
            yield "saving checkpoint to out-shakespeare-char"
        yield f"iter {s}: loss {loss(s):.4f}, time {24.5 + s:.2f}ms, mfu {-100.0 if s == 0 else 15.1:.2f}%"


@style
def modded_nanogpt() -> Iterator[str]:
    yield "import os"
    yield "with open(sys.argv[0]) as f:"
    yield "    code = f.read()"
    yield "for step in range(train_steps + 1):"
    yield "    val_loss = 0"
    yield '    print0(f"step:{step}/{args.num_iterations} val_loss:{val_loss:.4f} step_avg:{t/max(step, 1):.2f}ms")'
    yield "    lr = 0.008"
    yield "=" * 100
    yield "Running Python 3.12.7 (main, Oct  1 2024, 15:27:21) [GCC 13.2.0]"
    yield "Running PyTorch 2.6.0.dev20241231+cu126 compiled for CUDA 12.6"
    yield "|   0  NVIDIA H100 80GB HBM3          On  |   00000000:61:00.0 Off |                    0 |"
    yield "| N/A   27C    P0            111W /  700W |    5856MiB /  81559MiB |      0%      Default |"
    yield "=" * 100
    for s in range(0, 41):
        if s % 20 == 0:
            avg = "nan" if s == 0 else "140.12"
            yield f"step:{s}/40 val_loss:{val(s):.4f} train_time:{s * 140}ms step_avg:{avg}ms"
        if s < 40:
            yield f"step:{s + 1}/40 train_loss:{loss(s + 1):.4f} train_time:{s * 140}ms step_avg:{'nan' if s < 10 else '140.30'}ms"
    yield "peak memory allocated: 37628 MiB reserved: 39692 MiB"


@style
def llm_c() -> Iterator[str]:
    yield "+-----------------------+----------------------------------------------------+"
    yield "| Parameter             | Value                                              |"
    yield "+-----------------------+----------------------------------------------------+"
    yield "| batch size B          | 64                                                 |"
    yield "| learning rate (LR)    | 6.000000e-04                                       |"
    yield "| max_steps             | 40                                                 |"
    yield "+-----------------------+----------------------------------------------------+"
    yield "val loss 11.009202"
    for s in range(1, 41):
        z = "nanz" if s < 5 else f"{0.1 * (s % 3) - 0.1:.2f}z"
        sign = "" if z.startswith("-") else "+"
        yield (
            f"step {s:4d}/40 | loss {loss(s):7.6f} ({sign}{z})| norm {12.5 / s:6.4f} ({sign}{z})| lr {6e-4 * s / 40:.2e}"
            f" | {360.1 + s:.2f} ms | {45.2:.1f}% bf16 MFU | 145{s:04d} tok/s"
        )
        if s % 10 == 0:
            yield f"val loss {val(s):.6f}"
            yield f"HellaSwag: {2800 + s}/10042 = {(2800 + s) / 10042:.6f}"


@style
def olmo() -> Iterator[str]:
    for s in range(1, 21):
        yield f"2024-02-01 10:{s:02d}:33.787\thost-3:0\tolmo.train:990\tINFO\t[step={s}/1000,epoch=0]"
        yield f"    optim/total_grad_norm={6.9 / s:.4f}"
        yield f"    train/CrossEntropyLoss={loss(s):.3f}"
        yield f"    train/Perplexity={math.exp(loss(s)) * 900:,.0f}"
        yield f"    throughput/total_tokens={s * 4_194_304:,}"
        yield "    throughput/device/tokens_per_second=56,062"
        yield "    System/Peak GPU Memory (MB)=114,391"


@style
def megatron() -> Iterator[str]:
    yield "  global_batch_size ............................... 32"
    yield "  lr .............................................. 0.0001"
    yield "  num_layers ...................................... 24"
    for s in range(100, 2100, 100):
        yield (
            f" iteration {s:8d}/  500000 | consumed samples: {s * 32:12d} | elapsed time per iteration (ms): 571.2 |"
            f" learning rate: {1e-4:.3E} | global batch size:    32 | lm loss: {loss(s / 20):.6E} | loss scale: 65536.0 |"
            f" grad norm: {1.2:.3f} | number of skipped iterations:   0 | number of nan iterations:   0 |"
        )
        if s % 1000 == 0:
            yield "-" * 100
            yield f" validation loss at iteration {s} | lm loss value: {val(s / 20):.6E} | lm loss PPL: {math.exp(val(s / 20)):.6E} | "
            yield "-" * 100


@style
def deepspeed() -> Iterator[str]:
    for s in range(10, 210, 10):
        yield (
            f"[2023-05-01 10:{s // 10:02d}:11,123] [INFO] [logging.py:96:log_dist] [Rank 0] step={s}, skipped=0,"
            f" lr=[{s * 1e-6:.6g}, {s * 1e-6:.6g}], mom=[(0.9, 0.999), (0.9, 0.999)]"
        )
        yield f"steps: {s} loss: {loss(s / 2):.4f} iter time (s): 0.571 samples/sec: 56.025"


@style
def fairseq() -> Iterator[str]:
    for epoch in (1, 2, 3):
        yield f"2021-03-02 11:0{epoch}:00 | INFO | fairseq.trainer | begin training epoch {epoch}"
        for s in range(100 * epoch - 90, 100 * epoch + 1, 10):
            yield (
                f"2021-03-02 11:0{epoch}:{s % 60:02d} | INFO | train_inner | "
                f'{{"epoch": {epoch}, "update": {s / 100:.3f}, "loss": "{loss(s):.3f}", "nll_loss": "{loss(s) - 0.2:.3f}",'
                f' "ppl": "{2 ** loss(s):.2f}", "wps": "1234.5", "num_updates": "{s}", "lr": "{s * 1e-7:.6g}", "gnorm": "2.1"}}'
            )
        s = 100 * epoch
        yield f'2021-03-02 11:0{epoch}:59 | INFO | fairseq_cli.train | begin validation on "valid" subset'
        yield (
            f"2021-03-02 11:0{epoch}:59 | INFO | valid | "
            f'{{"epoch": {epoch}, "valid_loss": "{val(s):.3f}", "valid_nll_loss": "{val(s) - 0.2:.3f}", "valid_num_updates": "{s}"}}'
        )


@style
def fairseq_simple() -> Iterator[str]:
    for epoch in (1, 2, 3, 4):
        yield (
            f"| epoch {epoch:03d} | loss {loss(epoch * 10):.3f} | nll_loss {loss(epoch * 10) - 0.1:.3f} | ppl 300.1 |"
            f" wps 3123 | ups 1 | wpb 3000 | num_updates {epoch * 500} | lr 0.0005 | gnorm 1.5 | clip 0.000 | train_wall 300"
        )
        yield (
            f"| epoch {epoch:03d} | valid on 'valid' subset | loss {val(epoch * 10):.3f} | nll_loss {val(epoch * 10) - 0.1:.3f} |"
            f" ppl 310.2 | num_updates {epoch * 500}"
        )


@style
def detectron2() -> Iterator[str]:
    yield "[03/01 10:00:00 d2.engine.train_loop]: Starting training from iteration 0"
    for s in range(19, 420, 20):
        yield (
            f"[03/01 10:00:{s % 60:02d} d2.utils.events]:  eta: 0:{s % 60:02d}:34  iter: {s}  total_loss: {loss(s / 4):.4g}"
            f"  loss_cls: {loss(s / 4) * 0.6:.4g}  loss_box_reg: {loss(s / 4) * 0.4:.4g}  time: 0.6826  last_time: 0.68"
            f"  data_time: 0.3791  last_data_time: 0.01   lr: {s * 1e-5:.5g}  max_mem: 11810M"
        )


@style
def mmcv() -> Iterator[str]:
    for epoch in (1, 2, 3):
        for i in range(50, 250, 50):
            s = (epoch - 1) * 200 + i
            yield (
                f"2021-05-01 10:0{epoch}:{i % 60:02d},123 - mmdet - INFO - Epoch [{epoch}][{i}/200]\tlr: 2.000e-02, eta: 1:02:03,"
                f" time: 0.512, data_time: 0.050, memory: 4123, loss_cls: {loss(s / 10) * 0.7:.4f}, acc: 93.{i},"
                f" loss: {loss(s / 10):.4f}, grad_norm: 3.1"
            )
        yield f"2021-05-01 10:0{epoch}:59,001 - mmdet - INFO - Epoch(val) [{epoch}][500]\tbbox_mAP: 0.{epoch}10, bbox_mAP_50: 0.{epoch}55"


@style
def mmengine() -> Iterator[str]:
    for epoch in (1, 2, 3):
        for i in range(50, 250, 50):
            s = (epoch - 1) * 200 + i
            yield (
                f"05/01 10:0{epoch}:{i % 60:02d} - mmengine - INFO - Epoch(train)  [{epoch}][{i:3d}/200]  base_lr: 2.0000e-02"
                f" lr: 2.0000e-02  eta: 1:02:03  time: 0.5123  data_time: 0.0501  memory: 4123  grad_norm: 3.1"
                f"  loss: {loss(s / 10):.4f}  loss_cls: {loss(s / 10) * 0.7:.4f}"
            )
        for i in range(10, 50, 10):
            yield f"05/01 10:0{epoch}:59 - mmengine - INFO - Epoch(val)  [{epoch}][{i}/40]    eta: 0:00:01  time: 0.1  data_time: 0.01  memory: 900"
        yield f"05/01 10:0{epoch}:59 - mmengine - INFO - Epoch(val) [{epoch}][40/40]    coco/bbox_mAP: 0.{epoch}100  coco/bbox_mAP_50: 0.{epoch}500  data_time: 0.0012  time: 0.0301"


@style
def mmengine_iter() -> Iterator[str]:
    for s in range(50, 1050, 50):
        yield (
            f"05/01 10:00:{s % 60:02d} - mmengine - INFO - Iter(train) [{s:6d}/40000]  base_lr: 9.9e-03 lr: 9.9e-03"
            f"  eta: 4:02:03  time: 0.36  data_time: 0.01  memory: 7635  loss: {loss(s / 10):.4f}  decode.loss_ce: {loss(s / 10) * 0.6:.4f}"
            f"  decode.acc_seg: 61.{s % 90:02d}"
        )


@style
def keras_bar() -> Iterator[str]:
    yield "Train on 6400 samples, validate on 1000 samples"
    for epoch in range(1, 6):
        yield f"Epoch {epoch}/5"
        line = ""
        for i in range(32, 6401, 1592):
            bar = "=" * (i // 220) + ">" + "." * (29 - i // 220)
            line += (
                f"{i:4d}/6400 [{bar}] - ETA: 1s - loss: {loss(epoch * 10) + 1 - i / 6400:.4f} - acc: 0.{epoch}1{i % 10}"
                + "\b" * 90
            )
        yield (
            line
            + f"6400/6400 [{'=' * 30}] - 2s 312us/step - loss: {loss(epoch * 10):.4f} - acc: 0.{epoch}500 - val_loss: {val(epoch * 10):.4f} - val_acc: 0.{epoch}400"
        )
    yield "1000/1000 [==============================] - 0s 20us/step - loss: 9.0000 - acc: 0.1000"


@style
def keras3_bar() -> Iterator[str]:
    for epoch in range(1, 5):
        yield f"Epoch {epoch}/4"
        parts = []
        for i in (1, 40, 80):
            parts.append(
                f"\r\x1b[1m{i:3d}/100\x1b[0m \x1b[32m{'━' * (i // 5)}\x1b[0m\x1b[37m{'━' * (20 - i // 5)}\x1b[0m \x1b[1m1s\x1b[0m 12ms/step"
                f" - accuracy: 0.{epoch}000 - loss: {loss(epoch * 10) + 0.5:.4f}"
            )
        parts.append(
            f"\r\x1b[1m100/100\x1b[0m \x1b[32m{'━' * 20}\x1b[0m\x1b[37m\x1b[0m \x1b[1m2s\x1b[0m 14ms/step - accuracy: 0.{epoch}500"
            f" - loss: {loss(epoch * 10):.4f} - val_accuracy: 0.{epoch}300 - val_loss: {val(epoch * 10):.4f}"
        )
        yield "".join(parts)


@style
def keras_verbose2() -> Iterator[str]:
    for epoch in range(1, 9):
        yield f"Epoch {epoch}/8"
        yield (
            f"100/100 - 2s - loss: {loss(epoch * 10):.4f} - accuracy: 0.{epoch}500 - val_loss: {val(epoch * 10):.4f}"
            f" - val_accuracy: 0.{epoch}400 - 2s/epoch - 21ms/step"
        )
        yield f"Epoch {epoch}: val_loss improved from {val(epoch * 10 - 10):.5f} to {val(epoch * 10):.5f}, saving model to best.h5"


@style
def tqdm_epochs() -> Iterator[str]:
    for epoch in range(3):
        line = f"\rEpoch {epoch}:   0%|          | 0/50 [00:00<?, ?it/s]"
        for i in range(10, 60, 10):
            bar = ("█" * (i // 5)).ljust(10)
            line += f"\rEpoch {epoch}:  {i * 2}%|{bar}| {i}/50 [00:{i:02d}<00:{50 - i:02d}, 4.91it/s, loss={loss(epoch * 50 + i):.3f}, v_num=0]"
        yield line


@style
def lightning_bar() -> Iterator[str]:
    yield "GPU available: False, used: False"
    yield "  | Name  | Type       | Params"
    yield "-" * 40
    yield "0 | layer | Linear     | 7.9 K "
    yield "-" * 40
    yield "7.9 K     Trainable params"
    for epoch in range(4):
        for i in (25, 50):
            known = (
                f", val_loss={val((epoch - 1) * 10):.3f}, train_loss_epoch={loss(epoch * 10 - 10):.3f}" if epoch else ""
            )
            yield f"Epoch {epoch}: 100%|██████████| {i}/50 [00:01<00:00, 30.30it/s, v_num=3, train_loss_step={loss(epoch * 10 + i / 5):.3f}{known}]"
        yield "Validation: |          | 0/? [00:00<?, ?it/s]"
        yield "Validation DataLoader 0: 100%|██████████| 10/10 [00:00<00:00, 99.1it/s]"
        yield f"Epoch {epoch}: 100%|██████████| 50/50 [00:01<00:00, 30.30it/s, v_num=3, train_loss_step={loss(epoch * 10 + 10):.3f}, val_loss={val(epoch * 10):.3f}, train_loss_epoch={loss(epoch * 10):.3f}]"


@style
def hf_trainer() -> Iterator[str]:
    yield "***** Running training *****"
    yield "  Num examples = 3,200"
    yield "  Num Epochs = 3"
    yield "  Total optimization steps = 300"
    for s in range(10, 310, 10):
        yield f"\r {s * 100 // 300:3d}%|{('█' * (s // 30)).ljust(10)}| {s}/300 [00:{s // 10:02d}<01:10,  5.1it/s]"
        yield f"{{'loss': {loss(s / 3):.4f}, 'grad_norm': 1.25, 'learning_rate': {5e-5 * (1 - s / 300):.10g}, 'epoch': {s / 100:.2f}}}"
        if s % 100 == 0:
            yield "***** Running Evaluation *****"
            yield "\r100%|██████████| 13/13 [00:01<00:00, 9.9it/s]"
            yield f"{{'eval_loss': {val(s / 3):.4f}, 'eval_accuracy': 0.{s}, 'eval_runtime': 1.21, 'eval_samples_per_second': 82.1, 'epoch': {s / 100:.1f}}}"
    yield f"{{'train_runtime': 61.2, 'train_samples_per_second': 52.1, 'train_loss': {1.234:.4f}, 'epoch': 3.0}}"


@style
def hf_trainer_no_bar() -> Iterator[str]:
    for s in range(10, 310, 10):
        yield f"{{'loss': {loss(s / 3):.4f}, 'learning_rate': {5e-5 * (1 - s / 300):.10g}, 'epoch': {s / 100:.2f}}}"
        if s % 100 == 0:
            yield f"{{'eval_loss': {val(s / 3):.4f}, 'eval_runtime': 1.21, 'epoch': {s / 100:.1f}}}"


@style
def ultralytics() -> Iterator[str]:
    yield "Ultralytics YOLOv8.0.20 🚀 Python-3.10.12 torch-2.0.1 CUDA:0 (Tesla T4, 15102MiB)"
    yield "                   from  n    params  module                                       arguments"
    yield "  0                  -1  1       928  ultralytics.nn.modules.Conv                  [3, 32, 3, 2]"
    yield "Starting training for 6 epochs..."
    for epoch in range(1, 7):
        yield ""
        yield "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size"
        line = ""
        for p in (0, 50, 100):
            bar = ("█" * (p // 10)).ljust(10)
            line += (
                f"\r        {epoch}/6      2.61G     {loss(epoch * 10) + (100 - p) / 100:.4f}     {loss(epoch * 10) * 1.5:.4f}"
                f"     {loss(epoch * 10) * 0.5:.4f}         2{p % 9}        640: {p:3d}%|{bar}| {p // 25}/4 [00:0{p // 25}<00:01,  2.5it/s]"
            )
        yield line
        yield "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██████████| 2/2 [00:00<00:00,  3.17it/s]"
        yield f"                   all        128        929      0.{epoch}71      0.{epoch}39      0.{epoch}05      0.{epoch}46"
    yield "6 epochs completed in 0.012 hours."


@style
def torchvision() -> Iterator[str]:
    for epoch in range(3):
        for i in range(0, 100, 10):
            s = epoch * 100 + i
            yield (
                f"Epoch: [{epoch}]  [{i:4d}/100]  eta: 0:00:{i:02d}  lr: 0.1  img/s: 123.4  loss: {loss(s / 3):.4f} ({loss(s / 3) + 0.3:.4f})"
                f"  acc1: {s / 4:.4f} (12.5000)  acc5: 30.1 (31.2)  time: 0.2622  data: 0.0128  max mem: 3456"
            )
        yield f"Epoch: [{epoch}] Total time: 0:00:26"
        for i in (0, 10, 20):
            yield (
                f"Test:   [{i:2d}/20]  eta: 0:00:01  loss: {val(epoch * 33) + 0.2:.4f} ({val(epoch * 33):.4f})"
                f"  acc1: 50.1 ({60 + epoch}.0000)  time: 0.1  data: 0.05  max mem: 3456"
            )
        yield "Test: Total time: 0:00:02"
        yield f"Test:  Acc@1 {60 + epoch}.000 Acc@5 {80 + epoch}.000"


@style
def timm() -> Iterator[str]:
    for epoch in range(3):
        for i in range(0, 101, 20):
            s = epoch * 101 + i
            yield (
                f"Train: {epoch} [{i:4d}/101 ({i:3d}%)]  Loss: {loss(s / 3):.3g} ({loss(s / 3) + 0.2:.3g})  Time: 0.523s,  244.7/s"
                f"  (0.601s,  213.0/s)  LR: 1.000e-03  Data: 0.010 (0.050)"
            )
        for i in (0, 24, 48):
            yield (
                f"Test: [{i:4d}/48]  Time: 0.321 (0.321)  Loss:  {val(epoch * 33) + 0.4:6.4f} ({val(epoch * 33):6.4f})"
                f"  Acc@1: 40.5000 ({40 + epoch}.0000)  Acc@5: 60.1 (61.2000)"
            )
        yield f"*** Best metric: {40 + epoch}.0 (epoch {epoch})"


def main() -> None:
    """Write every style of this module and of its continuation."""
    import make_text_more

    OUT.mkdir(exist_ok=True)
    for name, lines in {**STYLES, **make_text_more.STYLES}.items():
        with (OUT / f"{name}.log").open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(line + "\n" for line in lines())


if __name__ == "__main__":
    main()
