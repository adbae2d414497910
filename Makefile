# Kafleet's one-word commands. `make help` is made from the comments behind the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export UV_PYTHON_DOWNLOADS := never
export PYTHONSAFEPATH := 1
# Tests start hundreds of agents: let them find what is compiled.
unexport PYTHONDONTWRITEBYTECODE

CACHE := $(or $(KAFLEET_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kafleet)
UV = $(shell local/ensure-uv)
BIN := .venv/bin
STARTED := $(shell date +%s)

# Suites run one after the other and the first red one ends the run, whatever -j says.
.NOTPARALLEL:

# $(call suite,name,command): announce, run, and say how long it took, red or green.
suite = @echo "=== $(1)"; SECONDS=0; code=0; { $(2); } || code=$$?; \
	echo "=== $(1): $$([ $$code = 0 ] && echo passed || echo failed) in $$SECONDS s"; exit $$code

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/ready: requirements.lock operator/pyproject.toml agent_image/pyproject.toml local/ensure-uv
	$(UV) venv --quiet --allow-existing .venv
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable operator --editable agent_image
	touch $@

.PHONY: venv
venv: .venv/ready ## install everything that development needs into .venv

.PHONY: lock
lock: ## resolve dependencies anew and write what comes out into the locks
	$(UV) lock --quiet $(if $(UPGRADE),--upgrade)
	$(UV) export --quiet --no-emit-workspace --group dev --output-file requirements.lock
	$(UV) export --quiet --no-emit-workspace --no-dev --package kafleet-operator --output-file operator/requirements.lock
	$(UV) export --quiet --no-emit-workspace --no-dev --package kafleet --extra opentelemetry --output-file agent_image/requirements.lock
	$(UV) export --quiet --no-emit-workspace --only-group build --output-file build-requirements.lock

.PHONY: check
check: lint types unit ## everything that needs no cluster: lint, types, unit and convergence tests
	@echo "=== check: passed in $$(( $$(date +%s) - $(STARTED) )) s"

.PHONY: lint
lint: .venv/ready ## ruff's rules, its format, and the layers
	$(call suite,lint,$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo)

.PHONY: format
format: .venv/ready ## rewrite the sources as ruff wants them
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: types
types: .venv/ready ## mypy, strict, tests included
	$(call suite,types,$(BIN)/mypy operator agent_image tests local examples)

.PHONY: unit
unit: .venv/ready ## unit and convergence tests
	$(call suite,unit,$(BIN)/pytest tests/unit)
	$(call suite,convergence,$(BIN)/pytest tests/convergence)

.PHONY: binaries
binaries: # outside the suites, whose tests have deadlines: a cold build takes many minutes
	local/cluster build
	local/cluster kafka-lib >/dev/null
	local/promtool >/dev/null

.PHONY: cluster-up
cluster-up: ## start the local cluster with its broker, and load the images
	local/cluster up >/dev/null
	local/cluster images >/dev/null
	local/cluster kafka

.PHONY: cluster-down
cluster-down: ## end the local cluster; PURGE=1 removes its data, too
	local/cluster down $(if $(PURGE),--purge)

.PHONY: demo
demo: .venv/ready ## see a fleet work on a local cluster, scaled, hurt and checked; leaves it running
	@PYTHONPATH=local $(BIN)/python -m demo

.PHONY: demo-down
demo-down: ## remove the local cluster and all that is in it
	local/cluster down --purge

.PHONY: integration
integration: .venv/ready binaries ## tests against a real API server and a real broker, without kubelet
	$(call suite,integration,$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder tests/integration)

.PHONY: chart
chart: .venv/ready binaries ## the Helm chart: lint, templates, schema, documentation
	$(call suite,chart,$(BIN)/pytest --numprocesses 2 tests/chart)

.PHONY: e2e
e2e: .venv/ready cluster-up ## tests through the chart on the local cluster
	$(call suite,e2e,$(BIN)/pytest --numprocesses 3 --dist worksteal -m 'not disturbing and not destructive' tests/e2e)
	$(call suite,e2e one at a time,$(BIN)/pytest -m 'disturbing or destructive' tests/e2e)

.PHONY: benchmark
benchmark: .venv/ready binaries ## measure the agent beside its peers into docs/performance.md; ROW=, ROUNDS=, SECONDS=
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(if $(ROW),--row $(ROW)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SECONDS),--seconds $(SECONDS))

.PHONY: chaos
chaos: .venv/ready binaries ## agents killed, frozen and cut off at random: RECORDS=, SEED=, ROUNDS=, FAULTS=, SECONDS=, GUARANTEE=, PEER=, PLANTED=
	PYTHONPATH=tests:local $(BIN)/python -m chaos $(if $(RECORDS),--records $(RECORDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(GUARANTEE),--guarantee $(GUARANTEE)) $(if $(PEER),--peer $(PEER)) \
		$(if $(PLANTED),--planted $(PLANTED))

.PHONY: test
test: check integration chart e2e ## everything: what CI runs
	@echo "=== test: passed in $$(( $$(date +%s) - $(STARTED) )) s"

.PHONY: generate
generate: .venv/ready ## generate the CRDs, the chart's copies of them and the reference pages
	$(BIN)/python -m kafleet_operator.api.crds
	rm -f charts/kafleet/files/crds/*.yaml
	cp crds/*.yaml charts/kafleet/files/crds/
	PYTHONPATH=local $(BIN)/python -m reference
