"""The layers: which room of the house may import which. The same directions as the contracts in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lossdoctor"

# Room -> the siblings it may import. None: anything. Rooms that are still to come are listed already.
ALLOWED: dict[str, frozenset[str] | None] = {
    "core": frozenset(),
    "signal": frozenset({"core"}),
    "wire": frozenset({"core"}),
    "torchkit": frozenset({"core"}),
    "rules": frozenset({"core", "signal"}),
    "engine": frozenset({"core", "signal", "rules"}),
    "readers": frozenset({"core", "wire"}),
    "live": frozenset({"core", "signal", "engine", "wire", "torchkit"}),
    "integrations": frozenset({"core", "live"}),
    "probes": frozenset({"core", "signal", "torchkit"}),
    "workup": frozenset({"core", "signal", "engine", "probes"}),
    "lab": frozenset({"core", "signal", "torchkit"}),
    "render": frozenset({"core", "lab", "probes"}),
    "web": frozenset({"core", "engine", "readers", "render", "lab"}),
    "cli": None,
}
# The one exception: one-line delegations inside functions, so that a history can diagnose, plot and show
# itself, and a test's result too.
DELEGATIONS = {
    ("core/history.py", "engine"),
    ("core/history.py", "signal"),
    ("core/history.py", "render"),
    ("core/diagnosis.py", "render"),
    ("probes/result.py", "render"),
}


def rooms(package: Path) -> list[str]:
    return sorted(p.name for p in package.iterdir() if p.is_dir() and p.name != "__pycache__")


def imported_rooms(tree: ast.Module, module: str) -> Iterator[tuple[str, int]]:
    """Every sibling room that a module imports at run time, with the line; TYPE_CHECKING blocks do not count."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    parents = module.split(".")[:-1]
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module or "") if part)
            names = [f"{origin}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "lossdoctor" and len(parts) > 1:
                yield parts[1], node.lineno


def violations(package: Path) -> list[str]:
    found = []
    for room in rooms(package):
        allowed = ALLOWED.get(room, frozenset())
        for path in sorted((package / room).rglob("*.py")):
            inside = path.relative_to(package)
            module = ".".join(("lossdoctor", *inside.with_suffix("").parts))
            for target, line in imported_rooms(ast.parse(path.read_text("utf-8")), module):
                foreign = target in ALLOWED and target != room
                delegated = (inside.as_posix(), target) in DELEGATIONS
                if foreign and allowed is not None and target not in allowed and not delegated:
                    found.append(f"{inside}:{line} imports {target}")
    return found


def test_every_room_is_known() -> None:
    unknown = set(rooms(PACKAGE)) - set(ALLOWED)
    assert not unknown, f"say in tests/test_imports.py and pyproject.toml what these may import: {sorted(unknown)}"


def test_every_room_keeps_to_its_layer() -> None:
    assert violations(PACKAGE) == []


def test_a_violation_is_found(tmp_path: Path) -> None:
    for name, text in {
        "rules/a.py": "def f():\n    from lossdoctor.readers.csv import CsvReader\n",
        "readers/b.py": "import lossdoctor.rules.base\n",
        "core/c.py": "from ..engine import diagnose\n",
        "signal/d.py": "from lossdoctor import render\n",
        "render/e.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lossdoctor.engine import x\n",
        "cli/f.py": "import lossdoctor.web\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert violations(tmp_path) == [
        "core/c.py:1 imports engine",
        "readers/b.py:1 imports rules",
        "rules/a.py:2 imports readers",
        "signal/d.py:1 imports render",
    ]


def test_contracts_say_the_same() -> None:
    """Each room that exists is the source of a contract, which forbids exactly what ALLOWED does not allow."""
    here = set(rooms(PACKAGE))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    forbidden: dict[str, set[str]] = {room: set() for room in here}
    for contract in contracts:
        if contract["type"] == "forbidden":
            for source in contract["source_modules"]:
                forbidden[source.split(".")[1]] |= {m.split(".")[1] for m in contract["forbidden_modules"]}
        elif contract["type"] == "independence":
            members = {m.split(".")[1] for m in contract["modules"]}
            for member in members:
                forbidden[member] |= members - {member}
    for room in sorted(here):
        allowed = ALLOWED[room]
        expected = set() if allowed is None else here - allowed - {room}
        assert forbidden[room] == expected, f"contract of {room}"


def test_import_linter_agrees() -> None:
    pytest.importorskip("importlinter", reason="pip install import-linter (it is in the extra dev)")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
