# `make help` lists the targets. What runs is installed into .venv, once, from constraints.txt; the
# first `make test` or `make lint` adds the tools of developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
ARGS ?=
WORKERS ?= 3
EXTRAS := stack,airflow,dashboards,rl
# Modules are compiled when they are first imported: most never are.
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
BENCHMARKS := ledger ope bandit lotsizing-env lotsizing-ppo

.DEFAULT_GOAL := help
.PHONY: help install run test lint bench clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(DEV)  ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV): some minutes, once; PyTorch is the largest part."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[$(EXTRAS)]"
	# The Open Bandit logs lie in this wheel. It is never imported: its dependencies are not needed.
	$(PIP) --no-deps obp==0.4.1
	touch $(STAMP)

$(DEV): $(STAMP)
	$(PIP) -e ".[$(EXTRAS),dev]"
	touch $(DEV)

run: $(STAMP)  ## The main job: start the stack, run the days, show the table (ARGS=--headless)
	$(BIN)/decisions run $(ARGS)

test: install  ## The tests, three at a time (ARGS="-k seeds" for some, WORKERS=1 to debug)
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: install  ## Format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

$(VENV)/.bench: $(DEV)
	$(PIP) -e ".[$(EXTRAS),dev,bench]"
	touch $@

bench: $(VENV)/.bench  ## The benchmarks against other libraries (installs those)
	set -e; for name in $(BENCHMARKS); do $(BIN)/decisions bench $$name --json $(ARGS); done

clean:  ## Remove .venv, data, logs and caches; stops the stack first
	-test ! -x $(BIN)/decisions || $(BIN)/decisions down
	rm -rf $(VENV) .decisions .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
