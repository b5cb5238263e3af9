# Two commands matter: `make chat` and `make test`. Each builds the environment it needs and then does its job.
# Everything may be told another interpreter or directory: make test PYTHON=python3.13 VENV=.venvs/3.13

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV ?= .venv
ARGS ?=
VERSIONS := 3.11 3.12 3.13
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
INPUTS := pyproject.toml
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# python3 if it is new enough, else a newer one by name. (A pyenv shim may be on PATH and yet not run, so each is tried.)
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$p; exit; }; done; echo python3)

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z%.-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

# ---- environments ----

$(STAMP)-venv:
	@$(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "gochan needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)."; \
		echo "Install a newer one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; } >&2
	@echo "$(VENV): new environment with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)
	@# pip reads dependency groups (PEP 735) since 25.1
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(STAMP)-test: $(STAMP)-venv $(INPUTS)
	@echo "$(VENV): installing gochan and the test tools"
	@$(PIP) --editable . --group test
	@touch $@

$(STAMP)-lint: $(STAMP)-venv $(INPUTS)
	@echo "$(VENV): installing gochan and the linters"
	@$(PIP) --editable . --group lint
	@touch $@

$(STAMP)-bench: $(STAMP)-venv $(INPUTS)
	@echo "$(VENV): installing gochan and the benchmark tools"
	@$(PIP) --editable . --group bench
	@touch $@

$(STAMP)-docs: $(STAMP)-venv $(INPUTS)
	@echo "$(VENV): installing gochan and what builds the site"
	@$(PIP) --editable . --group docs
	@touch $@

$(STAMP)-chat: $(STAMP)-venv $(INPUTS)
	@echo "$(VENV): installing gochan and the chat's libraries"
	@$(PIP) --editable '.[chat,trio]'
	@touch $@

$(STAMP)-cluster: $(STAMP)-venv $(INPUTS)
	@echo "$(VENV): installing gochan, the chat's libraries and a Valkey"
	@$(PIP) --editable '.[chat,chat-redis,trio]' --group cluster
	@touch $@

# ---- commands ----

.PHONY: chat
chat: $(STAMP)-chat ## start the chat server; options: make chat ARGS="--help"
	@$(BIN)/python -m examples.chat $(ARGS)

.PHONY: cluster
cluster: $(STAMP)-cluster ## start two nodes of it and a Valkey; options: make cluster ARGS="--nodes 3"
	@$(BIN)/python -m examples.cluster $(ARGS)

.PHONY: test
test: $(STAMP)-test ## run the tests; options: make test ARGS="-k select"
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: stress
stress: $(STAMP)-test ## run the slow tests
	@$(BIN)/python -m pytest -m slow --timeout 1800 $(ARGS)

.PHONY: chat-table
chat-table: $(STAMP)-test ## run the chat's table at full size and print its numbers; options: make chat-table ARGS="2 4 --loop uvloop"
	@$(BIN)/python -m tests.chat.table $(ARGS)

.PHONY: bench
bench: $(STAMP)-bench ## run the benchmarks; options: make bench ARGS="channels --quick"
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-pytest
bench-pytest: $(STAMP)-bench ## Go's benchmarks under pytest-benchmark; options: make bench-pytest ARGS="-k ChanSync"
	@$(BIN)/python -m pytest -p benchmark benchmarks/ $(ARGS)

.PHONY: lint
lint: $(STAMP)-lint ## format check, linter and type checkers
	@passed=0; for check in "ruff format --check ." "ruff check ." "mypy" \
		"pyright --pythonpath $(BIN)/python"; do \
		echo "$$check"; $(BIN)/$$check && passed=$$((passed + 1)); \
	done; echo "$$passed of 4 checks passed"; test $$passed = 4

.PHONY: docs
docs: $(STAMP)-docs ## build the documentation into build/site
	@rm -rf build/site build/doctrees # a warning must show however often the site is built
	@$(BIN)/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/site $(ARGS)
	@$(BIN)/python docs/check_site.py build/site

.PHONY: check
check: lint ## lint, then test on every supported Python that is here
	@set -e; for v in $(VERSIONS); do \
		python=$$($(MAKE) -s python-$$v); \
		if [ -z "$$python" ]; then echo "== $$v: not on this machine"; continue; fi; \
		echo "== $$v: $$python"; \
		$(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venvs/$$v; \
	done

# Prints the version of the default environment's Python, which may be there already.
.PHONY: python-default
python-default:
	@for p in $(BIN)/python $(PYTHON); do \
		"$$p" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null && break; done

# Prints an interpreter of that version that runs, from PATH or from pyenv; nothing if there is none.
.PHONY: $(VERSIONS:%=python-%)
$(VERSIONS:%=python-%): python-%:
	@for p in python$* $$HOME/.pyenv/versions/$*.*/bin/python; do \
		if "$$p" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$*")' >/dev/null 2>&1; \
		then echo "$$p"; break; fi; done

.PHONY: clean
clean: ## remove environments, caches and build products
	rm -rf .venv .venvs build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -rf .coverage .coverage.* htmlcov
	find src tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
