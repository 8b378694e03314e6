# Two commands for a newcomer: `make quickstart` and `make test`. Each does all of its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: quickstart test check bench format clean help soak

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable '.[eval]'
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(PIP) install --constraint constraints.txt --editable '.[dev,gpu]'
	touch $@

quickstart: $(BIN)/.installed  ## train, evaluate and show a leaderboard on the embedded default
	$(BIN)/python -m pipeline.launch --config_file accelerate_configs/cpu.yaml -m pipeline.train recipes/quickstart/embedded.yaml
	$(BIN)/taskloom eval --recipe recipes/quickstart/embedded.yaml

test: $(BIN)/.installed-dev  ## all tests, in two processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests

check: $(BIN)/.installed-dev  ## format, lint, types, house rules, annotations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py
	$(BIN)/taskloom check

bench: $(BIN)/.installed-dev  ## benchmarks against named peers, as ratios
	$(BIN)/python -m benchmarks

soak: $(BIN)/.installed-dev  ## kills, stops, damage and full disks, in full: nothing is lost
	$(BIN)/python -m tests.soak

format: $(BIN)/.installed-dev  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment and the caches of the tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
