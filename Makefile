# One word for each thing a user or a developer does. `make` alone prints them.

PYTHON   ?= $(or $(shell command -v python3.11),$(shell command -v python3),python3)
VENV     ?= .venv
FLAVOUR  ?= cpu
BIN      := $(VENV)/bin

# make annotate
IMAGES   ?=
OUT      ?= out
ENSEMBLE ?= embedded

# make deploy-*: see deploy/README.md for each
export CVAT_NETWORK CVAT_VERSION NUCTL NUCTL_PLATFORM NUCLIO_PROJECT NUCLIO_NAMESPACE DOCKER IMAGE_PREFIX GPU MODELS_DIR SHARED_DIR ENSEMBLE

.DEFAULT_GOAL := help
.PHONY: help install dev annotate test lint types layers check specs bench images deploy-cpu deploy-gpu undeploy smoke serve clean

help:  ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed-$(FLAVOUR): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(FLAVOUR)]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed-$(FLAVOUR)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(FLAVOUR),dev]'
	# The oracle for SCRFD. Without its dependencies: it pins the CPU onnxruntime, which would shadow onnxruntime-gpu, and GUI OpenCV.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'insightface>=2.1,<3'
	@touch $@

install: $(VENV)/.installed-$(FLAVOUR)  ## make the environment (FLAVOUR=cpu or gpu)

dev: $(VENV)/.installed-dev  ## the environment with everything for development

annotate: install  ## annotate sample pictures, or IMAGES=folder, into OUT=out with ENSEMBLE=embedded
	$(BIN)/auto-annotator annotate $(if $(IMAGES),"$(IMAGES)" --recursive,--samples) --out "$(OUT)" \
	  --ensemble "$(ENSEMBLE)" --pull $(if $(RESUME),--resume,--overwrite)
	@echo "open $(OUT)/index.html in a browser"

test: dev  ## run every test
	$(BIN)/python -m pytest

lint: dev  ## ruff, and the linter of the function files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/auto-annotator specs functions --check

types: dev  ## mypy --strict on common/
	$(BIN)/mypy

layers: dev  ## the floors of the design: imports only go down
	$(BIN)/lint-imports

check: lint types layers test  ## everything CI runs

specs: dev  ## render the label schema into the function files
	$(BIN)/auto-annotator specs functions

bench: dev  ## measure speed, memory and accuracy; results as text
	$(BIN)/python -m benchmarks

serve: install  ## the functions over HTTP on this machine, no Docker
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(FLAVOUR),serve]'
	$(BIN)/auto-annotator models pull --ensemble "$(ENSEMBLE)"
	$(BIN)/auto-annotator serve --ensemble "$(ENSEMBLE)"

images:  ## build the base images of the functions (FLAVOUR=cpu or gpu)
	deploy/images.sh $(FLAVOUR)

deploy-cpu:  ## deploy the functions beside a CVAT, CPU
	deploy/deploy.sh cpu

deploy-gpu:  ## deploy the functions beside a CVAT, GPU
	deploy/deploy.sh gpu

undeploy:  ## remove the functions
	deploy/undeploy.sh

smoke:  ## ask the deployed functions and check the replies
	deploy/smoke.sh

clean:  ## remove the environment and caches (results stay)
	rm -rf "$(VENV)" build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
