# Two commands do everything: `make demo` and `make test`. Both set up first; set-up is quick when nothing changed.
# `make fuzz` attacks for longer than the tests can.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Nothing is compiled when it is installed: the first process that imports a module writes its
# bytecode, also where the environment asks for none, or each would compile torch anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test suite lecture docs notebooks dist fuzz setup lint format clean

demo: setup  ## train, evaluate and sample on real data, and name the report
	$(BIN)/caudal demo --out runs/demo

test: setup  ## lint, types and every test, side by side: types take one core, and the tests what is left
	$(MAKE) --jobs 2 lint suite

suite: setup  ## every test; a file's tests share runs, so one process has them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lecture: setup  ## the figures of docs/lecture.md, on MNIST and CIFAR-10 if they are at hand, else on digits
	cd benchmarks && OMP_NUM_THREADS=1 ../$(BIN)/python lecture.py

notebooks: setup  ## the first hour of each kind of user, run in minutes; build/notebooks has them with their output, as .ipynb and .md
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[notebooks,fast]'
	mkdir -p build/notebooks
	for name in notebooks/*.py; do \
	  OMP_NUM_THREADS=1 $(BIN)/jupytext --quiet --to ipynb --execute $$name --output build/notebooks/$$(basename $$name .py).ipynb || exit 1; done
	$(BIN)/jupyter nbconvert --log-level=WARN --to markdown build/notebooks/*.ipynb

docs: setup  ## the site, in build/site: pages, reference, search, nothing from a CDN; read it by python -m http.server -d build/site
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python site/assemble.py build/pages
	$(BIN)/zensical build --strict --clean

# The wheel brings torch along; TORCH=torch==2.13.0 pins another package of it than pip would choose.
TORCH ?= torch
dist:  ## the wheel and the source distribution, checked, and `caudal demo` by the wheel in a fresh environment
	rm -rf dist && $(PYTHON) -m venv --clear .venv-dist
	.venv-dist/bin/python -m pip install --quiet build twine
	.venv-dist/bin/python -m build
	.venv-dist/bin/twine check --strict dist/*
	.venv-dist/bin/python -m pip install --quiet '$(TORCH)' dist/*.whl
	cd dist && ../.venv-dist/bin/caudal --version && ../.venv-dist/bin/caudal demo --out ../runs/dist-demo

fuzz: setup  ## damaged files and hostile arguments by the thousand, and kills of every command that writes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz.py --count 500
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/kills.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-dist .cache runs dist build
