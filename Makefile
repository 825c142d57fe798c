# SPDX-License-Identifier: MIT
# `make check` and `make test` are what CI runs.

PYTHON := .venv/bin/python
C_FILES := $(wildcard bpf/*.c bpf/*.h)
VM_MODULES := ipip ip_vs ip_vs_rr ip_vs_mh ip_vs_sh

.DEFAULT_GOAL := help
.PHONY: help setup demo check test test-here test-vm test-kernels test-kills fuzz chaos bench bench-packet \
	bench-ipvs fmt clean

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
	@log=$$(mktemp); \
	$(MAKE) --no-print-directory test-vm >$$log 2>&1 & vm=$$!; \
	trap 'kill $$vm; rm -f $$log' INT TERM; \
	$(MAKE) --no-print-directory test-here; here=$$?; \
	echo "tests in the virtual machine:"; \
	wait $$vm; vm=$$?; \
	cat $$log; rm -f $$log; \
	exit $$((here || vm))

test-here: setup ## run all tests but tests/vm
	$(PYTHON) -m pytest --ignore tests/vm

test-vm: setup ## run tests/vm beside IPVS and tunl0, on Debian's kernel if this one lacks them
	@tools/setup kernel
	tools/vm --here-if "$(VM_MODULES)" --timeout 3000 -- env CI=$(CI) $(PYTHON) -m pytest tests/vm

test-kernels: setup ## load the programs on the newest kernel of Debian's backports, too
	tools/setup backports
	tools/vm --kernel .vm-backports --timeout 1200 -- \
		env CI=$(CI) $(PYTHON) -m pytest tests/vm/test_verifier.py

test-kills: setup ## kill each command before each of its system calls: KILLS=every N-th SEED=
	KILLS=$(or $(KILLS),1) SEED=$(or $(SEED),1) $(PYTHON) -m pytest -s tests/netns/test_killed.py

chaos: setup ## load a director, change it, kill its commands: MINUTES=10 SEED=
	PYTHONPATH=.:tests:tests/netns $(PYTHON) -m chaos $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(SEED),--seed $(SEED))

fuzz: setup ## compare the programs with the reference: N=frames SEED= ROUND= PROGRAM=
	PYTHONPATH=.:tests $(PYTHON) -m fuzz $(if $(N),--frames $(N)) $(if $(SEED),--seed $(SEED)) \
		$(if $(ROUND),--round $(ROUND)) $(if $(PROGRAM),--program $(PROGRAM))

bench: setup ## measure everything, with plots, into bench/results
	@tools/setup kernel
	$(PYTHON) bench/run.py

bench-packet: setup ## measure nanoseconds per packet, into bench/results/packet.json
	$(PYTHON) bench/packet.py

bench-ipvs: setup ## measure IPVS and xdplb side by side, on Debian's kernel in a virtual machine
	@tools/setup kernel
	$(PYTHON) bench/ipvs.py

fmt: setup ## format Python and C
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	$(if $(C_FILES),clang-format -i $(C_FILES))

clean: ## remove what was made here, .venv too
	rm -rf .venv .vm .vm-backports build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
