"""What can be done to a live run, only when asked: alert, stop, restore, slow down, clip, rescue, tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossdoctor.live.actions.alert import Alert
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.clip import ClipGradients
from lossdoctor.live.actions.early_stopping import EarlyStopping
from lossdoctor.live.actions.reduce_lr import ReduceLR
from lossdoctor.live.actions.rescue import Rescue
from lossdoctor.live.actions.stop import StopTraining

if TYPE_CHECKING:
    from lossdoctor.live.telling.stall import StallWatch as StallWatch
    from lossdoctor.live.telling.webhooks import Webhook as Webhook

_TELLING = {"StallWatch": "stall", "Webhook": "webhooks"}  # imported on use: urllib takes a while

__all__ = [
    "Alert",
    "ClipGradients",
    "EarlyStopping",
    "LiveAction",
    "ReduceLR",
    "Rescue",
    "StallWatch",
    "StopTraining",
    "Webhook",
]


def __getattr__(name: str) -> Any:
    if name in _TELLING:
        from importlib import import_module

        return getattr(import_module(f"lossdoctor.live.telling.{_TELLING[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
