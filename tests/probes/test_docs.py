"""The how-to names every test that there is, and what it shows runs."""

from __future__ import annotations

import re
from pathlib import Path

from lossdoctor import probes
from lossdoctor.core.vocabulary import TESTS

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "test-a-model.md").read_text("utf-8")
NO_TEST = {"checkup"}  # runs the others


def test_every_test_is_in_the_how_to_and_no_other() -> None:
    told = set(re.findall(r"`(\w+)`", "".join(line for line in PAGE.splitlines(True) if line.startswith("| `"))))
    there = {n for n in probes.__all__ if n.islower()} - NO_TEST
    assert told == there


def test_the_tests_of_the_catalogue_are_all_there() -> None:
    named = {r.test for n in probes.__all__ if not n.islower() and hasattr(r := getattr(probes, n), "test") and r.test}
    assert named == TESTS - {"log_more"}  # which is no test on a model


def test_the_example_runs() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(example, "test-a-model.md", "exec"), {})


def test_no_file_hides_a_function_of_its_name() -> None:
    room = Path(probes.__file__).parent  # once imported, `probes.name` would be the module
    assert not [n for n in probes.__all__ if (room / n).exists() or (room / f"{n}.py").exists()]
