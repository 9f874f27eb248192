# Needs only python3 (3.11 to 3.13, with venv) and make. Everything else is installed into .venv from the lock file.
SHELL       := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# what a call adds, for example: make test ARGS="tests/unit -k spool"
ARGS   ?=

.PHONY: help venv demo serve test coverage lint format bench docs docs-tables proof lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## .venv with all that is needed to run and to test

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "$(PYTHON) not found: install Python 3.11, 3.12 or 3.13, or name one: make venv PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1): LMS-SR needs Python 3.11, 3.12 or 3.13; name one: make venv PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.requirements: requirements-dev.lock $(VENV)/.python
	@echo "installing the locked requirements (a minute or two the first time)"
	@# --no-deps: the lock is complete, and an older pip looks for an extra of a locked package anew (coverage[toml]) and fails
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.requirements
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: venv ## the main job on this machine in under a minute, no other software needed
	@$(BIN)/lms-sr demo $(ARGS)

serve: venv ## run the service with config/lms-sr.toml
	@$(BIN)/lms-sr serve --config config/lms-sr.toml $(ARGS)

TESTS := tests/unit tests/property tests/integration tests/interop tests/fuzz

test: venv ## all tests but the long proofs (ARGS="tests/unit -k spool": only those)
ifeq ($(strip $(ARGS)),)
	@# every core is used, but not by the services that are killed and the real archive: they run alone, so that their waits stay true
	@# (one hash seed for all: parameters that come from a set have to be in the same order everywhere)
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest $(TESTS) -n auto --dist worksteal
	@$(BIN)/python -m pytest tests/e2e
else
	@$(BIN)/python -m pytest $(ARGS)
endif

coverage: venv ## the same tests, and which branches they take: at least 90 %
	@# on its own: under Python 3.11 to be traced makes unit tests take two to three times as long (420 of them 25 s instead of 9)
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest $(TESTS) -n auto --dist worksteal --cov --cov-report=
	@$(BIN)/python -m pytest tests/e2e --cov --cov-append --cov-report=term --cov-fail-under=90

lint: venv ## ruff, mypy, import rules, shellcheck where installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache
	@if command -v shellcheck >/dev/null 2>&1; then shellcheck .ci/run tests/interop/npm/install config/compose/make-secrets; else echo "shellcheck is not installed: shell scripts not checked"; fi

format: venv ## let ruff order the imports and lay out the code
	@$(BIN)/ruff check --quiet --fix --select I .
	@$(BIN)/ruff format --quiet .

bench: venv ## measure; numbers go to docs/performance.md
	@$(BIN)/python -m tests.bench $(ARGS)

docs: venv ## the documentation as a site in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

docs-tables: venv ## write the tables of settings, commands, events and errors into docs/
	@$(BIN)/python docs/tables.py

proof: venv ## the long proofs, under an hour; writes docs/proof.md
	@LMS_SR_TESTS_REQUIRE_ALL=1 LMS_SR_PROOF_PAGE=docs/proof.md HYPOTHESIS_PROFILE=proof $(BIN)/python -m pytest -m proof --timeout 3600 $(ARGS)

lock: venv ## resolve the requirements anew and write the lock files
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) --group dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) --group build -c requirements-dev.lock -o requirements-build.lock
	@! grep -nE '://|^--' requirements*.lock || { echo "a lock file names an index or a host" >&2; exit 1; }

LOCK := --universal --python-version 3.11 --generate-hashes --no-config --no-emit-index-url --no-emit-find-links --no-header --no-annotate

clean: ## remove .venv and everything built
	@rm -rf $(VENV) build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/interop/npm/node_modules
	@find service sr_templates tests -name __pycache__ -type d -prune -exec rm -rf {} +
