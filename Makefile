# What people and CI type. Every target finds or makes what it needs; nothing is installed outside
# of $SOMA_HOME (default .soma). `make help` lists the targets.

PYTHON ?= python3
SOMA_HOME ?= $(CURDIR)/.soma
SOMA_LIB ?= $(SOMA_HOME)/lib
TESTS ?=
SEED ?=
PART ?=
CASES ?= 100000
FUZZ_SEED ?=
BENCH ?=
export SOMA_HOME SOMA_LIB

RUN := $(PYTHON) scripts/bootstrap.py
DEV := $(PYTHON) scripts/bootstrap.py --dev
SOMA := $(SOMA_LIB)/venv/bin/python -m mesh.cli

.DEFAULT_GOAL := help
.PHONY: help up down clean status doctor test check bench bench-docs soak chaos chaos-long fuzz gen lint format types contracts docs

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

up: ## install what is missing, start everything, end with a real answer
	@$(RUN) mesh.cli up

down: ## stop everything; the data stays
	@if [ -x "$(SOMA_LIB)/venv/bin/python" ]; then $(SOMA) down --quiet-if-stopped; fi

clean: down ## stop everything and remove the data; what is installed stays
	@$(PYTHON) scripts/clean.py

status: ## show every process
	@$(SOMA) status

doctor: ## check the machine and the stack
	@$(SOMA) doctor

test: ## bring up a stack of its own and run every test (TESTS=tests/unit for some)
	@$(DEV) scripts.test $(TESTS)

check: ## what continuous integration runs
	@$(DEV) scripts.check

bench: ## measure, as ratios side by side, into bench.json (BENCH="road idle" for some)
	@$(DEV) tests.bench $(BENCH)

bench-docs: ## the same figures as docs/benchmarks.md, its plot and docs/capacity.md
	@$(DEV) tests.bench.page
	@$(DEV) scripts.capacity --write

soak: ## two hours of load and the slope of each process's memory (MINUTES=120)
	@$(DEV) tests.bench.soak --minutes $(or $(MINUTES),120)

chaos: ## faults with a checker, at most ten minutes (SEED=7 repeats a run)
	@$(DEV) tests.chaos $(if $(SEED),--seed $(SEED))

chaos-long: ## all faults, each process killed 20 times, for hours (SEED=7 PART=1/3 for a third)
	@$(DEV) tests.chaos --long $(if $(SEED),--seed $(SEED)) $(if $(PART),--part $(PART))

fuzz: ## random and damaged input to everything that reads it (CASES=100000, FUZZ_SEED=7 repeats a run)
	@SOMA_FUZZ_CASES=$(CASES) $(if $(FUZZ_SEED),SOMA_FUZZ_SEED=$(FUZZ_SEED)) $(DEV) scripts.test tests/attacks/fuzz

gen: ## generate gen/ from the contracts
	@$(DEV) scripts.check gen

lint: ## format, lint and import rules, without changing anything
	@$(DEV) scripts.check format lint imports

format: ## rewrite the sources in the project's form
	@$(DEV) scripts.check reformat

types: ## check the types
	@$(DEV) scripts.check types

contracts: ## lint the contracts, look for breaking changes, see that gen/ is fresh
	@$(DEV) scripts.check contracts

docs: ## write docs/reference from the contracts and the code
	@$(DEV) scripts.check reference
