# Verbs for people; bare `make` prints them. The work itself is in setup.sh and in doit.

.DEFAULT_GOAL := help
.PHONY: help setup build test smoke bench publish rollback doctor clean lock
.NOTPARALLEL:

SETUP := sh bootsmith/tools/setup.sh
PYTHON := .venv/bin/python
DOIT := .venv/bin/doit
# What of the tests to run, and how: make test PYTEST="-k fat32"
PYTEST :=
# Words for pip-compile: make lock LOCK=--upgrade
LOCK :=

help:
	@echo 'make setup     install what building needs: Debian packages, .venv'
	@echo 'make build     set up, then build everything the site describes'
	@echo 'make test      set up for testing too, then run every test'
	@echo 'make smoke     boot what was built in virtual machines'
	@echo 'make bench     measure the builders (not in this version)'
	@echo 'make publish   make the newest generation the current one'
	@echo 'make rollback  make the generation before it the current one again (not in this version)'
	@echo 'make doctor    show each program and library: found, needed by, how to get it'
	@echo 'make clean     remove what can be built again; generations stay'
	@echo 'make lock      pin the Python dependencies (for maintainers)'

setup:
	@$(SETUP) build

build:
	@$(SETUP) build
	@$(DOIT) build

test:
	@$(SETUP) test
	@$(PYTHON) -m pytest -n auto $(PYTEST)

smoke:
	@$(SETUP) test
	@$(DOIT) smoke

publish:
	@$(SETUP) build
	@$(DOIT) promote

bench rollback:
	@printf 'make $@: this version has no `doit $@`\n  next: doit list shows what there is\n' >&2; exit 2

# Works before set-up too: doctor needs nothing but a python3.
doctor:
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) -m bootsmith.tools.doctor; \
	elif [ -x /usr/bin/python3 ]; then exec /usr/bin/python3 -m bootsmith.tools.doctor; \
	else printf 'python3: not found; everything needs it\n  next: make setup\n' >&2; exit 1; fi

# Generations and the links to them are what machines boot: never removed here.
clean:
	rm -rf artifacts/build artifacts/cache artifacts/state.sqlite3
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find bootsmith tests -name __pycache__ -prune -exec rm -rf {} +

lock:
	@sh requirements/lock.sh $(LOCK)
