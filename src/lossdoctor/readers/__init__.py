"""Bytes to training histories: every log format is one file here, found by content, registered by entry point."""

from __future__ import annotations

from lossdoctor.readers.base import Reader, Source
from lossdoctor.readers.scanning import Scan, read, scan

__all__ = ["Reader", "Scan", "Source", "read", "scan"]
