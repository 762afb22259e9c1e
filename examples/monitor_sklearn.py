"""scikit-learn: a loop over ``partial_fit`` is judged while it runs, a ``fit`` when it is over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import SGDClassifier

import lossdoctor
from lossdoctor.integrations.sklearn import history_of, partial_fit


def main(run_dir: str | Path | None = None) -> tuple[lossdoctor.Monitor, lossdoctor.TrainingHistory]:
    """Digits by logistic regression in batches, and by boosting on few of them."""
    x, y = load_digits(return_X_y=True)
    x, held = x / 16, slice(1400, None)
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01, random_state=0)
    with lossdoctor.Monitor(run_dir, "digits", {"classes": 10}) as monitor:
        for rows in np.random.default_rng(0).integers(1400, size=(400, 32)):
            partial_fit(monitor, model, x[rows], y[rows], validation=(x[held], y[held]), classes=range(10))
            if monitor.should_stop:
                break

    boosting = GradientBoostingClassifier(n_estimators=60, learning_rate=1.0, max_depth=2, random_state=0)
    few = y[:200] < 2
    history = history_of(boosting.fit(x[:200][few], y[:200][few]), (x[held][y[held] < 2], y[held][y[held] < 2]))
    return monitor, history


if __name__ == "__main__":
    live, afterwards = main()
    print(live.diagnosis, afterwards.diagnose())
