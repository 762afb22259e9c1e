"""How fast plain-text logs are read. ``python benchmarks/reading_text.py [--megabytes 20]``

Prints MB/s and the peak of memory (as a multiple of the file) for logs of several styles, repeated to the wanted size.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable

from lossdoctor.readers.base import Source
from lossdoctor.readers.textlog import TextLogReader


def _megatron(s: int, loss: float) -> str:
    return (
        f" iteration {s:8d}/  500000 | consumed samples: {s * 32:12d} | elapsed time per iteration (ms): 571.2 |"
        f" learning rate: {1e-4:.3E} | global batch size:    32 | lm loss: {loss:.6E} | loss scale: 65536.0 |"
        f" grad norm: {1.2:.3f} | number of skipped iterations:   0 | number of nan iterations:   0 |\n"
    )


def _olmo(s: int, loss: float) -> str:
    return (
        f"2024-02-01 10:{s // 60 % 60:02d}:{s % 60:02d}.787\thost-3:0\ttrain:990\tINFO\t[step={s}/100000,epoch=0]\n"
        f"    optim/total_grad_norm={loss:.4f}\n    train/CrossEntropyLoss={loss:.3f}\n    train/Perplexity={s:,}\n"
        f"    throughput/device/tokens_per_second=56,062\n    System/Peak GPU Memory (MB)=91\n"
    )


STYLES: dict[str, Callable[[int, float], str]] = {
    "short lines": lambda s, loss: f"step {s} | loss {loss:.4f}\n",
    "modded-nanogpt": lambda s, loss: f"step:{s}/99999 train_loss:{loss:.4f} train_time:{s * 140}ms step_avg:140.3ms\n",
    "Megatron-LM": _megatron,
    "OLMo": _olmo,
    "dicts": lambda s, loss: (
        f"{{'loss': {loss:.4f}, 'grad_norm': 1.25, 'learning_rate': 1e-5, 'epoch': {s / 99:.2f}}}\n"
    ),
    "tqdm": lambda s, loss: f"\rEpoch 1:  50%|█████     | {s}/999999 [00:10<00:10, 4.91it/s, loss={loss:.3f}, v_num=0]",
    "other text": lambda s, loss: f"2024-05-01 10:00:{s % 60:02d} INFO loaded shard {s} in {loss:.1f} s from cache\n",
}


def main() -> None:
    """Print one row per style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=20.0)
    size = int(parser.parse_args().megabytes * 1e6)
    print(f"{'style':16} {'MB/s':>7} {'points':>9} {'memory / file':>14}")
    for name, style in STYLES.items():
        data = _log(style, size)
        began = time.perf_counter()
        points = _read(data)
        rate = len(data) / (time.perf_counter() - began) / 1e6
        tracemalloc.start()
        _read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{name:16} {rate:7.1f} {points:9,} {peak / len(data):14.2f}")


def _log(style: Callable[[int, float], str], size: int) -> bytes:
    rng = random.Random(0)
    parts = ["step 0 loss 4.0\nstep 1 loss 3.0\n"] if style is STYLES["other text"] else []
    length, s = 0, 0
    while length < size:
        s += 1
        parts.append(style(s, 1 + rng.random()))
        length += len(parts[-1])
    return "".join(parts).encode()


def _read(data: bytes) -> int:
    (history,) = TextLogReader().read(Source("bench.log", "bench.log", data=data))
    return history.points


if __name__ == "__main__":
    main()
