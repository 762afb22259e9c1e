"""Optimizers as the real frameworks wrap them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import lossdoctor
from tests.live.watching.watched_models import batch, net

pytestmark = pytest.mark.slow


def test_accelerate_with_accumulated_gradients(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    plain = net()
    model, optimizer = accelerator.prepare(plain, torch.optim.Adam(plain.parameters()))
    with lossdoctor.Monitor(tmp_path) as monitor:
        monitor.watch(model, optimizer, every=1)
        for _ in range(8):
            with accelerator.accumulate(model):
                loss = model(batch()).square().mean()
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                monitor.log(loss=loss)
    (history,) = lossdoctor.read(tmp_path)
    assert len(history.curves["loss"]) == 8
    assert history.curves["grad_norm"].steps.tolist() == [1, 3, 5, 7]
    assert "grad_norm/3.weight" in history.curves


def test_lightning_with_its_closures(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    monitor = lossdoctor.Monitor(tmp_path)

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, x: Any, _: int) -> Any:
            return self.net(x[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters())

        def on_train_start(self) -> None:
            monitor.watch(self.net, self.optimizers(), every=1)

        def on_train_batch_end(self, outputs: Any, x: Any, i: int) -> None:
            del x, i
            monitor.log(loss=outputs["loss"])

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(40, 6)), 8)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet).fit(Module(), loader)
    monitor.finish()
    (history,) = lossdoctor.read(tmp_path)
    assert len(history.curves["loss"]) == len(history.curves["grad_norm"]) == 10
    assert (history.curves["update_ratio"].values > 0).all()
