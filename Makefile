# In an empty clone with Python 3.11 or newer: `make run` trains on real data, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin/
INSTALLED := .venv/.installed
# More pip options for the installation of torch, such as the index of the builds without CUDA.
TORCH_OPTIONS ?=
# pytest -n: processes that share the tests.
WORKERS ?= 2

.PHONY: help run test test-all minutes lint format bench peers docs lessons tables figures page page-examples page-pictures clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

# torch goes first and alone, so that TORCH_OPTIONS holds for it only; the build backend is pinned like the rest.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	test -x $(BIN)python || $(PYTHON) -m venv .venv
	$(BIN)python -m pip install --quiet -c constraints.txt $(TORCH_OPTIONS) torch==2.13.0
	$(BIN)python -m pip install --quiet -c constraints.txt hatchling editables
	$(BIN)python -m pip install --quiet -c constraints.txt --no-build-isolation -e ".[dev]"
	touch $@

RUN ?= runs/digits-$(shell date +%Y%m%d-%H%M%S)
run: RUN := $(RUN)
run: $(INSTALLED)  ## train on the handwritten digits, evaluate, show predictions
	$(BIN)regard train digits --folder $(RUN)
	$(BIN)regard evaluate $(RUN)
	$(BIN)regard predict $(RUN) --show 4
	@echo "The run lies in $(RUN)"

# What `minutes` prints, measured on two cores, which others used in part, after the installation.
test: MINUTES := 20
test: minutes lint  ## lint, types, and all tests but the rare ones
	$(BIN)pytest -n $(WORKERS) -m "not rare"

test-all: MINUTES := 20
test-all: minutes lint  ## the same with the rare ones, as CI runs it
	$(BIN)pytest -n $(WORKERS)
	$(BIN)python -m benchmarks.conformance avx2

minutes:
	@echo "This takes at most $(MINUTES) minutes on two cores, after an installation of some minutes in a new clone."

lint: $(INSTALLED)  ## style, formatting, types
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy

format: $(INSTALLED)  ## repair what can be repaired of style and formatting
	$(BIN)ruff check --fix .
	$(BIN)ruff format .

bench: $(INSTALLED)  ## measure again (needs REGARD_DATA), and write results and tables
	$(BIN)python -m benchmarks.attention
	$(BIN)python -m benchmarks.encoder
	$(BIN)python -m benchmarks.cold
	$(BIN)python -m benchmarks.tables
	$(BIN)python -m benchmarks.figures

peers: $(INSTALLED)  ## install what attention is measured beside into .peers, beside the environment
	rm -rf .peers
	$(BIN)python -m pip install --quiet --no-deps --target .peers -r benchmarks/peers.txt

docs: $(INSTALLED)  ## build the documentation into site/
	$(BIN)python -m benchmarks.lessons pages
	$(BIN)zensical build --clean

lessons: $(INSTALLED)  ## execute the notebooks again, in place
	$(BIN)python -m benchmarks.lessons

tables: $(INSTALLED)  ## write the tables of README and docs from benchmarks/results, docs/support.md and docs/reference
	$(BIN)python -m benchmarks.tables
	$(BIN)python -m benchmarks.support
	$(BIN)python -m benchmarks.reference
	$(BIN)python -m benchmarks.looks

figures: $(INSTALLED)  ## draw the pictures of README and docs
	$(BIN)python -m benchmarks.figures

page:  ## bundle the module of `regard inspect` (needs Node)
	cd regard/inspector/page && npm ci --no-audit --no-fund && npm run build && npm run check

page-pictures: $(INSTALLED)  ## photograph the views of docs/inspect.md (needs REGARD_DATA and Chromium)
	$(BIN)python -m benchmarks.inspector_pages

page-examples: $(INSTALLED)  ## write the live examples of docs/inspect.md (needs REGARD_DATA)
	$(BIN)python -m benchmarks.inspector_examples

clean:  ## remove what was installed and built, but no runs
	rm -rf .venv .peers site dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
