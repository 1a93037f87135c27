# Everything runs in the project's own virtual environment, made on first use and again when pyproject.toml changes.
# A CPU build of torch: TORCH is what pip is asked for first; add TORCH_ARGS="--index-url ..." to take it from an index of CPU builds.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
BIN := $(VENV)/bin
# Where benchmarks leave their figures; notebooks/results is the folder that the repository keeps.
RESULTS ?= out/bench
BENCH = $(BIN)/python -m dualrec.solvers.bench --json $(RESULTS)/$@.json
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup nightly test test-slow check format bench bench-2m bench-25m bench-200m bench-1g bench-restart bench-stream bench-distributed bench-device bench-table notebook clean
help:
	@echo "make nightly    one night on the built-in world: a table and a report"
	@echo "make test       the fast tests"
	@echo "make test-slow  all tests, the slow ones too"
	@echo "make check      lint, format and types"
	@echo "make bench      solvers side by side on instances of 2 M edges, a few minutes"
	@echo "make bench-2m   the same on all families; bench-25m, bench-200m, bench-1g: larger ones, up to hours"
	@echo "make bench-restart  restarts beside cold solves, 25 M edges, a few minutes"
	@echo "make bench-stream  a day of uploads answered one by one beside the optimum in hindsight, ten minutes"
	@echo "make bench-distributed  workers on Ray beside one process, 10 to 200 M edges, five minutes"
	@echo "make bench-device  the auction and the exact search on a GPU beside their floors; without one a small size on the CPU"
	@echo "make bench-table RESULTS=notebooks/results  writes the table of the results kept there"
	@echo "make notebook   runs the notebooks and keeps their figures, ten minutes"

setup: $(VENV)/.ready
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dualrec needs Python 3.11 or newer, found " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH_ARGS) $(TORCH)
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

$(VENV)/.checkers: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -e '.[check]'
	mkdir -p .typing && ln -sfn .. .typing/dualrec
	touch $@

nightly: setup
	$(BIN)/dualrec nightly --config configs/nightly.yaml

test: setup
	$(BIN)/python -m pytest -m "not slow and not real_data"

test-slow: setup
	$(BIN)/python -m pytest -m "not real_data"

check: $(VENV)/.checkers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	cd .typing && ../$(BIN)/mypy --config-file ../pyproject.toml -p dualrec.solvers -p dualrec.models -p dualrec.alloc

format: $(VENV)/.checkers
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BENCH) --size 2M --family skewed,tight,ratings --gap 2e-3,2.5e-4 --time-limit 60

bench-2m: setup
	$(BENCH) --size 2M --gap 2e-3,1e-3,2.5e-4

bench-25m: setup
	$(BENCH) --size 25M --family skewed,tight --gap 2e-3,1e-3,2.5e-4 --time-limit 1200

bench-200m: setup
	$(BENCH) --size 200M --family skewed,lists --gap 1e-3 --threads 1,2

bench-1g: setup
	$(BENCH) --size 1G --family skewed --gap 1e-3 --solver auction,first-come --time-limit 3600

bench-restart: setup
	$(BIN)/python -m dualrec.solvers.bench_restart

bench-stream: setup
	$(BIN)/python -m dualrec.solvers.bench_stream

bench-distributed: setup
	$(BIN)/python -m dualrec.solvers.distributed.bench --millions 10 50 200 --json $(RESULTS)/distributed/rounds.json

bench-device: setup
	$(BIN)/python -m dualrec.alloc.bench_device --json $(RESULTS)/device.json

notebook: setup
	$(BIN)/jupyter execute --inplace --NotebookClient.record_timing=False notebooks/*.ipynb

bench-table: setup
	$(BIN)/python -m dualrec.solvers.bench_table $(RESULTS)

clean:
	rm -rf $(VENV) .typing build dist *.egg-info
