"""What all integrations share, without any framework."""

from __future__ import annotations

import copy
import gc
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lossdoctor
from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError
from lossdoctor.integrations._link import Link, MissingFrameworkError, agreed, framework, hook
from tests.integrations.support import Broken, Recording, kinds, run_in, steps_of

ROOM = Path(lossdoctor.__file__).parent / "integrations"
MODULES = sorted(p.stem for p in ROOM.glob("[!_]*.py"))
FRAMEWORKS = (
    *("lightning", "pytorch_lightning", "transformers", "keras", "accelerate", "sklearn", "xgboost", "lightgbm"),
    *("catboost", "fastai", "torch", "jax", "tensorflow"),
)


class Callback:
    """What every integration is: a link and hooks."""

    def __init__(self, monitor: Any = None, **options: Any) -> None:
        self.link = Link("Callback", monitor, options)

    @hook
    def begin(self, **facts: Any) -> None:
        self.link.open(self, {"lr": 0.1, "batch_size": 4}, **facts)

    @hook
    def end(self, step: int, **values: float) -> str:
        self.link.log(step, values)
        return "logged"


def test_importing_the_package_imports_no_framework() -> None:
    code = f"import sys, lossdoctor.integrations; print([m for m in {FRAMEWORKS!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_a_missing_framework_names_its_extra(name: str) -> None:
    """Every integration, in a Python in which no framework can be found."""
    code = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {FRAMEWORKS!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
try:
    import lossdoctor.integrations.{name}
except ImportError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"MissingFrameworkError lossdoctor.integrations.{name} needs the package ")
    assert f"run: pip install 'lossdoctor[{name}]'" in done.stdout


def test_the_extras_exist() -> None:
    import tomllib

    project = tomllib.loads((ROOM.parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(MODULES) <= set(project["optional-dependencies"])


def test_a_broken_framework_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halfthere.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        framework("halfthere", extra="halfthere")
    with pytest.raises(MissingFrameworkError, match=r"needs the package 'notthere'.*lossdoctor\[nt\]"):
        framework("notthere.callbacks", extra="nt")


def test_a_run_is_opened_logged_and_finished(tmp_path: Path) -> None:
    callback = Callback(run_dir=tmp_path / "run", config={"lr": 0.2}, context={"classes": 3})
    assert callback.link.monitor is None
    callback.begin(planned_steps=50, learning_rate=None, weight_decay=0.0, optimizer="SGD", batch_size=float("inf"))
    for step in range(1, 21):
        assert callback.end(step, loss=1 / step) == "logged"
    callback.link.close()
    callback.end(21, loss=0.0)  # after the end: not recorded, no error
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(1, 21))
    assert kinds(history) == ["finished"]
    monitor = callback.link.monitor
    assert monitor.config == {"lr": 0.2, "batch_size": 4}  # the user's own win
    assert monitor.context == RunContext(classes=3, planned_steps=50, optimizer="SGD")


def test_a_second_training_goes_on_with_the_folder(tmp_path: Path) -> None:
    callback = Callback(run_dir=tmp_path / "run")
    for start in (1, 11):
        callback.begin()
        for step in range(start, start + 10):
            callback.end(step, loss=1 / step)
    callback.link.close()
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(1, 21))
    assert kinds(history) == ["finished", "restarted", "finished"]


def test_a_ready_monitor_stays_open(tmp_path: Path) -> None:
    with lossdoctor.Monitor(tmp_path / "run") as monitor:
        callback = Callback(monitor)
        callback.begin(planned_steps=5)
        callback.end(1, loss=1.0)
        callback.link.close()
        callback.end(2, loss=0.5)
        monitor.log(3, loss=0.4)
        del callback
        gc.collect()
        monitor.log(4, loss=0.3)
    assert steps_of(run_in(tmp_path / "run"), "loss") == [1, 2, 3, 4]


def test_a_callback_that_is_gone_finishes_its_run(tmp_path: Path) -> None:
    callback = Callback(run_dir=tmp_path / "run")
    callback.begin()
    for step in range(5):
        callback.end(step, loss=1.0)
    del callback
    gc.collect()
    assert kinds(run_in(tmp_path / "run")) == ["announced", "finished"]  # that a loss of 1, 1, 1, 1, 1 is flat


def test_a_script_that_dies_tells_why(tmp_path: Path) -> None:
    code = f"""
from tests.integrations.test_link import Callback
callback = Callback(run_dir={str(tmp_path / "run")!r})
callback.begin()
for step in range(5):
    callback.end(step, loss=1.0)
raise ValueError("no more data")
"""
    root = ROOM.parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert "no more data" in done.stderr
    _, last = run_in(tmp_path / "run").events  # the first one is that a loss of 1, 1, 1, 1, 1 is flat
    assert (last["kind"], last["message"]) == ("crashed", "ValueError: no more data")


def test_a_copy_has_a_run_of_its_own(tmp_path: Path) -> None:
    """Searches of scikit-learn clone an estimator with its callbacks."""
    callback = Callback(run_dir=tmp_path / "first")
    callback.begin()
    other = copy.deepcopy(callback)
    assert other.link.monitor is None
    assert other.link.options == callback.link.options
    shared = Recording()
    assert copy.deepcopy(Callback(shared)).link.monitor is shared
    callback.link.close()


def test_nothing_of_a_broken_monitor_reaches_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    callback = Callback(Broken())
    with caplog.at_level(logging.WARNING, "lossdoctor"):
        callback.begin()
        assert [callback.end(step, loss=1.0) for step in range(5)] == [None] * 5
        assert [callback.link.should_stop for _ in range(3)] == [False] * 3
        callback.link.close()
    assert [r.getMessage() for r in caplog.records] == [
        "Callback: end failed and is switched off; training goes on: RuntimeError: cannot log",
        "Callback: reading should_stop failed and is switched off; training goes on: RuntimeError: no should_stop here",
    ]


def test_the_keyboard_passes() -> None:
    class Interrupted(Recording):
        def log(self, /, step: int | None = None, **metrics: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Callback(Interrupted()).end(1, loss=1.0)


def test_names_that_are_no_keywords() -> None:
    monitor = Recording()
    Callback(monitor).link.log(3, {"step": 9, "a b/c": 1.0, 7: 2.0})  # type: ignore[dict-item]
    assert monitor.rows == [(3, {"a b/c": 1.0, "7": 2.0})]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"monitor": Recording(), "name": "x"}, TypeError, "takes a ready Monitor or a Monitor's keyword arguments"),
        ({"monitor": "runs/a"}, TypeError, "monitor must be a lossdoctor.Monitor, got 'runs/a'"),
        ({"run_dri": "runs/a"}, TypeError, "unexpected keyword argument 'run_dri'; a Monitor takes run_dir, name"),
        ({"context": {"clases": 3}}, UsageError, "unknown context key 'clases'"),
    ],
)
def test_what_is_asked_wrongly_is_said_at_once(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Callback(**arguments)


def test_alone_one_agrees_with_oneself() -> None:
    assert [agreed(stop) for stop in (True, False)] == [True, False]
