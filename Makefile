PYTHON ?= python3.11
SECONDS ?= 600
VENV := .venv
BIN := $(VENV)/bin
# A process for each core, each with servers of its own; what is marked `alone` follows by itself.
TOGETHER := -m "not alone" -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install install-test run demo test test-all attack attack-full fuzz bench bench-full bench-stores lint format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python setup.cfg setup.py pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@

$(VENV)/.installed-fuzz: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

install: $(VENV)/.installed ## Make .venv with .venv/bin/mfa-service

install-test: $(VENV)/.installed-test ## The same, with what the tests and checks need

run: install ## Serve on 127.0.0.1:8080 with config/development.toml
	@exec $(BIN)/mfa-service --config config/development.toml serve --onboard demo

demo: install ## Walk the three steps against the running service
	@$(BIN)/mfa-service --config config/development.toml demo

test: install-test ## Run the tests, in two runs; each lists at its end those that lack something here
	$(BIN)/python -m pytest -rs $(TOGETHER); together=$$?; $(BIN)/python -m pytest -rs -m alone && exit $$together

test-all: install-test ## The same, and a skipped test is an error
	MFA_TEST_NO_SKIPS=1 $(MAKE) test

attack: install-test ## Try every attack alone, and print what became of each
	$(BIN)/python -m pytest -q --attacks tests/attack

attack-full: install-test ## The same at full size: long counts and real waits
	MFA_TEST_FULL=1 $(BIN)/python -m pytest -q --attacks tests/attack

fuzz: $(VENV)/.installed-fuzz ## Feed the parsers changed bytes for SECONDS=600, led by coverage; failing ones are kept
	@$(BIN)/python -m tests.fuzz $(SECONDS)

bench: install-test ## Measure the calls against aiohttp alone, on both kinds of stores; under ten minutes
	@$(BIN)/python -m bench.service

bench-full: install-test ## The same with more workers, connections and devices
	@$(BIN)/python -m bench.service --full

bench-stores: install-test ## Measure what batching saves, on servers of its own; under five minutes
	@$(BIN)/python -m bench.stores

lint: install-test ## Check style, types and the layers of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-test ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove what was built, but not var/
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
