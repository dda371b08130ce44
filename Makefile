# Needs Python 3.11 or later, make and a package registry; everything else goes into .venv.
#
#   make demo PYTHON=/path/to/python3.12     choose the Python that .venv is made from
#   make test WORKERS=4 ARGS="-k frames"     more processes; options for pytest

SHELL   := /bin/sh
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
# Two processes suit two cores; a machine of many gains little above four, since each loads torch.
CORES   := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
WORKERS ?= $(shell [ $(CORES) -lt 4 ] && echo $(CORES) || echo 4)
# One thread each, or the processes fight over the cores; no window is ever opened.
PYTEST  := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench setup clean distclean
.DELETE_ON_ERROR:

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(READY) ## Set up if needed, then explain generated animals and measure the maps; table and pictures in demo/
	$(BIN)/saliscope demo -o demo

test: $(READY) ## Set up if needed, then run the tests but for the slow ones
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(READY) ## All tests, the slow ones too
	$(PYTEST) $(ARGS)

# Without ruff's cache: it keeps an old verdict when a module becomes one of ours.
lint: $(READY) ## Check style, types and the layers of imports
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Measure the speed on this machine
	$(BIN)/saliscope bench

setup: $(READY) ## Only make .venv and fill it

$(READY): pyproject.toml scripts/setup.sh
	@VENV=$(VENV) READY=$(READY) PYTHON="$(PYTHON)" sh scripts/setup.sh

clean: ## Remove what runs leave behind (not .venv)
	rm -rf demo out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf $(VENV)
