"""What holds for all tests: a crashing rule fails the test instead of being survived."""

from __future__ import annotations

import os

os.environ.setdefault("LOSSDOCTOR_RAISE", "1")
