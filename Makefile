# `make help` lists the targets. Needs Python (3.11-3.13) and make only.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The configuration's own newest run, or with neither given the newest of all.
CONFIG ?=
RUNS := $(if $(CONFIG),runs/$(basename $(notdir $(CONFIG))),runs/*)
CKPT ?= $(firstword $(shell ls -t $(RUNS)/version_*/checkpoints/best.ckpt 2>/dev/null))
# A run keeps the configuration that it was trained with.
EVAL_CONFIG = $(or $(CONFIG),$(patsubst %/checkpoints/best.ckpt,%/config.yaml,$(CKPT)))

SERVE ?= 1

.PHONY: help demo search-demo test test-fast eval lint notebooks bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	rm -rf src/*.egg-info # a stale one hides new entry points from the tests
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/installed ## train on the generated benchmark (3 minutes), evaluate, answer three sentences
	$(BIN)/lightning fit --config synthetic.yaml --trainer.max_time 00:00:03:00
	$(BIN)/python -m dreamprvr.cli.demo

search-demo: $(VENV)/installed ## films, features, training, library, search and its page in 5 minutes (SERVE= without page)
	$(BIN)/python -m tests.kit.search_demo $(if $(SERVE),,--no_serve)

# a test file stays in one process: its fixtures are made once; tests/conftest.py orders the files
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed ## all tests
	$(PYTEST)

test-fast: $(VENV)/installed ## the tests without those marked slow
	$(PYTEST) -m 'not slow'

eval: $(VENV)/installed ## test a checkpoint: make eval [CONFIG=tvr.yaml] [CKPT=FILE] [LABELS=FILE]; default: the newest run
	@test -n "$(CKPT)" || { echo "no run yet: make demo, or give CKPT=FILE CONFIG=FILE"; exit 2; }
	$(BIN)/lightning test --config $(EVAL_CONFIG) --ckpt_path $(CKPT) $(if $(LABELS),--data.labels $(LABELS))

lint: $(VENV)/installed ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

notebooks: $(VENV)/installed ## run the notebooks
	$(BIN)/python -m pytest --nbmake notebooks -W default

bench: $(VENV)/installed ## the benchmarks on this machine (half an hour, 8 GB of memory, 5 GB of disk)
	for name in training_step encoding ranking growth loading search long_videos; do \
		$(BIN)/python -m benchmarks.$$name || exit 1; \
	done

clean: ## remove the environment and caches; data and runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info src/*.egg-info build
