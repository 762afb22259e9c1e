"""Hugging Face Trainer: one callback. Needs ``pip install 'lossdoctor[transformers]'``."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from lossdoctor.integrations.transformers import LossDoctorCallback


def main(run_dir: str | Path | None = None) -> LossDoctorCallback:
    """A tiny language model learns to count: every text goes up by one from somewhere."""
    random.seed(0)
    starts = [random.randrange(60) for _ in range(600)]
    texts = [{"input_ids": list(range(s, s + 16)), "labels": list(range(s, s + 16))} for s in starts]
    model = GPT2LMHeadModel(GPT2Config(vocab_size=80, n_positions=16, n_embd=32, n_layer=1, n_head=2))
    callback = LossDoctorCallback(run_dir=run_dir, name="counting")
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=120,
            learning_rate=3e-3,
            per_device_train_batch_size=16,
            logging_steps=1,  # a row at every step
            eval_strategy="steps",
            eval_steps=20,
            save_strategy="no",
            report_to=[],
        )
        Trainer(model, arguments, train_dataset=texts[:500], eval_dataset=texts[500:], callbacks=[callback]).train()
    return callback


if __name__ == "__main__":
    print(main().monitor.diagnosis)
