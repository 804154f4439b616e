# Targets of the project; `make` alone lists them. Needs Python 3.11 or newer and make, and a C compiler only where a
# dependency has no wheel. Each target makes the virtual environment .venv, or brings it up to date with pyproject.toml.
#
#   make demo ARGS="--url redis://myhost"     arguments for what a target runs
#   AIORESP_URL=redis://myhost make judge     an application on a server of yours
#   make clean test PYTHON=python3.13         another interpreter

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo judge analytics tasks cached-db test matrix servers pythons soak fuzz under check format docs bench clean
.DELETE_ON_ERROR:

PYTHON ?=
ARGS ?=
SERVERS ?= all
BIN := .venv/bin
# A good part of the suite waits: more processes than there are cores are worth it, though each collects all tests, in
# four seconds of processor time. The quick part on uvloop runs beside them, in one more process.
# Left out of `make test`, which has a short form of each; .ci/run says `make test TESTS="not soak"`.
TESTS := not soak and not ci
WORKERS := -n 8 --dist loadfile --no-loadscope-reorder

# The suite starts more than a hundred processes: without bytecode each compiles the package again.
unexport PYTHONDONTWRITEBYTECODE

CANDIDATES := python3.15 python3.14 python3.13 python3.12 python3.11 python3

# A name on PATH need not run (pyenv has one for each version it knows), and ensurepip may be missing (Debian).
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## Install and run the demonstration: a race of 10,000 SETs, or with ARGS=cluster a failover.
	@$(BIN)/aioresp demo $(ARGS)

judge: .venv/.examples ## Run the coding judge: web servers, workers and a page; ends with Ctrl-C.
	@$(BIN)/python -m examples.judge $(ARGS)

analytics: .venv/.examples ## Run the analytics pipeline: API, worker, database and a live page; ends with Ctrl-C.
	@$(BIN)/python -m examples.analytics $(ARGS)

tasks: .venv/.examples ## Run the lab of task lists: clients and workers in several processes; ends with Ctrl-C.
	@$(BIN)/python -m examples.tasks $(ARGS)

cached-db: .venv/.examples ## Run an API over SQLite with its cache, and a page; ends with Ctrl-C.
	@$(BIN)/python -m examples.cached_db $(ARGS)

# pytest compiles the tests for itself: where that has not been done, once is enough, and each process would do it.
COMPILED = tests/__pycache__/conftest.*-pytest-*.pyc

# What failed, for the second try, in a folder of this run only.
MEMORY = -o cache_dir="$$failed"

# The shell has processes in the background ignore Ctrl-C, so it is passed on. Each part says in a line how it ended.
# Nine processes on two cores hold each other up for seconds. So what fails on asyncio is run once more, alone, up to the
# first that fails again; pytest lists its name both times.
test: .venv/.dev ## Run the tests: all on asyncio in its debug mode, and the quick part on uvloop.
	@echo "Testing twice, against servers of its own: all but the long tests on asyncio in its debug mode, and beside it"
	@echo "the quick part on uvloop, shown at the end. It takes seven to twelve minutes of processor time: four to seven"
	@echo "minutes on two cores that are free, and less on more. The long tests: make soak."
	@ls $(COMPILED) > /dev/null 2>&1 || { echo "compiling the tests: done once"; \
	$(BIN)/python -m pytest -qq --collect-only > /dev/null 2>&1; }; \
	quick=$$(mktemp) && failed=$$(mktemp -d) || exit; \
	AIORESP_TEST_LOOP=uvloop $(BIN)/python -m pytest -m "quick and $(TESTS)" $(ARGS) > "$$quick" 2>&1 & \
	beside=$$!; \
	trap 'kill -INT $$beside 2> /dev/null; wait $$beside; rm -rf "$$quick" "$$failed"; exit 130' INT TERM; \
	$(BIN)/python -m pytest -m "$(TESTS)" $(WORKERS) $(MEMORY) $(ARGS); first=$$?; \
	wait $$beside; second=$$?; \
	echo; echo "On uvloop, the quick part:"; cat "$$quick"; again=; \
	[ $$first -ne 1 ] || { echo; echo "On asyncio, once more and alone, what failed beside other tests:"; \
	$(BIN)/python -m pytest -m "$(TESTS)" $(MEMORY) --last-failed --last-failed-no-failures none -x $(ARGS); \
	first=$$?; again=", at the second try"; }; \
	rm -rf "$$quick" "$$failed"; \
	said() { if [ $$2 -eq 0 ]; then echo "$$1: passed$$3"; else echo "$$1: failed, with status $$2"; fi; }; \
	said asyncio $$first "$$again"; said "uvloop, the quick part" $$second; \
	[ $$first -eq 0 ] && [ $$second -eq 0 ]

