"""What a webhook sends: a verdict or an event as plain values, and the same as a Slack message."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from lossdoctor.core.vocabulary import SEVERITIES, severity_rank
from lossdoctor.live.rows import LiveEvent, Verdict
from lossdoctor.live.telling.announcer import Told, line_of, lines_of, one_line

SCHEMA_VERSION = 1
_SIGNS = {"critical": ":red_circle:", "warning": ":large_yellow_circle:", "info": ":large_blue_circle:"}
_MOST_BLOCKS = 20  # Slack takes 50
_LONGEST_BLOCK = 2_900  # Slack takes 3,000 characters


def verdict_payload(verdict: Verdict, run: str = "", folder: str = "", *, now: float | None = None) -> dict[str, Any]:
    """A verdict that changes something. Findings are as in ``lossdoctor diagnose --format json``."""
    groups = {"announced": verdict.announced, "updated": verdict.updated, "withdrawn": verdict.withdrawn}
    told = [*verdict.announced, *verdict.updated]
    diagnosis = verdict.diagnosis
    return {
        **_head("verdict", run, folder, verdict.step, diagnosis.history.step_unit, time.time() if now is None else now),
        "severity": max((f.severity for f in told), key=severity_rank, default="info"),
        "lines": [_as_line(line) for line in lines_of(verdict)],
        "status": diagnosis.status,
        "basis": diagnosis.basis,
        **{name: [f.as_dict() for f in group] for name, group in groups.items()},
    }


def event_payload(event: LiveEvent, run: str = "", folder: str = "", *, unit: str = "step") -> dict[str, Any]:
    """An event of a run."""
    told = line_of(event, unit)
    return {
        **_head("event", run, folder, event.step, unit, event.wall_time),
        "severity": severity_of(told.level),
        "lines": [_as_line(told)],
        "event": event.as_dict(),
    }


def _head(kind: str, run: str, folder: str, step: int, unit: str, now: float) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "source": "lossdoctor",
        "kind": kind,
        "run": run,
        "folder": folder,
        "step": step,
        "step_unit": unit,
        "time": round(now, 3),
    }


def _as_line(told: Told) -> dict[str, str]:
    return {"severity": severity_of(told.level), "text": told.text}


def severity_of(level: int) -> str:
    """The severity that a level of :mod:`logging` stands for."""
    return SEVERITIES[0 if level < logging.WARNING else 1 if level < logging.ERROR else 2]


def slack(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The Slack message of a payload: ``text`` for notifications and for services that know no blocks, and ``blocks``.

    >>> event = LiveEvent("stalled", 40, "no row for 9 min <a & b>", 0.0)
    >>> slack(event_payload(event, "gpt"))["text"]
    'gpt: stalled at step 40: no row for 9 min &lt;a &amp; b&gt;'
    """
    run = one_line(payload["run"] or payload["folder"], 150)
    lines = payload["lines"]
    shown = [f"{_SIGNS[line['severity']]} {_escaped(line['text'])}"[:_LONGEST_BLOCK] for line in lines[:_MOST_BLOCKS]]
    if len(lines) > _MOST_BLOCKS:
        shown.append(f"and {len(lines) - _MOST_BLOCKS} more")
    about = [f"{payload['step_unit']} {payload['step']:,}"]
    if "status" in payload:
        about.append(f"status: {payload['status'].replace('_', ' ')}")
    if payload["folder"]:
        about.append(one_line(payload["folder"], 300))
    plain = "\n".join(_escaped(line["text"]) for line in lines)
    return {
        "text": (f"{_escaped(run)}: {plain}" if run else plain)[:_LONGEST_BLOCK],
        "blocks": [
            *([_section(f"*{_escaped(run)}*")] if run else []),
            *(_section(text) for text in shown),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(" · ".join(about))}]},
        ],
    }


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(text: str) -> str:
    """Slack's three special characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def encode(payload: Mapping[str, Any]) -> bytes:
    """A payload as strict JSON in UTF-8: NaN and the infinities are strings, as in every JSON of lossdoctor.

    >>> encode({"rise": float("inf")})
    b'{"rise":"Infinity"}'
    """
    text = json.dumps(_strict(payload), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def _strict(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_strict(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _strict(value.tolist())
    return str(value)
