# make run     set up .venv, run the job of test_input.json, print its result
# make test    set up .venv, run every test; at least 90% of src must be run by them
# make check   lint, format, spelling, declared dependencies, types, workflow files
# make hooks   run `make check`'s tools on every commit
# make evaluate  judge the embedded model by its frames: a minute on a GPU, an hour without
# make docs    rewrite README's tables from the code
# make image   build the container image; TARGET=cpu: without CUDA, for development
# make image-test  run it as production does: no network, nothing writable, not root
# make lock    resolve builder/'s requirements anew, with uv: the image's and the developers'
PYTHON ?= $(shell command -v python3.11 || echo python3)
# The exact torch comes first: a looser requirement would fetch another build with its own CUDA.
TORCH ?= torch==2.13.0
BIN := .venv/bin
READY := .venv/ready
ENGINE ?= $(shell command -v docker || echo podman)
COVERAGE := .venv/coverage.json
TARGET ?= gpu
IMAGE ?= onetake:$(TARGET)
# podman's own format has no health checks.
FORMAT := $(if $(findstring docker,$(ENGINE)),,--format docker)
UV ?= uv
COMPILE := $(UV) pip compile --quiet --generate-hashes --python-version 3.11 \
  --custom-compile-command "make lock"
LOCK := $(COMPILE) --python-platform x86_64-manylinux_2_28
# Developers have several systems and Python versions: one version of a package for all of them.
DEV_LOCK := $(COMPILE) --universal --fork-strategy fewest
CPU_TORCH ?= --torch-backend cpu

.PHONY: run test check hooks evaluate docs image image-test lock

run: $(READY)
	$(BIN)/python handler.py

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m slipcover --json --out $(COVERAGE) \
	  -m pytest --numprocesses 2 --dist worksteal
	$(BIN)/python -m slipcover --merge $(COVERAGE) --out $(COVERAGE) --skip-covered --fail-under 90

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/deptry . --extend-exclude "(bench|builder|docs|tests|training)/"
	$(BIN)/deptry . --ignore DEP004
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

hooks: $(READY)
	$(BIN)/pre-commit install

evaluate: $(READY)
	$(BIN)/python -m training.evaluate

docs: $(READY)
	$(BIN)/python -m docs.write_tables

image:
	$(ENGINE) build $(FORMAT) --tag $(IMAGE) --build-arg TARGET=$(TARGET) \
	  $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
	  $(if $(BAKE),--build-arg BAKE="$(BAKE)") \
	  $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) \
	  --build-arg REVISION=$(shell git rev-parse HEAD) $(IMAGE_FLAGS) .

image-test:
	ENGINE=$(ENGINE) IMAGE=$(IMAGE) builder/test_image.sh

lock:
	echo "$(TORCH)+cpu" | $(LOCK) $(CPU_TORCH) --no-emit-package torch --excludes builder/excludes.txt --output-file builder/requirements.txt pyproject.toml -
	echo "$(TORCH)+cpu" | $(LOCK) $(CPU_TORCH) --excludes builder/requirements.txt --output-file builder/requirements-cpu.txt -
	echo "$(TORCH)" | $(LOCK) --extra gpu --excludes builder/requirements.txt --output-file builder/requirements-gpu.txt pyproject.toml -
	echo "$(TORCH)+cpu" | $(DEV_LOCK) $(CPU_TORCH) --no-emit-package torch --extra dev --output-file builder/requirements-dev.txt pyproject.toml -
	echo "hatchling>=1.27,<2" | $(LOCK) --output-file builder/requirements-build.txt -

# The lock holds everything but torch, whose build depends on the machine.
$(READY): pyproject.toml builder/requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  --requirement builder/requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)" --editable ".[dev]"
	touch $@
