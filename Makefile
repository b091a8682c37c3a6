# Everything runs from a virtual environment of its own. It needs Python 3.11 or later with venv and pip, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread a worker: two test processes on two cores, and bits that do not depend on the machine.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install demo test slow notebooks lint format bench gallery docs clean

help:
	@echo "make demo    theory and ensemble on real digits; writes report/report.html"
	@echo "make test    the tests, without the slow ones"
	@echo "make slow    the slow tests"
	@echo "make lint    ruff, mypy and the import contracts"
	@echo "make format  let ruff rewrite the files"
	@echo "make notebooks executes notebooks/ and checks what they find"
	@echo "make docs    the documentation site, in site/"
	@echo "make gallery every experiment, in gallery/, and its page in docs/"
	@echo "make bench   the scripts of benchmarks/, with ratios against their peers"
	@echo "make clean   remove the virtual environment and caches"

install: $(STAMP)

# torch comes first and alone: a CPU build where the index has one, and nothing else decides its version.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "repflow needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev,integration,spins,gallery,notebooks,docs]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/repflow report --data digits --inputs 4 --depth 10 --width 64 --activation gelu --out report/

test: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -m "not slow" -n 2

slow: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -m slow -n 2

notebooks: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 tests/test_notebooks.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The speed comparisons. agreement.py and recipe.py are measurements of hours or minutes that are asked for by name.
bench: $(STAMP)
	@set -e; for script in ensemble expectation flow; do \
		echo "== $$script"; $(BIN)/python "benchmarks/$$script.py"; \
	done

# Every claim, run: about a quarter of an hour on two cores. What is whole in gallery/ is kept.
gallery: $(STAMP)
	$(BIN)/repflow experiment run-all --out gallery/
	$(BIN)/python -m repflow.experiments.gallery_docs gallery/ docs/

docs: $(STAMP)
	$(BIN)/python -m website

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .cache site
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
