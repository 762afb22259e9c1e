"""What can be done to a live run, only when asked: alert, stop, restore, slow down, clip, rescue."""

from lossdoctor.live.actions.base import LiveAction

__all__ = ["LiveAction"]
