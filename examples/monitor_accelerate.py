"""Hugging Face Accelerate: one tracker. Needs ``pip install 'lossdoctor[accelerate]'``."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from lossdoctor.integrations.accelerate import LossDoctorTracker


def main(run_dir: str | Path | None = None, learning_rate: float = 0.1) -> LossDoctorTracker:
    """Digits by softmax regression, on as many processes as ``accelerate launch`` starts."""
    tracker = LossDoctorTracker(run_dir=run_dir, name="digits")
    accelerator = Accelerator(log_with=tracker)
    accelerator.init_trackers("digits", config={"classes": 10, "learning_rate": learning_rate})
    x, y = load_digits(return_X_y=True)
    data = DataLoader(TensorDataset(torch.tensor(x / 16).float(), torch.tensor(y)), batch_size=32, shuffle=True)
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
    tracker.watch(model, optimizer)
    for step, (inputs, labels) in enumerate(batch for _ in range(5) for batch in data):
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        accelerator.log({"train/loss": loss.detach()}, step=step)
        if tracker.should_stop:
            break
    accelerator.end_training()
    return tracker


if __name__ == "__main__":
    print(main().monitor.diagnosis)
