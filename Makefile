# make install    install hepfm into .venv, and nothing else
# make pretrain   pretrain on the sample that the package ships
# make test       run the tests
# All set up .venv by themselves. Another interpreter: make test PYTHON=/path/to/python3.12

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(RECENT)' 2>/dev/null && echo "$$p" && break; done)

.PHONY: help install pretrain test slow lint types docs results reference format constraints clean

help:
	@sed -n 's/^# make/make/p' Makefile

install: .venv/installed

pretrain: install
	$(BIN)/hepfm pretrain image3d/masked-tiny --workers 2

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

# make slow       run the tests that take minutes
slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow

# make lint       check style and who imports whom
lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# make types      check types
types: .venv/installed-test
	$(BIN)/mypy

# make docs       build the site into site/, strictly
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# make results    train the demonstrations on real data in full: pictures and figures of docs/results.md;
#                 some of them: make results ONLY="microboone legend"
results: .venv/installed-test
	$(BIN)/python tools/make_results.py $(if $(ONLY),--only $(ONLY))

# make reference  write docs/reference/ again, after commands, settings or hooks changed
reference: .venv/installed-test
	$(BIN)/python tools/make_reference.py

# make format     put the code into the house's form
format: .venv/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# make constraints   pin the versions that are in .venv, after the tests passed with them
constraints: .venv/installed-test .venv/installed-docs
	$(PIP) list --format=freeze --exclude-editable --exclude pip | sed 's/+.*//' | LC_ALL=C sort -f > constraints.txt
	touch .venv/installed .venv/installed-test .venv/installed-docs

# make clean      remove .venv, site and caches; runs/ stays
clean:
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@'$(PYTHON)' -c '$(RECENT)' 2>/dev/null || { \
		echo 'hepfm needs Python 3.11 or newer, and none was found: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) has no venv with pip; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	'$(PYTHON)' -m venv .venv

# Stamps: a second call installs nothing, unless what is wanted has changed.
.venv/installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) install -c constraints.txt -e .
	touch $@

.venv/installed-test: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) install -c constraints.txt -e '.[test]'
	touch .venv/installed $@

.venv/installed-docs: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) install -c constraints.txt -e '.[docs]'
	touch .venv/installed $@
