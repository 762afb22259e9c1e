"""The how-to names every integration, and its snippets use what is there."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT.joinpath("docs", "how-to", "integrations.md").read_text("utf-8")
MODULES = sorted(p.stem for p in ROOT.joinpath("src", "lossdoctor", "integrations").glob("[!_]*.py"))
SNIPPETS = re.findall(r"^```py(?:thon)?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
EXTRAS = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


@pytest.mark.parametrize("name", MODULES)
def test_every_integration_is_there_with_its_extra_its_lines_and_its_example(name: str) -> None:
    assert f"| `lossdoctor[{name}]` | `lossdoctor.integrations.{name}` |" in PAGE
    assert name in EXTRAS
    assert any(f"from lossdoctor.integrations.{name} import " in snippet for snippet in SNIPPETS)
    assert f"(../../examples/monitor_{name}.py)" in PAGE


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda s: s.strip().splitlines()[0][:60])
def test_snippets_are_python(snippet: str) -> None:
    ast.parse(snippet)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_what_snippets_import_is_there(name: str) -> None:
    wanted = {n for s in SNIPPETS for n in re.findall(rf"from lossdoctor\.integrations\.{name} import (\w+)", s)}
    try:
        module = importlib.import_module(f"lossdoctor.integrations.{name}")
    except ImportError as error:
        pytest.skip(str(error))
    assert [n for n in wanted if not hasattr(module, n)] == []
    for found in wanted:
        assert getattr(module, found).__doc__
