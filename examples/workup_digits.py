"""A run that learns too little, and tests on its model that say why."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lossdoctor
from lossdoctor.workup import WorkUp, workup


def main(budget: int = 2000) -> WorkUp:
    """Fine-tuning in which the body was frozen for the first epochs, and nobody thawed it."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x / 16).float(), torch.tensor(y))
    train = DataLoader(TensorDataset(*data[:1400]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(*data[1400:]), batch_size=256)
    body = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(16, 10))
    body.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_of = nn.CrossEntropyLoss()

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
