# Everything runs in .venv, which is created on first use. PYTHON may name another Python 3.11 or
# newer. LOCKED=1 installs the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := install $(if $(LOCKED),--constraint constraints.txt) --only-binary :all:
AGENT := $(BIN)/python agent.py
COMMA := ,
SHELL := bash
.SHELLFLAGS := -o pipefail -c
# Folders in skills/ that are not packages belong to the user.
USERS := $(filter-out $(dir $(wildcard skills/*/__init__.py)),$(wildcard skills/*/))

# Compiled modules are kept: the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: annotate install test test-all test-train examples check docs lock wheel clean

# A terminal shows the annotation; elsewhere it is cut from the page.
annotate: install
	@mkdir -p out
	$(AGENT) "/annotate examples/abstract.txt save to out/abstract.md -o out/abstract.json"
	@[ -t 1 ] || sed -n '/^| Move | Text/,/^$$/p; s/^- Model: /Annotated by /p' out/abstract.md
	@echo 'Next, with a table of papers:'
	@echo '  $(BIN)/python agent.py "/annotate FILE.csv save to annotated.jsonl"'

install: .venv/installed$(EXTRAS:%=-%)
	@[ -n "$(EXTRAS)" ] || echo '`make install EXTRAS=all` adds search by meaning, maps, MCP, training and clusters (2.8 GB).'

# Before a commit; `make test-all` runs the slow families, too.
test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not (browser or e2e or ray or slow or train)"

test-all: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal

test-train: .venv/installed-dev$(COMMA)finetune$(COMMA)train-tests
	$(BIN)/python -m pytest -n auto --dist loadfile -m train tests/train tests/e2e tests/skills/finetune

examples: .venv/installed-dev
	.ci/examples

check: .venv/installed-dev
	$(BIN)/ruff check . $(USERS:%=--extend-exclude %)
	$(BIN)/ruff format --check . $(USERS:%=--extend-exclude %)
	$(BIN)/mypy $(USERS:%=--exclude ^%)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/structure.py
	$(BIN)/python docs/generate.py --check

docs: .venv/installed-dev
	$(BIN)/python docs/generate.py

# Writes dist/nanda_harness-VERSION-py3-none-any.whl, with the models' small files and the man page.
wheel: $(BIN)/python
	rm -rf build
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

# Of an environment with all that is developed with; a local build of torch has a suffix.
lock: .venv/installed-dev$(COMMA)finetune
	$(PIP) freeze --exclude-editable | sed 's/+[a-z0-9]*$$//' > constraints.txt

$(BIN)/python:
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv

# On a terminal, one line shows what pip does.
pip_install = @echo 'Installing ".$(1)" with its dependencies into .venv'; \
	if [ -t 1 ]; then PYTHONUNBUFFERED=1 $(PIP) $(INSTALL) --editable ".$(1)" | awk '$(SHORT)'; \
	else $(PIP) --quiet $(INSTALL) --editable ".$(1)"; fi
SHORT := \
	function show(text) { printf "\r\033[K  %s", substr(text, 1, 70); fflush() } \
	/^Collecting / { show(++collected " packages: " $$2) } \
	/\.whl \(/ { name = $$(NF-2); sub(/.*\//, "", name); show("downloading " name " " $$(NF-1) $$NF) } \
	/^Installing / { show("installing " NF - 3 " packages") } \
	END { printf "\r\033[K" }

.venv/installed: pyproject.toml | $(BIN)/python
	$(call pip_install)
	@touch $@

# With extras of pyproject.toml: .venv/installed-dev, .venv/installed-map,mcp
.venv/installed-%: pyproject.toml | $(BIN)/python
	$(call pip_install,[$*])
	@touch .venv/installed $@

clean:
	rm -rf .venv out build dist *.egg-info
