"""Errors name the path, the place, what was found and the next step."""

from __future__ import annotations

import pytest

from lossdoctor.core.errors import (
    BrokenFileError,
    LossdoctorError,
    MissingDependencyError,
    NotRecognizedError,
    ReadError,
    UsageError,
)


def test_a_message_is_path_place_problem_and_hint() -> None:
    error = BrokenFileError("a.csv", "a cell holds 'x'", where="line 12", hint="mend it")
    assert str(error) == "a.csv: line 12: a cell holds 'x'; mend it"
    assert error.message == "line 12: a cell holds 'x'; mend it"
    assert str(ReadError("a.csv", "is gone")) == "a.csv: is gone"


def test_a_missing_dependency_names_format_package_and_extra() -> None:
    error = MissingDependencyError("r.parquet", "Parquet", "pyarrow", "fast")
    assert str(error) == (
        "r.parquet: this is a Parquet file, and reading it needs the package 'pyarrow', which is not installed;"
        " run: pip install 'lossdoctor[fast]'"
    )
    assert (error.format, error.package, error.extra) == ("Parquet", "pyarrow", "fast")


@pytest.mark.parametrize("kind", [NotRecognizedError, BrokenFileError, MissingDependencyError])
def test_the_three_failures_are_read_errors_and_ours(kind: type[ReadError]) -> None:
    assert issubclass(kind, ReadError)
    assert issubclass(kind, LossdoctorError)
    assert not issubclass(kind, UsageError)
