# multivisit: `make demo` and `make test` do all their own set-up, in .venv beside this file.
# Another Python:  make demo PYTHON=python3.12

PYTHON ?= python3
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test lint docs format sanitize benchmark clean

help:
	@echo "make demo    make mosaics of simulated and real exposures in demo-output/"
	@echo "make test    run every check: style, types, import order, documentation, tests"
	@echo "make lint    style, types and import order alone"
	@echo "make docs    build the documentation in docs/_build/html"
	@echo "make format  put the code into the project's style"
	@echo "make sanitize  run the tests of the drizzle kernel under address and undefined-behaviour sanitizers"
	@echo "make benchmark  measure against drizzlepac and SWarp; half an hour, 14 GB of disk: see docs/benchmarks.rst"
	@echo "make clean   remove .venv and everything that was built"

demo: $(VENV)/demo.stamp
	@$(BIN)/python demo/run_demo.py demo-output

# What fails fastest comes first; the last line is pytest's own summary.
test: lint docs
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4

lint: $(VENV)/test.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/test.stamp
	@rm -rf docs/api
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "Documentation: docs/_build/html/index.html"

format: $(VENV)/test.stamp
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

sanitize: $(VENV)/test.stamp
	@tests/sanitize_kernel.sh $(CURDIR)/$(BIN)/python

# Parts alone:  make benchmark PARTS="--only run,growth"
PARTS ?=
DRIZZLEPAC_VENV := .venv-drizzlepac

benchmark: $(VENV)/bench.stamp $(DRIZZLEPAC_VENV)/made.stamp
	@$(BIN)/python -m benchmarks --drizzlepac-python $(DRIZZLEPAC_VENV)/bin/python $(PARTS)

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "multivisit needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>/dev/null || echo not found)." >&2; \
	  echo "Name another one:  make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu:  apt install python3-venv" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

KERNEL := $(wildcard src/multivisit/*/_*.[ch])

$(VENV)/demo.stamp: pyproject.toml $(KERNEL) $(VENV)/made.stamp
	@echo "Installing multivisit and the demo's data into $(VENV) (a minute or two) ..."
	@$(PIP) install --editable ".[demo]"
	@touch $@

$(VENV)/test.stamp: pyproject.toml $(KERNEL) $(VENV)/made.stamp
	@echo "Installing multivisit and its development tools into $(VENV) (a minute or two) ..."
	@$(PIP) install --editable ".[test,lint,docs]"
	@touch $@

$(VENV)/bench.stamp: pyproject.toml $(KERNEL) $(VENV)/made.stamp
	@echo "Installing multivisit and what its benchmarks need into $(VENV) (a minute or two) ..."
	@$(PIP) install --editable ".[bench]"
	@touch $@

$(DRIZZLEPAC_VENV)/made.stamp:
	@echo "Installing drizzlepac into $(DRIZZLEPAC_VENV) (some minutes) ..."
	@rm -rf $(DRIZZLEPAC_VENV)
	@$(PYTHON) -m venv $(DRIZZLEPAC_VENV)
	@$(DRIZZLEPAC_VENV)/bin/python -m pip --quiet --disable-pip-version-check install drizzlepac==3.11.0
	@touch $@

clean:
	rm -rf $(VENV) $(DRIZZLEPAC_VENV) benchmark-work demo-output docs/_build docs/api build dist src/*.egg-info
	rm -f src/multivisit/*/_*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
