# Needs python3 (3.11 or newer) and make. Everything else goes to .venv and .boxoffice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help up down test pytest lint lock clean

help:  ## Show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 8 | sed 's/^/make /'

up: $(STAMP)  ## Start everything: servers, sample platform, full history, Dagster (Ctrl-C stops it)
	@$(BIN)/boxoffice up $(ARGS)

down: $(STAMP)  ## Stop what `make up` started
	@$(BIN)/boxoffice down

# Side by side: tests wait for servers and processes a third of their time.
test: $(STAMP)  ## Lint, types and tests
	@$(MAKE) --no-print-directory -j 2 lint pytest

pytest: $(STAMP)  ## Tests only
	@echo '== pytest'
	@$(BIN)/pytest $(ARGS)

lint: $(STAMP)  ## Lint, format check and types
	@echo '== ruff check'
	@$(BIN)/ruff check .
	@echo '== ruff format --check'
	@$(BIN)/ruff format --check .
	@echo '== mypy'
	@$(BIN)/mypy

lock: $(STAMP)  ## Pin what pyproject.toml asks for in requirements.lock (ARGS=--upgrade: the newest)
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --no-strip-extras -q -o requirements.lock $(ARGS)

clean:  ## Stop everything and delete .boxoffice (all local data) and .venv
	@if [ -x $(BIN)/boxoffice ]; then $(BIN)/boxoffice clean --yes; \
	elif [ -d .boxoffice ]; then echo '.venv is missing, so nothing can be stopped: run make up first' >&2; exit 1; fi
	rm -rf $(VENV)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v >= (3, 11) else "Box Office needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another one: make up PYTHON=python3.12" % v)'
	@echo 'Installing the locked packages into $(VENV) (about a minute, once) ...'
	@$(PYTHON) -m venv $(VENV) || { echo 'Creating $(VENV) failed. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@
