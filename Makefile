# Needs make and Python >= 3.12, nothing else. The first target is the one to begin with: make run.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV_COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --quiet --python-version 3.12

EXACTLY := --require-hashes --only-binary :all:
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check $(EXACTLY)

.PHONY: help run demo test lint soak bench lock messages screenshots

help: ## What there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: $(VENV)/.runtime ## Start Voltdesk on this machine (PORT=8000, HOST=127.0.0.1)
	@exec $(BIN)/python -m config.supervisor

demo: $(VENV)/.runtime ## Make the demo data anew; what the embedded database holds is deleted
	@exec $(BIN)/python manage.py demo --reset

test: $(VENV)/.dev ## Everything that proves the project
	@exec $(BIN)/python tests/run.py

lint: $(VENV)/.dev ## The part of it that reads only: style, types, import contracts, migrations
	@exec $(BIN)/python tests/run.py lint

soak: $(VENV)/.dev ## Longer: three kills, 5,000 chargers at once, a database that is away for a minute, long fuzz
	@exec $(BIN)/python tests/run.py soak

bench: $(VENV)/.dev ## What a message costs, beside other designs (BENCH=quick for short windows)
	@exec $(BIN)/python benchmarks/run.py $(ONLY)

screenshots: $(VENV)/.dev ## The README's two pictures, taken of the demo in Debian's Chromium
	@exec $(BIN)/python tests/e2e/screenshots.py

lock: $(VENV)/.dev ## Resolve pyproject.toml again into the two hashed locks
	@$(UV_COMPILE) --upgrade -o requirements.lock
	@$(UV_COMPILE) --upgrade --group dev -c requirements.lock -o requirements-dev.lock

messages: $(VENV)/.dev ## Collect texts into locale/ and compile them (needs GNU gettext)
	@$(BIN)/python manage.py makemessages --locale de --no-obsolete --no-location --ignore .venv --ignore var
	@$(BIN)/python manage.py compilemessages --ignore .venv --ignore var

# --- the environment: made once, installed again when a lock's content changes ------------------------------------------
$(BIN)/python:
	@for candidate in python$$(cat .python-version) python3.14 python3.12 python3; do \
	  if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$($$candidate --version)"; exec $$candidate -m venv --clear $(VENV); fi; done; \
	echo "Voltdesk needs Python 3.12 or newer (Debian: apt install python3 python3-venv)." >&2; exit 1

$(VENV)/.runtime: requirements.lock | $(BIN)/python
	@$(call install,requirements.lock)

$(VENV)/.dev: requirements-dev.lock | $(BIN)/python
	@$(call install,requirements-dev.lock)

# A clone gives every file a new time: the stamp holds the lock's content, not its age. uv takes a third of pip's time, but
# does not know pip's own settings, such as a mirror.
define install
cmp -s $(1) $@ || { echo "Installing $(1)"; \
  sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ *--hash/p}' requirements-dev.lock > $(VENV)/uv.lock; \
  { $(PIP) -r $(VENV)/uv.lock && $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(EXACTLY) -r $(1); } \
  || { echo "Once more with pip"; $(PIP) -r $(1); }; }; \
cp $(1) $@
endef
