"""From ``file.py:make`` to what ``make()`` returns: your own code is loaded and called, and its mistakes are named."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from lossdoctor.core.errors import LossdoctorError, UsageError, nearest

FUNCTION = "make"  # where none is named
_FORM = "FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION"


@contextmanager
def made(target: str, options: Mapping[str, str]) -> Iterator[Any]:
    """What the target's function returns, in the surroundings that the user's code needs while it is used.

    In the block imports work as for ``python file.py`` (from its folder) and ``python -m module`` (from the working
    directory), and what the code prints goes to standard error: standard output holds the report alone.

    Args:
        target: ``path/to/file.py:make`` or ``package.module:make``; without a function, ``make``.
        options: keyword arguments of the function as text; numbers, lists, True and the like are read as Python.

    Raises:
        UsageError: there is no such file, module or function, it raised, or it does not take these options. The message
            names the line of the user's code.
    """
    place, name = _parted(target)
    with redirect_stdout(sys.stderr), _importable(place), _loaded(place) as module:
        function = getattr(module, name, None)
        if not callable(function):
            found = [n for n, v in vars(module).items() if inspect.isfunction(v) and not n.startswith("_")]
            has = f"; it has {', '.join(found[:8])}" if found else ""
            raise UsageError(f"{place} has no function {name!r}{has}{nearest(name, found)}")
        arguments = {key: value_of(text) for key, text in options.items()}
        _check_arguments(function, f"{place}:{name}", arguments)
        yield _guarded(lambda: function(**arguments), f"{name}()")


def value_of(text: str) -> Any:
    """A value as Python reads it, else the text itself.

    >>> value_of("1e-3"), value_of("true"), value_of("[1, 2]"), value_of("adam")
    (0.001, True, [1, 2], 'adam')
    """
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _parted(target: str) -> tuple[str, str]:
    """The file or module, and the function."""
    place, colon, name = target.rpartition(":")
    if not colon or "/" in name or "\\" in name:  # no function; or the colon of a drive
        place, name = target, FUNCTION
    if not place or not name:
        raise UsageError(f"the target is {target!r}; expected {_FORM}")
    return place, name


@contextmanager
def _importable(place: str) -> Iterator[None]:
    """The folder of the file, or the working directory, first on the search path."""
    folder = str(Path(place).resolve().parent) if _is_file(place) else os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or os.sep in place


@contextmanager
def _loaded(place: str) -> Iterator[Any]:
    """The module; one of a file under its own name, where that is free: data classes, pickles and workers need it."""
    if not _is_file(place):
        yield _imported(place)
        return
    path = Path(place)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise UsageError(f"{place}: {what}; expected {_FORM}")
    name = path.stem if path.stem not in sys.modules else f"checkup_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{place}: Python cannot load it; expected a .py file")
    loader, module = spec.loader, importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        _guarded(lambda: loader.exec_module(module), place)
        yield module
    finally:
        sys.modules.pop(name, None)


def _imported(name: str) -> Any:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a parent that is missing, or no package
        found = None
    if found is None:
        hint = f"; is it {name}.py?" if Path(f"{name}.py").is_file() else ""
        raise UsageError(f"there is no module {name!r} here or installed{hint}; expected {_FORM}")
    return _guarded(lambda: importlib.import_module(name), f"importing {name}")


def _check_arguments(function: Callable[..., Any], where: str, arguments: Mapping[str, Any]) -> None:
    """Raise UsageError where the function does not take these arguments, or needs others."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: it will say so itself
        return
    parameters = signature.parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = next((key for key in arguments if key not in names and not takes_all), None)
    if unknown is not None:
        takes = f"it takes {', '.join(names)}" if names else "it takes none"
        raise UsageError(f"{where} has no argument {unknown!r}; {takes}{nearest(unknown, names)}")
    lacking = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in arguments]
    if lacking:
        raise UsageError(f"{where} needs {', '.join(map(repr, lacking))}; give --set {lacking[0]}=VALUE")


def _guarded(call: Callable[[], Any], what: str) -> Any:
    """What the user's code gives; what it raises in one line, with the line that raised."""
    from lossdoctor.probes.checkups.blame import line_of

    try:
        return call()
    except LossdoctorError:
        raise
    except (Exception, SystemExit) as error:
        line = line_of(error)
        raised = f"{what} raised {type(error).__name__}: {str(error).strip() or 'no message'}"
        raise UsageError(f"{line}: {raised}" if line else raised) from error
