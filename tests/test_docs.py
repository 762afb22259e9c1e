"""Documentation cannot rot: nothing undocumented, no stale page, no dead link, every snippet runs."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from lossdoctor.core.roles import ROLES
from lossdoctor.core.vocabulary import ACTIONS, CAUSES, SAFETY_GRADES, TESTS
from lossdoctor.rules import all_rules

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])


def read(*names: str) -> str:
    return ROOT.joinpath(*names).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["docs_generate"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# nothing undocumented


def test_generated_pages_are_fresh() -> None:
    """Commands, options, rules and their thresholds: what the code says stands in docs/."""
    stale = [
        str(path) for path, text in generator().pages().items()
        if not (DOCS / path).is_file() or (DOCS / path).read_text("utf-8") != text
    ]  # fmt: skip
    left = {p.relative_to(DOCS) for p in (DOCS / "rules").glob("*.md")} - set(generator().pages())
    assert (stale, left) == ([], set()), "run `make docs`"


def test_every_rule_shows_a_sick_and_a_healthy_case() -> None:
    """Their pictures are drawn by ``make docs``; here only that they are there, small, and no leftovers."""
    shown = generator().pictures()
    assert {(one.code, one.kind) for one in shown} == {(r.code, k) for r in all_rules() for k in ("sick", "healthy")}
    assert [one.code for one in shown if (one.finding is not None) != (one.kind == "sick")] == []
    there = {p.relative_to(DOCS) for p in (DOCS / "rules").rglob("*.png")}
    assert there == {one.picture for one in shown}, "run `make docs`"
    assert [str(p) for p in there if (DOCS / p).stat().st_size > 40_000] == []


@pytest.mark.parametrize("rule", all_rules(), ids=lambda r: r.code)
def test_every_rule_page_tells_causes_advice_and_options(rule: object) -> None:
    page = read("docs", "rules", f"{rule.code}.md")  # type: ignore[attr-defined]
    for heading in ("What it looks like", "What it sees", "What to try", "Causes it weighs", "What it advises"):
        assert f"\n## {heading}\n" in page, heading
    for option in rule.options:  # type: ignore[attr-defined]
        assert f"| `{option.name}` | {option.default:g} |" in page


def test_advice_on_the_pages_is_of_the_vocabulary() -> None:
    for page in (DOCS / "rules").glob("LD*.md"):
        table = page.read_text("utf-8").partition("## What it advises")[2].partition("\n## ")[0]
        for action, grade in re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE):
            assert action in ACTIONS, page.name
            assert grade in SAFETY_GRADES, page.name


def test_every_option_says_what_it_does() -> None:
    for name, function in generator().commands().items():
        assert function.__doc__, name
        for parameter in generator().parameters(function):
            assert parameter.help.endswith((".", "…")), f"{name} {parameter.flags}"


def test_every_command_is_in_the_readme_or_the_tutorial() -> None:
    text = read("README.md") + read("docs", "getting-started.md")
    assert [name for name in generator().commands() if f"lossdoctor {name}" not in text] == []


@pytest.mark.parametrize("rule", all_rules(), ids=lambda r: r.code)
def test_every_rule_is_in_the_changelog(rule: object) -> None:
    told = " ".join(read("CHANGELOG.md").split())
    assert f"{rule.code} {rule.name}" in told  # type: ignore[attr-defined]


def test_the_vocabularies_are_in_json_md() -> None:
    text = read("docs", "json.md")
    for action, grade in ACTIONS.items():
        assert f"| `{action}` | {grade} |" in text
    for word in (*CAUSES, *TESTS):
        assert f"`{word}`" in text


def test_the_json_example_is_a_report() -> None:
    import json

    import jsonschema

    from lossdoctor.render.jsonout import schema

    (example,) = blocks(read("docs", "json.md"), "json")
    jsonschema.validate(json.loads(example), schema())


def test_json_md_agrees_with_the_schema() -> None:
    """Every field of the schema has its row, and no row tells of a field that is not there."""
    from lossdoctor.render.jsonout import schema

    whole = schema()
    parts = {"The document": whole, **{_heading(n): d for n, d in whole["$defs"].items() if _heading(n)}}
    text = read("docs", "json.md")
    for heading, part in parts.items():
        rows = re.findall(r"^\| (`.+?) \|", text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0], re.MULTILINE)
        told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
        assert told == set(part["properties"]), heading


def _heading(name: str) -> str:
    return {"run": "A run", "finding": "A finding"}.get(name, "")


def test_comparison_fields_are_in_json_md() -> None:
    from dataclasses import fields

    from lossdoctor.core.report import Comparison, ComparisonRow

    told = read("docs", "json.md").partition("lossdoctor compare --format json")[2]
    assert [f.name for k in (Comparison, ComparisonRow) for f in fields(k) if f"`{f.name}`" not in told] == []


def test_every_exit_code_and_choice_is_documented() -> None:
    """The fixed choices that people get wrong: formats, severities, suffixes."""
    from lossdoctor.cli.compare import PICTURES
    from lossdoctor.cli.diagnose import FORMATS
    from lossdoctor.cli.export import SUFFIXES
    from lossdoctor.core.vocabulary import FAIL_ON

    text = read("docs", "cli.md")
    for word in (*FAIL_ON, *FORMATS, *SUFFIXES, *PICTURES):
        assert word in text, word
    for code in (0, 1, 2):
        assert f"| {code} |" in read("README.md")


def test_every_format_is_in_the_readme() -> None:
    from lossdoctor.readers.registry import registry

    others = ("CSV", "JSON lines", "JSON", "TensorBoard", ".wandb", "wandb-summary.json", "MLflow", "Parquet", "text")
    names = ("csv", "jsonl", "json", "tensorboard", "wandb", "wandb-summary", "mlflow", "parquet", "text")
    words = dict(zip(names, others, strict=True))
    assert [n for n in registry().names if words.get(n, n) not in read("README.md")] == []


def test_configuration_names_every_key() -> None:
    from lossdoctor.cli.settings import context_keys
    from lossdoctor.engine.settings import settings_from

    text = read("docs", "configuration.md")
    for word in (*ROLES, *context_keys(), "direction:METRIC"):
        assert f"`{word}`" in text, word
    example = tomllib.loads(blocks(text, "toml")[0])
    settings = settings_from(example, "docs/configuration.md")
    from lossdoctor.engine import settings as module

    assert set(example) == set(module._KEYS)
    assert settings.fail_on == "warning"


def test_the_readme_names_every_extra() -> None:
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    table = read("README.md")
    assert [e for e in extras if f"`{e}`" not in table and e != "frameworks"] == []


# nothing dead


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{target} of {page.relative_to(ROOT)} is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_the_docs_exist(page: Path) -> None:
    known = {
        name: {flag for p in generator().parameters(function) for flag in p.flags} | {"--help", "-h"}
        for name, function in generator().commands().items()
    }
    for block in blocks(page.read_text("utf-8"), "console"):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["lossdoctor"] and len(words) > 1 and not words[1].startswith("-"):
                name = next((n for n in (" ".join(words[1:3]), words[1]) if n in known), None)
                assert name is not None, line
                # An experiment has options of its own; tests/cli/test_lab.py tries those of the lab's pages.
                given = [] if name == "lab run" else words[2:]
                assert [w for w in given if w.startswith("--") and w.partition("=")[0] not in known[name]] == [], line


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p.read_text("utf-8"), "python")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_python_snippets_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All snippets of a page in their order, in one namespace, beside the examples; what they write stays there."""
    (tmp_path / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "snippet"}
    for number, snippet in enumerate(blocks(page.read_text("utf-8"), "python"), 1):
        exec(compile(snippet, f"{page.name}, snippet {number}", "exec"), space)


def test_the_version_is_in_the_changelog() -> None:
    import lossdoctor

    assert f"## {lossdoctor.__version__}" in read("CHANGELOG.md")
