"""A run that learns too little, and tests on its model that say why."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lossdoctor
from lossdoctor.workup import WorkUp, workup


class Net(nn.Module):
    """A small network, with a mistake that no error message tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x).detach()  # left over from looking at them
        return self.head(features)


def main(budget: int = 1000) -> WorkUp:
    """Digits, for eight epochs; the loss falls, but nowhere near as far as it could."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x / 16).float(), torch.tensor(y))
    train_part, val_part = torch.utils.data.random_split(data, [1400, 397])
    train = DataLoader(train_part, batch_size=32, shuffle=True)
    val = DataLoader(val_part, batch_size=397)
    model, loss_of = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    history = lossdoctor.TrainingHistory()
    for _ in range(8):
        for inputs, target in train:
            loss = loss_of(model(inputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.record(loss.item())
    result = workup(history, model, loss_of, train, val, optimizer=optimizer, budget=budget)
    print(result.chain())
    return result


if __name__ == "__main__":
    main()
