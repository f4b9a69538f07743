# `make` targets people and CI use. Each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready
DOCS_VENV := .venv-docs
DOCS_READY := $(DOCS_VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup dev demo test test-slow bench bench-quick bench-many bench-server bench-postgres bench-lock rehearsal screenshots docs docs-lock release-check lint format lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=/path/to/python3 make ...)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(READY): $(BIN)/uv pyproject.toml requirements.lock
	@echo "Setting up $(VENV) ..."
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

setup: $(READY) ## Make the virtual environment

dev: $(READY) ## Run the whole stack on this machine until Ctrl-C
	@$(BIN)/perdure dev --project examples/stripe

demo: $(READY) ## Show the main job end to end, then stop
	@$(BIN)/python examples/demo.py

test: $(READY) ## Run everything CI runs
	@$(MAKE) --no-print-directory lint docs
	@$(BIN)/pytest -n 3 --dist worksteal -m "not slow" --durations=15

test-slow: $(READY) ## Run the proofs that take minutes
	@$(BIN)/pytest -m slow
	@$(BIN)/pytest -m hypothesis --hypothesis-profile=thorough

$(BENCH_READY): $(READY) bench/requirements.lock
	@echo "Setting up $(BENCH_VENV) ..."
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(BENCH_VENV)
	@$(BIN)/uv pip install --quiet --python $(BENCH_VENV)/bin/python -r bench/requirements.lock
	@touch $@

bench: $(READY) $(BENCH_READY) ## Measure everything side by side (most of an hour; BENCH="--only 10k actions" for parts)
	@$(BIN)/python -m bench full $(BENCH)

bench-quick: $(READY) ## Compare with a bare loop and a bare workflow, in less than a minute
	@$(BIN)/python -m bench quick

bench-server: $(READY) ## Say what each setting of the embedded Temporal is worth
	@$(BIN)/python -m bench.server_settings

bench-postgres: $(READY) ## Say what statements cost at ten million records (ROWS=...; 25 GB of disk)
	@$(BIN)/python -m bench.postgres --rows $(or $(ROWS),10000000)

bench-many: $(READY) ## Watch ten thousand connections with an hourly sync each
	@$(BIN)/python -m bench.many

rehearsal: $(READY) ## Deploy anew, kill and cut off a cluster at work; fails where anything is lost
	@$(BIN)/python -m rehearsal

screenshots: $(READY) ## Photograph every page of the dashboard into docs/images
	@$(BIN)/python -m tests.showcase.screenshots

$(DOCS_READY): $(BIN)/uv docs/requirements.lock
	@echo "Setting up $(DOCS_VENV) ..."
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(DOCS_VENV)
	@$(BIN)/uv pip install --quiet --python $(DOCS_VENV)/bin/python -r docs/requirements.lock
	@touch $@

docs: $(READY) $(DOCS_READY) ## Build the documentation into site/; a warning is an error
	@$(BIN)/python -m docs.reference
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build
	@! grep -rlE '<(script|img|iframe)[^>]* src="(https?:)?//|<link[^>]* rel="stylesheet"[^>]* href="(https?:)?//' --include='*.html' site || { echo "These pages load something from elsewhere."; exit 1; }

release-check: $(READY) ## Build the release, install it by itself and try it
	@$(BIN)/python -m tests.release_check

lint: $(READY) ## Style, types and import contracts
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >.lint-imports.log 2>&1 || { cat .lint-imports.log; rm -f .lint-imports.log; exit 1; }
	@rm -f .lint-imports.log

format: $(READY) ## Format the code
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

bench-lock: $(BIN)/uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header -o bench/requirements.lock bench/requirements.in

docs-lock: $(BIN)/uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header -o docs/requirements.lock docs/requirements.in

lock: $(BIN)/uv ## Resolve requirements.lock anew, and that of the image (with the extra `otel`) from it
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url --no-annotate --no-header -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra otel --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements.lock -o requirements.image.lock pyproject.toml

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) $(BENCH_VENV) $(DOCS_VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
