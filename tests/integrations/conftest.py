"""What the tests of the integrations are run with."""

from __future__ import annotations

import pytest

from lossdoctor.live.judging.pace import Pace


@pytest.fixture
def judged_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict every 16 rows: by the clock, trainings of a second or two would be judged at their end only."""
    monkeypatch.setattr(Pace, "due", lambda pace, _, rows: rows - pace._last_rows >= 16)
