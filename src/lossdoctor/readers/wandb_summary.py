"""W&B's ``wandb-summary.json``: the last value of each metric. No curve, but it says which run this was."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._chunks import chunks
from lossdoctor.readers.base import PROBE_BYTES, Reader, Source

_FILE = "wandb-summary.json"
_SHOWN = 5
_LONGEST = 16 << 20


class WandbSummaryReader(Reader):
    """Recognised, so that a folder with nothing else says why there is nothing to judge."""

    name: ClassVar[str] = "wandb-summary"
    describes: ClassVar[str] = "Weights & Biases summaries (wandb-summary.json): last values only"

    def sniff(self, source: Source) -> int:
        head = source.head.lstrip()
        if not head.startswith(b"{"):
            return 0
        if source.name == _FILE:
            return 95
        if b'"_wandb"' not in head or b'"_runtime"' not in head:
            return 0
        return 80 if len(source.head) < PROBE_BYTES and _is_object(source.head) else 0

    def read(self, source: Source) -> list[TrainingHistory]:
        notes: list[str] = []
        text = b""
        for piece in chunks(source, 1 << 20, notes):
            text += piece
            if len(text) > _LONGEST:
                raise NotRecognizedError(source.path, f"too long for a W&B summary (more than {_LONGEST:,} bytes)")
        summary = self._parse(source, text)
        step = summary.get("_step")
        at = f" at step {step:,}" if isinstance(step, int) and not isinstance(step, bool) else ""
        last = [
            f"{name[:80]} {value:.6g}"
            for name, value in summary.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not name.startswith("_")
        ]
        shown = ", ".join(last[:_SHOWN]) + (f" and {len(last) - _SHOWN:,} more" if len(last) > _SHOWN else "")
        note = f"W&B summary: last values only{at}, so no curve to judge"
        return [
            TrainingHistory(
                path=source.path,
                format=self.name,
                notes=[f"{note} ({shown})" if last else f"{note} (no metric in it)", *notes],
            )
        ]

    def _parse(self, source: Source, text: bytes) -> dict[str, Any]:
        try:
            summary = json.loads(text)
        except json.JSONDecodeError as error:
            raise BrokenFileError(
                source.path, f"this W&B summary is no valid JSON ({error.msg})", where=f"line {error.lineno}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise BrokenFileError(source.path, f"this W&B summary is no valid JSON ({error})"[:300]) from None
        if not isinstance(summary, dict):
            raise NotRecognizedError(source.path, "a W&B summary is one JSON object, this is something else")
        return summary


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