matrix: .venv/.dev ## Run the tests of the commands on every server of the matrix, or on SERVERS="redis-8.0 redis://host".
	AIORESP_TEST_SERVERS="$(SERVERS)" $(BIN)/python -m pytest -m "not soak" tests/commands $(ARGS)

servers: .venv/.dev ## Get the servers of the matrix into .servers/: Redis 6.2 to 8.0, Valkey 8.1 and 9.1.
	@$(BIN)/python -m tests.servers

pythons: .venv/.dev ## Get Python 3.11, 3.13, 3.14 and 3.15 into .pythons/: PYTHON=.pythons/python-3.15/usr/bin/python3.15.
	@$(BIN)/python -m tests.pythons 3.11 3.13 3.14 3.15

soak: .venv/.dev ## Run the long tests, and the long forms of others.
	$(BIN)/python -m pytest -m "soak or ci" $(ARGS)

fuzz: .venv/.dev ## Fuzz what reads from the network for an hour, or for FUZZ_SECONDS=60.
	@$(BIN)/python -m tests.fuzz

under: .venv/.dev ## Run redis-py's own asyncio suite on aioresp.redis, or with ARGS="redis-7.0 -k lock" a part of it.
	@$(BIN)/python -m tests.under $(ARGS)

# PYRIGHT_PYTHON_IGNORE_WARNINGS: otherwise pyright asks the package index for a newer version each time.
check: .venv/.dev .venv/.docs ## Check form, types and documentation.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "mypy --strict, and pyright beside it: two to four minutes"
	@mypy=$$(mktemp) || exit; \
	{ $(BIN)/mypy --strict && $(BIN)/mypy --strict examples; } > "$$mypy" 2>&1 & \
	beside=$$!; \
	trap 'kill $$beside 2> /dev/null; rm -f "$$mypy"; exit 130' INT TERM; \
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python; second=$$?; \
	wait $$beside; first=$$?; \
	cat "$$mypy"; rm -f "$$mypy"; \
	[ $$first -eq 0 ] && [ $$second -eq 0 ]
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: .venv/.dev ## Format the code, sort the imports and write the stub of pipelines.
	$(BIN)/python -m tests.handles
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

docs: .venv/.docs ## Build the documentation into site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html"

bench: .venv/.bench ## Measure against the floor and other clients; takes minutes.
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove everything that was made here, .venv included.
	rm -rf .venv .venv-3.* .servers .pythons .under .libraries build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- The virtual environment: .venv/.made says that it is complete, the other files which extras are installed ---------

# Without an interpreter behind the link, as after an upgrade of the system, all of it is made again.
ifeq ($(shell test -e $(BIN)/python && echo there),)
.PHONY: .venv/.made .venv/.demo .venv/.examples .venv/.dev .venv/.docs .venv/.bench
endif

.venv/.made:
	@for python in $(or $(PYTHON),$(CANDIDATES)); do \
		if "$$python" -c '$(USABLE)' > /dev/null 2>&1; then \
			echo "making .venv with $$("$$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
			"$$python" -m venv --clear .venv && touch $@; exit; \
		fi; \
	done; \
	echo "no Python 3.11 or newer with the modules venv and ensurepip among: $(or $(PYTHON),$(CANDIDATES))" >&2; \
	echo "Install one (on Debian and Ubuntu also its package python3-venv), or name it: make PYTHON=/path/to/python" >&2; \
	exit 1

comma := ,

# pip shows what it does: the first time a minute or two would be silent.
INSTALL = @echo "installing $(1) into .venv: this may take a minute or two, and is done once"; \
	$(BIN)/python -m pip install --disable-pip-version-check $(2)

.venv/.demo: pyproject.toml | .venv/.made
	$(call INSTALL,aioresp with its command line,-e '.[server$(comma)cli]')
	@touch $@

.venv/.examples: pyproject.toml | .venv/.made
	$(call INSTALL,aioresp and what the applications need,-e '.[examples$(comma)cli]')
	@touch $@

.venv/.dev: pyproject.toml | .venv/.made
	$(call INSTALL,aioresp and what its tests need,-e '.[dev]')
	@touch $@ .venv/.demo .venv/.examples

.venv/.docs: pyproject.toml | .venv/.made
	$(call INSTALL,what the documentation needs,-e '.[docs]')
	@touch $@

.venv/.bench: pyproject.toml | .venv/.made
	$(call INSTALL,the other clients,-e '.[bench$(comma)uvloop$(comma)server]' libvalkey)
	@touch $@
