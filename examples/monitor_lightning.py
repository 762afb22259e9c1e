"""PyTorch Lightning: one callback, the training loss need not be logged. ``pip install 'lossdoctor[lightning]'``."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits

from lossdoctor.integrations.lightning import LossDoctorCallback


class Digits(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def training_step(self, batch):
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


def main(run_dir: str | Path | None = None) -> LossDoctorCallback:
    x, y = load_digits(return_X_y=True)
    data = list(zip(torch.tensor(x / 16).float(), torch.tensor(y), strict=True))
    callback = LossDoctorCallback(run_dir=run_dir, name="digits")
    loaders = (torch.utils.data.DataLoader(part, batch_size=32) for part in (data[:1400], data[1400:]))
    pl.Trainer(max_epochs=5, logger=False, enable_checkpointing=False, callbacks=[callback]).fit(Digits(), *loaders)
    return callback


if __name__ == "__main__":
    print(main().monitor.diagnosis)
