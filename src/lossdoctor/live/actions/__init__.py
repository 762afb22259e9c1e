"""What can be done to a live run, only when asked: alert, stop, restore, slow down, clip, rescue."""

from lossdoctor.live.actions.alert import Alert
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.clip import ClipGradients
from lossdoctor.live.actions.early_stopping import EarlyStopping
from lossdoctor.live.actions.reduce_lr import ReduceLR
from lossdoctor.live.actions.rescue import Rescue
from lossdoctor.live.actions.stop import StopTraining

__all__ = ["Alert", "ClipGradients", "EarlyStopping", "LiveAction", "ReduceLR", "Rescue", "StopTraining"]
