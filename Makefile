# One word for each thing a person does here; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
CLUSTER ?= local
FLEETS ?= 4
SOAK_MINUTES ?= 60
FUZZ ?= 1000000
SEED ?= 1
SELECT :=
CUT :=
SMALL := on-an-api-server beside on-three-nodes
BESIDE := $(addprefix tests/cluster/test_,site_cluster.py image_modules.py)
BUILDS := $(addprefix tests/,archive builder examples published)
THREE := $(addprefix tests/cluster/test_,another_base.py arm64.py bad_input.py downgrade.py drift.py gitops.py held_device.py judged.py monitoring.py no_pods.py samples.py surge.py)
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
TYPED := $(addprefix $(CURDIR)/,operator builder runtime hack tests bench examples)
# What mypy finds of a file takes a minute and is kept beside the tools, for every clone. Paths are absolute, so that a
# file of another clone is compared by its hash: where path, size and time are the same, mypy does not look at it.
export MYPY_CACHE_DIR := $(or $(EDGESMITH_CACHE),$(HOME)/.cache/edgesmith)/mypy
# Servers, operators and builders start again and again: each would compile our modules unless the first one keeps them.
export PYTHONDONTWRITEBYTECODE :=
export ORT_DISABLE_TELEMETRY := 1
export EDGESMITH_SKIP_CLUSTER ?=

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

demo: $(READY) ## From nothing to checked predictions on three edge nodes (CLUSTER=local|kind|current)
	@$(PY) hack/stage demo --cluster $(CLUSTER)

down: ## Remove every trace of the demo (CLUSTER=local|kind|current)
	@if [ $(CLUSTER) = local ]; then $(PYTHON) hack/cluster down --name demo; \
	else $(MAKE) -s $(READY) && $(PY) hack/stage down --cluster $(CLUSTER); fi

test: SELECT := -m 'not long'
test: SMALL := on-an-api-server on-three-nodes
test: export EDGESMITH_FLEETS ?= 0.1
test: may-run-cluster lint tiers ## Everything but further cases (docs/testing.md names them); needs root

test-all: CUT := EDGESMITH_CUT_SECONDS=600
test-all: may-run-cluster lint tiers ## Everything the project can prove about itself; needs root

lint: $(READY) ## Formatter, linter, types and import contracts
	@echo '== lint'
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy --no-error-summary --exclude 'tests/(api|published|unit_controller)/conftest' $(TYPED)
	@$(VENV)/bin/mypy --no-error-summary $(CURDIR)/tests/api/conftest.py
	@$(VENV)/bin/mypy --no-error-summary $(CURDIR)/tests/published/conftest.py
	@$(VENV)/bin/lint-imports --no-cache > .cache/lint-imports.txt || { cat .cache/lint-imports.txt; exit 1; }

test-unit: $(READY) ## Pure tables and simulations: no root, no network, a minute
	@echo '== unit: everything that needs neither root nor compiled tools'
	@$(PY) -m pytest -q -m 'not api and not cluster' --ignore=tests/cluster --ignore=tests/api

simulate: $(READY) ## Many more simulated rollouts than `make test` runs (FLEETS=4: so many times as many)
	@EDGESMITH_FLEETS=$(FLEETS) $(PY) -m pytest --timeout=7200 tests/unit/test_*_simulation.py

fuzz: $(READY) ## Send both ports of the runtime a million wrong inputs, pictures among them (FUZZ=1000000: so many; SEED=1: these)
	@PYTHONPATH=.:tests/services $(PY) -m tests.fuzz --inputs $(FUZZ) --seed $(SEED)

tools: ## Compile Kubernetes and its companions: some 30 minutes, once
	@$(PYTHON) hack/cluster tools

images: $(READY) ## Build the runtime, builder and operator images
	@$(PY) hack/images build

images-of-tests: images # And the builder and a runtime with Qualcomm's simulator
	@$(PY) hack/images build --only builder-qnn
	@$(PY) hack/images build --only runtime-qnn --platform linux/amd64

test-api: $(READY) tools ## Against a real control plane without kubelets
	@EDGESMITH_REQUIRE_ALL=1 $(PY) -m pytest tests/api

test-cluster: may-run-cluster $(READY) tools images-of-tests ## The whole product on real kubelets; needs root
	@EDGESMITH_REQUIRE_ALL=1 $(PY) -m pytest tests/cluster

