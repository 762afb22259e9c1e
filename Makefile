# Everything runs from a virtual environment in .venv, made on first use; stamps make the second run quick.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

.PHONY: help demo test check bench docs clean
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("lossdoctor needs Python 3.11 or newer, this is " + sys.version.split()[0] \
	  + "; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || ($(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV))

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(PIP) install -q -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core  ## diagnose the real logs of examples/logs; writes demo/report.html and pictures
	@$(BIN)/python examples/demo.py

test: $(VENV)/.dev  ## all tests but the slow ones
	$(BIN)/python -m pytest -m 'not slow and not gpu' -n $(WORKERS) --dist loadfile

check: $(VENV)/.dev  ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## speed, ours and theirs side by side
	@set -e; for script in startup reading diagnosing; do \
	  if [ -f benchmarks/$$script.py ]; then echo "== $$script"; $(BIN)/python benchmarks/$$script.py; fi; done

docs: $(VENV)/.dev  ## generate docs/rules/ and docs/cli.md
	$(BIN)/python docs/generate.py

clean:  ## remove what was built (not .venv)
	rm -rf dist build demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
