# `make train` and `make test` work on a fresh machine: they make $(VENV) and find the GL libraries first.
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
# Another release than that of the published pictures, such as 3.17.0; the dm-control made for it comes with it.
MUJOCO ?=
BIN := $(VENV)/bin
GL := scripts/install-gl.sh $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help train view test lint types format tables lock clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

train: $(VENV)/.installed ## Train an agent; options in ARGS="--env dmc:cartpole_swingup --seed 1"
	$(if $(MUJOCO),$(BIN)/pip install -qq -U mujoco==$(MUJOCO) dm-control)
	@$(GL)
	$(BIN)/dreamer train $(ARGS)

view: $(VENV)/.installed-onnx ## Write a page to steer the dream of runs in ARGS="runs/swingup-1"
	@$(GL)
	$(BIN)/python -m dreamer.view.runtime
	$(if $(ARGS),$(BIN)/dreamer view $(ARGS))

# A process that has run out of tests takes some of another's. Each has up to 2 GB of memory.
test: $(VENV)/.installed-dev ## Run the fast test suite on all cores; pytest's options in ARGS="-n 0 -m gpu"
	@$(GL)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

lint: $(VENV)/.installed-dev ## Check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-dev ## Check the types
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev ## Put imports in order and format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

tables: $(VENV)/.installed ## Write the tables of results into README.md and docs/results
	$(BIN)/python scripts/tables.py

lock: ## Write the newest versions of all dependencies to constraints.txt
	scripts/lock.sh $(PYTHON) constraints.txt

clean: ## Remove the virtual environment and all caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make the second call quick: pip runs again only when the project's needs have changed.
$(VENV)/.installed: pyproject.toml constraints.txt scripts/install-venv.sh
	scripts/install-venv.sh $(PYTHON) $(VENV) . constraints.txt
	@touch $@

$(VENV)/.installed-onnx: pyproject.toml constraints.txt scripts/install-venv.sh
	scripts/install-venv.sh $(PYTHON) $(VENV) '.[onnx]' constraints.txt
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt scripts/install-venv.sh
	scripts/install-venv.sh $(PYTHON) $(VENV) '.[dev,test-envs]' constraints.txt
	@touch $@ $(VENV)/.installed $(VENV)/.installed-onnx
