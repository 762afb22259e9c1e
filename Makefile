# Everything runs from a virtual environment in .venv, made on first use; stamps make the second run quick.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

.PHONY: help demo test check bench quality clinic corpus-accept docs clean
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

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

bench: $(VENV)/.dev  ## speed, ours and theirs side by side; fails at its end where a bar was missed
	@missed=; for script in $(sort $(filter-out __init__ quality,$(basename $(notdir $(wildcard benchmarks/*.py))))); do \
	  echo "== $$script"; $(BIN)/python -m benchmarks.$$script || missed="$$missed $$script"; done; \
	  if [ -n "$$missed" ]; then echo "missed a bar or failed:$$missed"; exit 1; fi

quality: $(VENV)/.dev  ## how often it is right, on runs whose truth is known; writes docs/quality.md
	$(BIN)/python -m benchmarks.quality --part tuning

clinic: $(VENV)/.dev  ## train and judge the whole clinic beside the peers: hours, resumable; writes docs/quality.md
	$(BIN)/python -m benchmarks.clinic --workers $(WORKERS)

corpus-accept: $(VENV)/.dev  ## accept what is found in the public logs of tests/data/real as right
	@$(BIN)/python -m tests.corpus.findings

docs: $(VENV)/.dev  ## generate docs/rules/ and docs/cli.md
	$(BIN)/python docs/generate.py

clean:  ## remove what was built (not .venv)
	rm -rf dist build demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
