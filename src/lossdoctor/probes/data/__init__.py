"""Checks of the data a model is trained on: one file per check, :mod:`~lossdoctor.probes.data.front` runs them all."""

from __future__ import annotations
