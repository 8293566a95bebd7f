# make demo, make test: a fresh clone needs only Python 3.11+, g++, make, perl and pip.

PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.installed
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# One thread per process: torch with as many threads as cores crawls when the cores are shared.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
# Do not let the environment of the caller shadow the packages of the clone.
unexport PYTHONPATH

.PHONY: demo test test-long lint table bench bench-quantizers route bitstreams verilog clean distclean help

help:
	@echo "make demo       train, compile, generate, simulate, compare, report -> build/demo"
	@echo "make test       the test suite"
	@echo "make test-long  also the tests that take minutes"
	@echo "make lint       ruff, import-linter, mypy"
	@echo "make table      every scheme with three seeds (an hour a core) -> docs/results.md"
	@echo "make bench      cycles per second of five ways to simulate"
	@echo "make bench-quantizers  our quantizers beside exact scans in plain numpy"
	@echo "make route      place and route the small machine on an ECP5"
	@echo "make bitstreams  manifests and area reports of all presets -> bitstreams/"
	@echo "make verilog    Verilog of the default machine -> build/top.v"
	@echo "make clean      remove build/ (distclean: and .venv)"

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("xnorloom needs Python 3.11 or newer, not %d.%d; name one with make PYTHON=..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m xnorloom.demo --output build/demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-long: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "slow or not slow" $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

table: $(STAMP)
	$(BIN)/python -m xnorloom table --jobs $(JOBS) --output docs $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks.simulation_speed

bench-quantizers: $(STAMP)
	$(BIN)/python -m benchmarks.quantizers

route: $(STAMP)
	$(BIN)/python -m xnorloom route --machine small

bitstreams: $(STAMP)
	$(BIN)/python -m xnorloom.hw.flow.bitstreams

verilog: $(STAMP)
	$(BIN)/python -m xnorloom verilog --machine default -o build/top.v

clean:
	rm -rf build

distclean: clean
	rm -rf .venv
