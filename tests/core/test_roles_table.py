"""What the curves of real tools are taken for: every table of metric_names.toml is one tool and what it logs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.core.curve import Curve
from lossdoctor.core.roles import map_roles

TOOLS: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("metric_names.toml").read_text())
ROLES = {
    "train": "train_loss",
    "val": "val_loss",
    "lr": "learning_rate",
    "grad": "grad_norm",
    "train_acc": "train_accuracy",
    "val_acc": "val_accuracy",
}


def _names(text: str) -> list[str]:
    return [n for n in (text.split("|") if "|" in text else text.split()) if n]


def _curve(size: int) -> Curve:
    every = 1000 if size < 0 else 1
    return Curve.make(range(0, abs(size) * every, every), [1.0] * abs(size))


@pytest.mark.parametrize("label", TOOLS)
def test_names_of_real_tools_are_taken_for_what_they_are(label: str) -> None:
    tool = TOOLS[label]
    sizes = tool.get("sizes", {})
    roles = map_roles({n: _curve(sizes.get(n, 100)) for n in _names(tool["names"])})
    # The four leading roles are always checked: what the table does not name must not be there.
    asked = {"train", "val", "lr", "grad"} | (ROLES.keys() & tool.keys())
    assert {k: roles.primary(ROLES[k]) for k in asked} == {k: tool.get(k) for k in asked}
    if "auxiliary" in tool:
        assert set(roles.auxiliary) == set(_names(tool["auxiliary"]))
    for role, key in (("train_loss", "train_terms"), ("val_loss", "val_terms")):
        if key in tool:
            assert list(roles.terms(role)) == _names(tool[key])
    losses = {*roles.names.get("train_loss", ()), *roles.names.get("val_loss", ()), *roles.auxiliary}
    assert not losses & set(_names(tool.get("not_losses", "")))


def test_the_table_is_large_and_says_what_it_expects() -> None:
    assert len(TOOLS) >= 80
    for label, tool in TOOLS.items():
        known = {*_names(tool["names"])}
        told = [tool[k] for k in ROLES if k in tool] + _names(tool.get("auxiliary", "")) + list(tool.get("sizes", {}))
        assert set(told) <= known, label
