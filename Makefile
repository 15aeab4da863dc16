# Thin names over the commands of the gate. PYTHON=... chooses another interpreter than the one in .venv.
PYTHON ?= .venv/bin/python
STORE ?= sqlite
HOSTILE ?=

export PYRIGHT_PYTHON_GLOBAL_NODE ?= $(if $(shell command -v node),on,off)

.PHONY: fmt check test conformance bench docs hostile mutants simulate weather weather-long nightly

fmt:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy --strict examples benchmarks
	$(PYTHON) -m pyright --pythonpath $(PYTHON)
	$(dir $(PYTHON))lint-imports

test:
	$(PYTHON) -m pytest

conformance:
	$(PYTHON) -m pytest tests/conformance/test_$(STORE).py

bench:
	$(PYTHON) -m benchmarks all --peers

docs:
	$(PYTHON) -m pytest tests/docs

mutants:
	$(PYTHON) -m tests.mutants

hostile:
	$(PYTHON) -m tests.hostile $(HOSTILE)

simulate:
	$(PYTHON) -m durable_testing.soak --minutes 0 --simulations 2000 --exhaustive --no-marks

# Real processes, disks, power cuts, hostile input, the threats, a long life: under five minutes, and for hours.
WEATHER = tests/storm tests/power tests/input tests/security tests/longlife tests/crash/real tests/unit/sqlite/test_bad_disks.py

weather:
	$(PYTHON) -m tests.storm --seconds 60
	$(PYTHON) -m pytest $(WEATHER)

weather-long:
	$(PYTHON) -m tests.storm --seconds 1800
	$(PYTHON) -m tests.power --minutes 30
	$(PYTHON) -m tests.longlife --runs 100000
	$(PYTHON) -m tests.longlife --runs 100000 --processes 2
	$(PYTHON) -m pytest -m nightly $(WEATHER)

nightly:
	$(PYTHON) -m pytest -m nightly
	$(PYTHON) -m durable_testing.soak --minutes 120
