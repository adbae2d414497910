# Kafleet's one-word commands. `make help` is made from the comments behind the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export UV_PYTHON_DOWNLOADS := never
export PYTHONSAFEPATH := 1

CACHE := $(or $(KAFLEET_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kafleet)
UV = $(shell local/ensure-uv)
BIN := .venv/bin

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/ready: requirements.lock operator/pyproject.toml agent_image/pyproject.toml local/ensure-uv
	$(UV) venv --quiet --allow-existing .venv
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable operator --editable agent_image
	touch $@

.PHONY: venv
venv: .venv/ready ## install everything that development needs into .venv

.PHONY: lock
lock: ## resolve dependencies anew and write the three requirements.lock files
	$(UV) lock --quiet $(if $(UPGRADE),--upgrade)
	$(UV) export --quiet --no-emit-workspace --group dev --output-file requirements.lock
	$(UV) export --quiet --no-emit-workspace --no-dev --package kafleet-operator --output-file operator/requirements.lock
	$(UV) export --quiet --no-emit-workspace --no-dev --package kafleet --output-file agent_image/requirements.lock
