"""fastai: one callback. Needs ``pip install 'lossdoctor[fastai]'``."""

from __future__ import annotations

from pathlib import Path

import torch
from fastai.callback.schedule import Learner  # with its fit_one_cycle
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.metrics import accuracy
from sklearn.datasets import load_digits

from lossdoctor.integrations.fastai import LossDoctorCallback


def main(run_dir: str | Path | None = None) -> LossDoctorCallback:
    """Digits by a small network."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    rows = list(zip(torch.tensor(x / 16).float(), torch.tensor(y), strict=True))
    loaders = DataLoaders(*(DataLoader(part, bs=32, num_workers=0) for part in (rows[:1400], rows[1400:])))
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    learner = Learner(loaders, model, loss_func=torch.nn.CrossEntropyLoss(), metrics=accuracy)
    callback = LossDoctorCallback(run_dir=run_dir, name="digits")
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(5, 0.003, cbs=callback)
    return callback


if __name__ == "__main__":
    print(main().monitor.diagnosis)
