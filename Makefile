# SPDX-License-Identifier: MIT
# `make check` and `make test` are what CI runs.

PYTHON := .venv/bin/python
C_FILES := $(wildcard bpf/*.c bpf/*.h)

.DEFAULT_GOAL := help
.PHONY: help setup demo check test bench bench-packet fmt clean

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: ## install what is missing: Debian packages, .venv, bpffs
	@tools/setup

demo: setup ## show the reference case: five hosts, two web servers, one director
	@$(PYTHON) tools/demo.py

check: setup ## lint, types, formatting, the import rules
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(if $(C_FILES),clang-format --dry-run -Werror $(C_FILES))
	$(PYTHON) -m pytest -q tests/unit/test_imports.py

test: setup ## run all tests; those that need root are skipped without it
	$(PYTHON) -m pytest

bench: setup ## measure everything, with plots, into bench/results
	$(PYTHON) bench/run.py

bench-packet: setup ## measure nanoseconds per packet, into bench/results/packet.json
	$(PYTHON) bench/packet.py

fmt: setup ## format Python and C
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	$(if $(C_FILES),clang-format -i $(C_FILES))

clean: ## remove what was made here, .venv too
	rm -rf .venv .vm build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
