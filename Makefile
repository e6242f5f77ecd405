# Every target sets up what it needs: a fresh clone with Python >= 3.11 and make is enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-contrib lint format fuzz bench bench-peers clean mutate soak-faults

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

run: $(VENV)/installed ## Serve HTTP and run jobs, in memory, on http://127.0.0.1:8000
	$(BIN)/gotaskq run $(ARGS)

test: $(VENV)/installed-dev ## Run every test
	$(BIN)/python -m pytest $(ARGS)

test-contrib: $(VENV)/installed-dev ## Run the tests of what joins us to frameworks, in environments with each
	$(BIN)/python -m tests.contrib.environments $(ARGS)

mutate: $(VENV)/installed-dev ## Break the code on purpose, and see whether the tests notice
	$(BIN)/python -m tests.faults.mutations

soak-faults: $(VENV)/installed-dev ## Let faults at random loose on a fleet, for ten minutes
	$(BIN)/python -m tests.faults.soak $(ARGS)

lint: $(VENV)/installed-dev ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev ## Put the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(VENV)/installed-dev ## Let both lanes of the server disagree if they can: make fuzz SECONDS=300
	$(BIN)/python -m tests.property.fuzz_lanes $(SECONDS)

bench: $(VENV)/installed-dev ## Measure: one table of question, ours, reference, ratio
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(VENV)/installed-dev ## Measure ours beside other job queues of Python, on Redis
	$(BIN)/python -m benchmarks.peers $(ARGS)

clean: ## Remove what the other targets made
	rm -rf $(VENV) benchmarks/peers/.venvs tests/contrib/.venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "GoTaskQ needs Python >= 3.11; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed
