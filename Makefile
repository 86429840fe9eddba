# Everything runs in .venv, which is created on first use. PYTHON may name another Python 3.11 or
# newer.
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check
AGENT := .venv/bin/python agent.py
# Folders in skills/ that are not packages belong to the user.
USERS := $(filter-out $(dir $(wildcard skills/*/__init__.py)),$(wildcard skills/*/))

# Compiled modules are kept: the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: annotate install test test-train examples check docs clean

annotate: install
	@mkdir -p out
	$(AGENT) "/annotate examples/abstract.txt save to out/abstract.md -o out/abstract.json"
	@sed -n 's/^- Model: /Annotated by /p' out/abstract.md

install: .venv/installed

test: .venv/installed-dev
	.venv/bin/python -m pytest -n auto --dist worksteal

test-train: .venv/installed-train
	.venv/bin/python -m pytest -n auto --dist loadfile -m train

examples: .venv/installed-dev
	.ci/examples

check: .venv/installed-dev
	.venv/bin/ruff check . $(USERS:%=--extend-exclude %)
	.venv/bin/ruff format --check . $(USERS:%=--extend-exclude %)
	.venv/bin/mypy $(USERS:%=--exclude ^%)
	.venv/bin/lint-imports --no-logo
	.venv/bin/python docs/generate.py --check

docs: .venv/installed-dev
	.venv/bin/python docs/generate.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(PIP) install --quiet --only-binary :all: --editable .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(PIP) install --quiet --only-binary :all: --editable ".[dev]"
	@touch .venv/installed $@

.venv/installed-train: pyproject.toml | .venv/bin/python
	$(PIP) install --quiet --only-binary :all: --editable ".[dev,finetune]"
	@touch .venv/installed .venv/installed-dev $@

clean:
	rm -rf .venv out build dist *.egg-info
