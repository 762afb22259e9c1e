"""A plain PyTorch loop: two lines record it, judge it while it trains, and stop it where it goes wrong."""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits

import lossdoctor


def main(run_dir: str | Path | None = None, learning_rate: float = 0.1, epochs: int = 10) -> lossdoctor.Monitor:
    """Digits by a small network; the validation loss once per epoch."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16).float(), torch.tensor(y)
    train, val = (x[:1400], y[:1400]), (x[1400:], y[1400:])
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    loss_of = torch.nn.functional.cross_entropy

    with lossdoctor.Monitor(run_dir, "digits", {"classes": 10}, actions=[lossdoctor.actions.StopTraining()]) as monitor:
        monitor.watch(model, optimizer)  # learning rate, norms of gradients and parameters, dead units
        for step in range(44 * epochs):
            batch = torch.randint(1400, (32,))
            loss = loss_of(model(train[0][batch]), train[1][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            held_out = {"val_loss": loss_of(model(val[0]), val[1])} if step % 44 == 43 else {}
            monitor.log(step, loss=loss, **held_out)
            if monitor.should_stop:
                break
    return monitor


if __name__ == "__main__":
    print(main().diagnosis)
