"""Further tasks to tune on: the more kinds of training a verdict was learned from, the better it holds on others.

Their learning rates come from the same grid as those of the first tasks (:mod:`benchmarks.clinic.tune`).
"""

from __future__ import annotations

from torch.nn import functional as F  # noqa: N812 -- its usual name

from benchmarks.clinic import more_data as data
from benchmarks.clinic import more_models as models
from benchmarks.clinic.data import digit_images
from benchmarks.clinic.models import Shape, mlp
from benchmarks.clinic.other_tasks import right_marks
from benchmarks.clinic.spec import Spec, rates, unfit

_ATTENDED = "vanishing_gradients dead_init exploding_init large_init unscaled_inputs"
_CELL = "vanishing_gradients dead_init exploding_init"

MORE: dict[str, Spec] = {
    "clusters_mlp": Spec(
        "classification", data.clusters, lambda s: mlp(20, 6, s), F.cross_entropy,
        Shape(48, 2, dropout=0.2), 0.51, 700, rates(3e-3, 0.3, 0.03), classes=6, weight_decay=1e-3,
    ),
    "clusters_narrow": Spec(
        "classification", data.clusters, lambda s: mlp(20, 6, s), F.cross_entropy,
        Shape(8, 1), 0.75, 600, rates(1e-2, 0.3, 0.03), classes=6, weight_decay=1e-4,
    ),
    "rings_deep": Spec(
        "classification", data.rings, lambda s: mlp(2, 1, s), F.binary_cross_entropy_with_logits,
        Shape(16, 4), 0.093, 700, rates(2e-3, 0.3, 0.05), weight_decay=1e-4, metrics={"accuracy": right_marks},
    ),
    "counts_poisson": Spec(
        "density", data.counts, lambda s: mlp(6, 1, s), models.count_loss,
        Shape(32, 2, dropout=0.1), -1.07, 700, rates(3e-3, 0.1, 0.01), weight_decay=1e-4,
    ),
    "spreads_normal": Spec(
        "density", data.spreads, lambda s: mlp(1, 2, s), models.spread_loss,
        Shape(24, 2, activation="tanh"), -0.91, 700, rates(3e-3, 3e-3, 1e-3), batch_size=128,
    ),
    "wave_gelu": Spec(
        "regression", data.wave, lambda s: mlp(1, 1, s), F.mse_loss,
        Shape(32, 3, activation="gelu"), 0.026, 1000, rates(3e-3, 0.3, 0.03),
    ),
    "angles_huber": Spec(
        "regression", data.friedman3, lambda s: mlp(4, 1, s), F.smooth_l1_loss,
        Shape(32, 2), 0.086, 800, rates(3e-3, 0.1, 0.03), weight_decay=1e-4,
    ),
    "digits_number": Spec(
        "regression", data.digit_values, lambda s: mlp(64, 1, s), F.mse_loss,
        Shape(48, 2, dropout=0.05), 0.85, 900, rates(3e-3, 0.01, 3e-3), weight_decay=1e-4,
    ),
    "digits_rows": Spec(
        "classification", data.digit_rows, lambda s: models.RowReader(8, 10, s), F.cross_entropy,
        Shape(32, 1, dropout=0.2), 0.08, 600, rates(1e-2, 1.0, 0.1), classes=10, weight_decay=1e-4, recurrent=True,
        unfit=unfit(_CELL),
    ),
    "digits_attention": Spec(
        "classification", data.digit_rows, lambda s: models.RowAttention(8, 10, s), F.cross_entropy,
        Shape(24, 1, dropout=0.1), 0.1, 500, rates(3e-3, 0.1, 0.02), classes=10, weight_decay=1e-4, norm="layer",
        unfit=unfit(_ATTENDED),
    ),
    "digits_conv": Spec(
        "classification", digit_images, lambda s: models.plain_conv(10, s), F.cross_entropy,
        Shape(10, 2, dropout=0.2), 0.06, 600, rates(3e-3, 0.2, 0.05), classes=10, weight_decay=1e-4,
    ),
    "digits_order": Spec(
        "classification", data.digit_pairs, lambda s: mlp(128, 1, s), F.binary_cross_entropy_with_logits,
        Shape(64, 2, dropout=0.2), 0.25, 800, rates(2e-3, 0.2, 0.03), weight_decay=1e-3,
        metrics={"accuracy": right_marks},
    ),
}  # fmt: skip
