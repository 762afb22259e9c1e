"""Keras 3: one callback. Needs ``pip install 'lossdoctor[keras]'`` and a backend (here torch)."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits

from lossdoctor.integrations.keras import LossDoctorCallback


def main(run_dir: str | Path | None = None) -> LossDoctorCallback:
    """Digits by a small network: the loss of every batch, metrics of every epoch."""
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    layers = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    callback = LossDoctorCallback(run_dir=run_dir, name="digits", context={"classes": 10})
    model.fit(x / 16, y, batch_size=32, epochs=5, validation_split=0.2, verbose=0, callbacks=[callback])
    return callback


if __name__ == "__main__":
    print(main().monitor.diagnosis)