tiers: may-run-cluster $(READY) tools $(if $(filter 1,$(EDGESMITH_SKIP_CLUSTER)),,images-of-tests)
	@echo '== every tier, side by side, since two of them mostly wait; each prints when it has ended'
	@$(MAKE) --keep-going --jobs=3 --output-sync=target SELECT="$(SELECT)" CUT="$(CUT)" SMALL="$(SMALL)" tier-without-a-cluster tiers-on-small-clusters tiers-on-six-nodes

tier-without-a-cluster: # Behind the others, so a test of some seconds may take minutes
	@EDGESMITH_REQUIRE_ALL=1 nice -n 10 $(PY) -m pytest $(SELECT) --timeout=600 $(addprefix --ignore=,tests/api tests/cluster $(BUILDS))

# One after the other, since the kernel's limits allow two clusters at once; a red one hides none of those after it.
tiers-on-small-clusters:
	@red=0; for tier in $(SMALL); do $(MAKE) tier-$$tier || red=1; done; exit $$red

# What only builds comes last, so that what needs no cluster has two cores in the end.
tiers-on-six-nodes:
	@red=0; for tier in on-the-cluster of-builds; do $(MAKE) tier-$$tier || red=1; done; exit $$red

tier-on-an-api-server:
	@EDGESMITH_REQUIRE_ALL=1 $(PY) -m pytest $(SELECT) --timeout=600 tests/api

tier-beside:
	@EDGESMITH_REQUIRE_ALL=1 EDGESMITH_TIER=beside $(PY) -m pytest $(SELECT) $(BESIDE)

tier-on-three-nodes:
	@EDGESMITH_REQUIRE_ALL=1 EDGESMITH_TIER=three $(CUT) $(PY) -m pytest $(SELECT) $(THREE)

tier-of-builds:
	@EDGESMITH_REQUIRE_ALL=1 nice -n 10 $(PY) -m pytest $(SELECT) --timeout=600 $(BUILDS)

tier-on-the-cluster:
	@EDGESMITH_REQUIRE_ALL=1 $(PY) -m pytest $(SELECT) tests/cluster $(addprefix --ignore=,$(BESIDE) $(THREE))

may-run-cluster: # Before anything is compiled: a green run has never left out a tier unasked
	@[ "$$EDGESMITH_SKIP_CLUSTER" = 1 ] || [ "$$(id -u)" = 0 ] || { \
	  echo 'The cluster tier needs root: run make as root, or leave that tier out with EDGESMITH_SKIP_CLUSTER=1.' >&2; \
	  exit 1; }

bench: $(READY) tools images ## Measure, print and write bench/results.json
	@PYTHONPATH=.:hack/stage:hack/cluster:tests/services:tests/unit:tests/unit_controller $(PY) bench

soak: $(READY) ## Ask a server everything, right and wrong, for SOAK_MINUTES, and see whether it grows; writes bench/soak.json
	@$(PY) bench/soak.py --minutes $(SOAK_MINUTES)

scale: $(READY) tools ## Measure fleets of thousands of played nodes, an hour and more; writes bench/scale.json
	@PYTHONPATH=.:hack/cluster $(PY) bench/scale.py

generate: $(READY) ## Regenerate the CRDs, the command line's catalogue, the tables of docs/, the protocol, deploy/argocd and the dashboard
	@$(PY) -m edgesmith.api.crd crds charts/edgesmith/crds
	@$(PY) hack/generate_catalogue.py
	@$(PY) hack/generate_docs.py
	@$(PY) hack/generate_protocol.py
	@$(PY) hack/generate_argocd.py
	@$(PY) hack/generate_dashboard.py

format: $(READY) ## Format and fix what can be fixed
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

lock: $(READY) ## Resolve the dependencies anew and write requirements/*.txt
	@for extra in onnxruntime openvino litert qnn triton builder builder-qnn operator dev; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --upgrade --extra $$extra pyproject.toml -o requirements/$$extra.txt; done
	@for name in tritonserver published; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --no-deps requirements/$$name.in -o requirements/$$name.txt; done

clean: ## Remove the virtual environment and caches of this tree
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): requirements/dev.txt pyproject.toml hack/environment.sh
	@hack/environment.sh $(PYTHON) $(VENV)
	@mkdir -p .cache && touch $@

.PHONY: help demo down test lint test-unit simulate fuzz test-api test-cluster test-all tier-without-a-cluster tier-on-an-api-server tier-beside tier-on-three-nodes tier-of-builds tier-on-the-cluster may-run-cluster tools images images-of-tests bench soak scale generate format lock clean
