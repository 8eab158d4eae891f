PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .[dev]
	touch $@
