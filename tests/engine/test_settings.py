"""Settings files: found, read, checked, with messages that name the key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.engine.settings import chosen_rules, load_settings


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_found_in_a_parent_folder(tmp_path: Path) -> None:
    _write(tmp_path / "lossdoctor.toml", 'ignore = ["LD2"]\n[rules.LD301]\nz = 5.0\n[context]\nclasses = 10\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    settings = load_settings(start=inner)
    assert settings.ignore == ("LD2",)
    assert settings.rules["LD301"]["z"] == 5.0
    assert settings.context == {"classes": 10}
    assert not [r for r in chosen_rules(settings) if r.code.startswith("LD2")]


def test_read_from_pyproject(tmp_path: Path) -> None:
    _write(tmp_path / "pyproject.toml", '[tool.lossdoctor]\nfail-on = "warning"\nselect = ["overfitting"]\n')
    settings = load_settings(start=tmp_path)
    assert settings.fail_on == "warning"
    assert [r.code for r in chosen_rules(settings)] == ["LD301"]


def test_nothing_found_gives_defaults(tmp_path: Path) -> None:
    _write(tmp_path / "pyproject.toml", "[project]\nname = 'x'\n")
    assert load_settings(start=tmp_path).fail_on == "critical"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "unknown key 'colour'; known are select, ignore, rules, metrics, context, fail-on"),
        ('fail-on = "info"', "fail-on must be one of warning, critical, never, got 'info'"),
        ("select = 3", "select must be a list of codes, got 3"),
        ("rules = 3", "rules must be a table, got 3"),
        ('select = ["LD30l"]', "unknown code or name 'LD30l'; did you mean"),
        ("[rules.LD301]\nq = 1", "LD301 has no option 'q'; it has z, relative, share, kept"),
        (
            "[rules.overfit]\nq = 1",
            "options are given for 'overfit', which is no code or name; did you mean 'overfitting'?",
        ),
        ("a = = 1", "not valid TOML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = _write(tmp_path / "lossdoctor.toml", text)
    with pytest.raises(UsageError) as caught:
        load_settings(path)
    assert message in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        load_settings(tmp_path / "none.toml")
