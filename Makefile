# Verbs for people; bare `make` prints them. The work itself is in setup.sh and in doit.

.DEFAULT_GOAL := help
.PHONY: help docs setup build test torture smoke release bench publish rollback reproduce doctor clean lock
.NOTPARALLEL:

SETUP := sh bootsmith/tools/setup.sh
PYTHON := .venv/bin/python
DOIT := .venv/bin/doit
# What of the tests to run, and how: make test PYTEST="-k fat32"
PYTEST :=
# How often make torture kills, and what chooses when: the same seed, the same points.
KILLS := 300
SEED = $$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
# What to measure, and how often: make bench BENCH="pxerd --rounds 9"
BENCH :=
# Words for pip-compile: make lock LOCK=--upgrade
LOCK :=

help:
	@echo 'make setup     install what building needs: Debian packages, .venv'
	@echo 'make build     set up, then build everything the site describes'
	@echo 'make test      set up for testing too, then run every test'
	@echo 'make torture   kill hundreds of builds and promotions; show what each left (KILLS=, SEED=)'
	@echo 'make smoke     boot what was built in virtual machines'
	@echo 'make release   build, boot what is not proven, make it the current one'
	@echo 'make bench     measure the builders beside their floors and their peers (BENCH="pxerd --rounds 3")'
	@echo 'make promote   make the newest generation the current one'
	@echo 'make publish   deliver the current one to the machines that serve it'
	@echo 'make rollback  make the generation before it the current one again'
	@echo 'make reproduce build the site under differing conditions and compare every byte'
	@echo 'make docs      write the documentation as pages for a browser: artifacts/docs'
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
	@$(PYTHON) -m pytest -n auto --dist worksteal $(PYTEST)

docs:
	@$(SETUP) build
	@$(PYTHON) -m bootsmith.pages.documentation

torture:
	@$(SETUP) test
	@TORTURE_KILLS=$(KILLS) TORTURE_SEED=$(SEED) $(PYTHON) -m pytest -n auto tests/torture $(PYTEST)

smoke:
	@$(SETUP) test
	@$(DOIT) smoke

release:
	@$(SETUP) test
	@$(DOIT) release

promote:
	@$(SETUP) build
	@$(DOIT) promote

publish:
	@$(SETUP) build
	@$(DOIT) publish

# Set up or not, recipes sound or broken: whatever is there is used.
rollback:
	@$(DOIT) rollback

reproduce:
	@$(SETUP) test
	@$(DOIT) reproduce

bench:
	@$(SETUP) bench
	@$(DOIT) build
	@$(PYTHON) -m bench $(BENCH)

# Works before set-up too: doctor needs nothing but a python3.
doctor:
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) -m bootsmith.tools.doctor; \
	elif [ -x /usr/bin/python3 ]; then exec /usr/bin/python3 -m bootsmith.tools.doctor; \
	else printf 'python3: not found; everything needs it\n  next: make setup\n' >&2; exit 1; fi

# Generations and the links to them are what machines boot: never removed here.
clean:
	rm -rf artifacts/build artifacts/cache artifacts/reproduce artifacts/state.sqlite3*
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find bootsmith tests -name __pycache__ -prune -exec rm -rf {} +

lock:
	@sh requirements/lock.sh $(LOCK)
