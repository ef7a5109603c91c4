# Everything is reached from here; CI calls the same targets. Run `make` for the list.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMPS := .cache/stamps
PIP := $(PY) -m pip --disable-pip-version-check --quiet
PYTEST := env -u MAKEFLAGS -u MAKELEVEL $(PY) -m pytest --durations=20 --durations-min=0.5

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: packages $(STAMPS)/install gen build ## Install all that is needed: system packages, .venv, generated code, extensions

.PHONY: packages
packages:
	@PYTHON=$(PYTHON) deploy/packages.sh

$(STAMPS)/venv: constraints.txt
	@echo "setup: Python packages into $(VENV)"
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --requirement constraints.txt
	@mkdir -p $(@D) && touch $@

$(STAMPS)/install: $(STAMPS)/venv pyproject.toml setup.py
	@echo "setup: extensions and the swarm command"
	@$(PIP) install --no-deps --no-build-isolation --editable . >.cache/install.log 2>&1 || { cat .cache/install.log; exit 1; }
	@touch $@

.PHONY: gen
gen: $(STAMPS)/venv ## Generate Python code from the protos
	@$(PY) -m proto.build

.PHONY: build
build: $(STAMPS)/install gen ## Compile the native extensions in place
	@$(PY) setup.py --quiet build_ext --inplace

.PHONY: demo
demo: setup ## A repository and a spec card in, one pull request per ticket out
	@examples/demo.sh

.PHONY: test
test: setup ## Every test: style, unit, integration, contract, end to end
	@$(MAKE) --jobs=2 --keep-going test-code test-machines

# Two at a time, because half of the time of either is waiting. What takes stock of the machine is in one of them only.
.PHONY: test-code test-machines
MACHINES := tests/e2e tests/integration/vm tests/integration/ext
test-code:
	@$(PYTEST) $(addprefix --ignore=,$(MACHINES)) tests/style tests/unit tests/contract tests/integration
test-machines:
	@$(PYTEST) -o cache_dir=.cache/pytest-machines $(MACHINES)

.PHONY: unit integration contract e2e style
unit: setup ## Unit tests
	@$(PYTEST) tests/unit
integration: setup ## Tests against real stores, processes and kernels
	@$(PYTEST) tests/integration
contract: setup ## Tests that every implementation of a port must pass
	@$(PYTEST) tests/contract
e2e: setup ## Whole ways through the running system, in real microVMs
	@$(PYTEST) tests/e2e
style: setup ## Tests of the source itself, the linters included
	@$(PYTEST) tests/style

MINUTES ?= 30
SEED ?= $(shell date +%s)
.PHONY: soak long fuzz
soak: setup ## Load and faults for MINUTES=30; nothing lost, left or grown; SEED=n does it again
	@$(PY) -m tests.soak --minutes $(MINUTES) --seed $(SEED)
long: setup ## The long forms of the storm, outage and crash tests; SWARM_SEED=n does it again
	@SWARM_LONG=1 $(PYTEST) --timeout=7200 tests/e2e/test_storm.py tests/e2e/test_outages.py tests/e2e/test_cut_off.py \
	  tests/e2e/test_parallel.py tests/e2e/vm

fuzz: setup ## Random requests over REST, then over gRPC, each for MINUTES=30; SEED=n does it again
	@echo "SEED=$(SEED)"
	@SWARM_LONG=1 SWARM_MINUTES=$(MINUTES) SWARM_SEED=$(SEED) $(PYTEST) \
	  tests/integration/gateway/test_schemathesis.py tests/integration/controlplane/test_fuzz.py

.PHONY: sim
SEEDS ?= 10000
FIRST ?= 1
sim: setup ## A simulated fleet under faults, seed by seed; choose with SEEDS=... FIRST=...
	@$(PY) -m tests.sim --seeds $(FIRST)..$$(($(FIRST) + $(SEEDS) - 1))
	@$(PY) -m tests.sim --seeds $(FIRST)..$$(($(FIRST) + $(SEEDS) / 10)) --restores

.PHONY: lint lint-code lint-types lint-imports lint-proto
lint: lint-code lint-types lint-imports lint-proto ## ruff, mypy, import rules, buf
lint-code: $(STAMPS)/venv
	@$(PY) -m ruff check --quiet
lint-types: $(STAMPS)/venv gen
	@$(PY) -m mypy --no-error-summary
lint-imports: $(STAMPS)/venv
	@PYTHONPATH=clients/python:clients/cli $(VENV)/bin/lint-imports --no-cache --no-logo
lint-proto: $(STAMPS)/venv
	@$(PY) -m proto.lint

.PHONY: format
format: $(STAMPS)/venv ## Format the code and apply safe fixes
	@$(PY) -m ruff check --fix --quiet || true
	@$(PY) -m ruff format --quiet

.PHONY: bench
bench: setup ## Benches against named peers; choose with NAME=...
	@$(PY) -m bench $(NAME)

.PHONY: lock
lock: ## Renew constraints.txt within the ranges of pyproject.toml
	@$(PYTHON) deploy/lock.py

.PHONY: clean
clean: ## Remove everything that is built; state under .swarm stays
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist ./*.egg-info proto/gen proto/node_modules
	@find ext -name '*.so' -delete
