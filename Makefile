# make run     set up .venv, run the job of test_input.json, print its result
# make test    set up .venv, run every test
# make check   lint, format, types
# make docs    rewrite README's tables from the code
PYTHON ?= $(shell command -v python3.11 || echo python3)
# The exact torch comes first: a looser requirement would fetch another build with its own CUDA.
TORCH ?= torch==2.13.0
BIN := .venv/bin
READY := .venv/ready

.PHONY: run test check docs

run: $(READY)
	$(BIN)/python handler.py

test: $(READY)
	$(BIN)/pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python docs/write_tables.py

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)" --editable ".[dev]"
	touch $@
