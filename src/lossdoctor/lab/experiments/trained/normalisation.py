"""Inputs as they come, and inputs brought to one scale."""

from __future__ import annotations

from dataclasses import replace

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import compared, outcomes, tail
from lossdoctor.lab.result import Experiment, Mark, Table


@experiment(
    "Input normalisation on and off",
    "prices of houses from size, age and distance: raw they explode at a rate at which normalised ones are learned",
    LR,
    Option("steps", "optimizer steps of each run", low=100, high=20_000),
    SEED,
)
def normalisation(*, lr: float = 0.05, steps: int = 600, seed: int = 0) -> Experiment:
    import numpy as np
    import torch
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import Data, houses, standardised
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, seeded, train
    from lossdoctor.torchkit.hessian import Hessian
    from lossdoctor.torchkit.spectrum import extreme_eigenvalue

    def net() -> nn.Module:
        return mlp([4, 32, 1])

    def sharpest(data: Data) -> float:
        """Largest curvature of the loss of the untrained net."""
        with seeded(seed):
            model = net()
            hessian = Hessian(lambda: nn.functional.mse_loss(model(data.x), data.y), model.parameters())
            return extreme_eigenvalue(hessian, seed=seed).value

    def condition(data: Data) -> float:
        """Condition number of the inputs' second moments, the bias among them: that of the first layer's problem."""
        x = np.hstack([data.x.double().numpy(), np.ones((len(data), 1))])
        return float(np.linalg.cond(x.T @ x / len(x)))

    raw = houses(400, 200, seed=seed)
    scaled = standardised(raw)
    limits = {"raw": 2 / sharpest(raw), "normalised": 2 / sharpest(scaled)}
    low = limits["raw"] / 2
    base = Recipe(steps=steps, lr=lr, optimizer="sgd")
    names = (f"raw, rate {lr:g}", f"raw, rate {low:.1g}", f"normalised, rate {lr:g}")
    setups = ((raw, base), (raw, replace(base, lr=low)), (scaled, base))
    histories = {
        name: train(net, data, recipe, seed=seed, name=name).history
        for name, (data, recipe) in zip(names, setups, strict=True)
    }
    kappa = {"raw": condition(raw), "normalised": condition(scaled)}
    variance = float(torch.var(raw.y_val, correction=0))
    ends = [tail(h, "val_loss") for h in histories.values()]
    panels = (
        compared(
            "Validation loss",
            histories,
            "val_loss",
            "mean squared error",
            log_y=True,
            marks=[Mark("the noise of the prices", y=0.04), Mark("always the mean price", y=variance)],
            note=f"The raw run at {lr:g} has no point here: its loss is not a number from the first steps on.",
        ),
        compared("Gradient norm", histories, "grad_norm", "gradient norm", log_y=True),
    )
    table = Table(
        "The same houses, two scales",
        ("inputs", "largest curvature at the start", "critical rate 2/λmax", "condition number of the inputs"),
        tuple((name, 2 / limits[name], limits[name], kappa[name]) for name in limits),
        "Plain gradient descent needs a rate below 2/λmax, and about κ steps to settle along the flattest direction.",
    )
    numbers: dict[str, float | str] = {
        "raw: critical rate": limits["raw"],
        "normalised: critical rate": limits["normalised"],
        "raw: condition number": kappa["raw"],
        "normalised: condition number": kappa["normalised"],
        "raw at the same rate: final validation loss": ends[0],
        "raw at a rate it stands: final validation loss": ends[1],
        "normalised: final validation loss": ends[2],
        "always the mean price": variance,
    }
    text = (
        "Prices of houses are learned from their size in square feet, rooms, age and distance in metres: numbers from "
        f"1 to 20,000. Raw, the sharpest direction of the untrained net has a curvature of {2 / limits['raw']:.2g}, so "
        f"that no rate above 2/λmax = {limits['raw']:.1g} can go down, and {lr:g} turns to NaN within a few steps. "
        f"Half that limit survives, but the inputs' condition number is {kappa['raw']:.1g}: "
        f"after {steps} steps the error is {ends[1]:.3g}, and the mean price alone would give {variance:.2f}. Each "
        f"input brought to mean 0 and standard deviation 1, the condition number is {kappa['normalised']:.1f}, the "
        f"critical rate {limits['normalised']:.2g}, and the same net at {lr:g} ends at {ends[2]:.3f}, "
        "the noise of the prices being 0.04. Measure mean and deviation on the training part only, and "
        "use the same numbers for everything else."
    )
    return found(
        text,
        panels=panels,
        tables=(table, outcomes("Where the runs ended", histories)),
        numbers=numbers,
        runs=histories,
        sources=("LeCun, Bottou, Orr, Müller 1998, Efficient BackProp, section 4.3",),
    )
