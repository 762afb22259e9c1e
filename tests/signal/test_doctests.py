"""The examples in the docstrings of the room run."""

import doctest
import importlib
import pkgutil

import pytest

import lossdoctor.signal

NAMES = [m.name for m in pkgutil.iter_modules(lossdoctor.signal.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    module = importlib.import_module(f"lossdoctor.signal.{name}")
    result = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})
    assert result.failed == 0
