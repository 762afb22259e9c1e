"""The other tasks: data and architectures that nothing is ever tuned on (see :data:`benchmarks.clinic.draws.PARTS`).

Their learning rates come from the same grid as those of the first tasks (:mod:`benchmarks.clinic.tune`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from benchmarks.clinic import other_data as data
from benchmarks.clinic import other_models as models
from benchmarks.clinic.data import digit_copies, digit_images, digits
from benchmarks.clinic.models import Shape, mlp
from benchmarks.clinic.spec import Spec, rates, unfit

# A norm undoes what these do to weights and inputs; a skip path goes around what they break.
_NORMED = "vanishing_gradients dead_init exploding_init large_init unscaled_inputs"
_SKIPPED = "vanishing_gradients dead_init exploding_init"


def right_marks(output: Tensor, target: Tensor) -> Tensor:
    """Share of marks that are on the right side of one half."""
    return ((output > 0) == (target > 0.5)).float().mean()


def adversarial_loss(output: Tensor, target: Tensor) -> Tensor:
    """Of the discriminator, from its logits; see :mod:`benchmarks.clinic.adversarial`."""
    return F.binary_cross_entropy_with_logits(output, target)


def fine_tuned(model: nn.Module, seed: int) -> None:
    """Train a model on the lower digits, then give it its fresh head back: where a fine-tuning starts from."""
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    fresh = {name: value.clone() for name, value in head.state_dict().items()}
    x, y = data.lower_digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(120):
        rows = torch.randint(len(x), (64,), generator=generator)
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    head.load_state_dict(fresh)


OTHER: dict[str, Spec] = {
    "wine_layernorm": Spec(
        "classification", data.wine, lambda s: models.normed_mlp(13, 3, s, "layer"), F.cross_entropy,
        Shape(16, 1, dropout=0.2), 0.08, 500, rates(2e-3, 0.1, 0.02), batch_size=32, classes=3, weight_decay=1e-2,
        norm="layer", unfit=unfit(_NORMED),
    ),
    "shells_residual": Spec(
        "classification", data.quantiles, lambda s: models.residual_mlp(4, 4, s), F.cross_entropy,
        Shape(16, 2, dropout=0.1, activation="gelu"), 0.62, 800, rates(2e-3, 0.2, 0.02), classes=4, weight_decay=1e-3,
        unfit=unfit(_SKIPPED),
    ),
    "roll_tanh": Spec(
        "regression", data.swiss_roll, lambda s: mlp(3, 1, s), F.mse_loss,
        Shape(32, 2, activation="tanh"), 0.06, 900, rates(5e-3, 0.1, 0.03),
    ),
    "friedman2_dense": Spec(
        "regression", data.friedman2, lambda s: models.DenseSkip(4, 1, s), F.mse_loss,
        Shape(16, 3, activation="gelu"), 0.094, 700, rates(2e-3, 0.05, 0.01), weight_decay=1e-4,
        unfit=unfit(_SKIPPED + " zero_init detached"),
    ),
    "marks_batchnorm": Spec(
        "classification", data.digit_tags, lambda s: models.normed_mlp(64, 4, s, "batch"),
        F.binary_cross_entropy_with_logits, Shape(48, 2, dropout=0.2), 0.06, 600, rates(2e-3, 0.5, 0.05),
        weight_decay=1e-4, norm="batch", metrics={"accuracy": right_marks}, unfit=unfit(_NORMED),
    ),
    "digits_mixer": Spec(
        "classification", digits, lambda s: models.Mixer(10, s), F.cross_entropy,
        Shape(16, 1, dropout=0.1, activation="gelu"), 0.15, 500, rates(8e-3, 0.5, 0.1), classes=10, weight_decay=1e-3,
        norm="layer", unfit=unfit(_SKIPPED),
    ),
    "digits_resconv": Spec(
        "classification", digit_images, lambda s: models.ResidualConv(10, s), F.cross_entropy,
        Shape(8, 2, dropout=0.1), 0.18, 550, rates(8e-3, 0.5, 0.1), classes=10, weight_decay=1e-4,
        unfit=unfit(_SKIPPED),
    ),
    "digits_denoise": Spec(
        "regression", data.noisy_digits, lambda s: models.SkipDenoiser(64, s), F.mse_loss,
        Shape(64, 1, dropout=0.1), 0.041, 800, rates(2e-3, 3.0, 0.3), weight_decay=1e-5,
        unfit=unfit("zero_init dead_init"),
    ),
    "digits_vae": Spec(
        "variational", digit_copies, models.Variational, models.elbo_loss,
        Shape(48, 1), 0.36, 600, rates(5e-3, 3.0, 0.5),
    ),
    "seasons_lstm": Spec(
        "regression", data.seasons, models.Forecaster, F.mse_loss,
        Shape(10, 1), 0.16, 700, rates(2e-2, 0.3, 0.1), recurrent=True,
        unfit=unfit("vanishing_gradients dead_init exploding_init"),
    ),
    "seasons_conv": Spec(
        "regression", data.seasons, lambda s: models.conv_forecaster(12, s), F.mse_loss,
        Shape(10, 2, dropout=0.1), 0.2, 500, rates(3e-3, 0.05, 5e-3), weight_decay=1e-3, norm="batch",
        unfit=unfit(_NORMED),
    ),
    "bent_mixture": Spec(
        "density", data.bent, models.MixtureDensity, models.mixture_loss,
        Shape(24, 1, activation="tanh"), -0.85, 800, rates(5e-3, 0.05, 1e-3), batch_size=128,
    ),
    "digits_finetune": Spec(
        "classification", data.upper_digits, lambda s: models.normed_mlp(64, 5, s, "batch"), F.cross_entropy,
        Shape(32, 2, dropout=0.2), 0.1, 500, rates(2e-3, 0.05, 0.01), batch_size=32, classes=5, weight_decay=1e-3,
        small=True, norm="batch", unfit=unfit(_NORMED), fine_tuned=fine_tuned,
    ),
    "letters_window": Spec(
        "classification", data.letters, lambda s: models.CharWindow(60, 5, s), F.cross_entropy,
        Shape(48, 1, dropout=0.1), 2.35, 800, rates(8e-3, 1.0, 0.1), classes=60, weight_decay=1e-4, codes=True,
    ),
    "crescents_gan": Spec(
        "adversarial", data.crescents, models.Adversaries, adversarial_loss,
        Shape(32, 2), 0.1, 800, rates(1e-2, 0.05, 0.01), batch_size=256, slack=4.0,
    ),
}  # fmt: skip
