"""The live monitor: records a run, judges it while it trains, and acts on it where asked."""

from lossdoctor.live.monitor import Monitor
from lossdoctor.live.rows import LiveEvent, Row, Verdict

__all__ = ["LiveEvent", "Monitor", "Row", "Verdict"]
