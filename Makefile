# Everything sets itself up: Python 3.11+, make and a package index are enough.
PYTHON ?= python3
PORT ?= 3000
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
SYNCED := .venv/.synced
# A file at a time goes to whichever core is free, the long ones first (conftest.py).
PYTEST := .venv/bin/pytest -q -n auto --dist loadfile --no-loadscope-reorder
export UV_PYTHON ?= $(PYTHON)
export UV_PYTHON_DOWNLOADS ?= never
export DO_NOT_TRACK = 1

.PHONY: help run unit test test-all chaos spark bench lint audit fuzz docs dev
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: $(SYNCED) ## the main job: land (a generated sample if landing/ is empty), refresh every month, publish
	.venv/bin/retail run

unit: $(SYNCED) ## the quick half of the tests: functions and small pieces
	$(PYTEST) -m "not slow and not integration"

test: $(SYNCED) ## the tests: functions, small pieces, and whole runs on small samples
	$(PYTEST) -m "not slow"

test-all: $(SYNCED) ## the tests, and the slow ones: real data, daemons, browsers
	.venv/bin/pytest -q

chaos: $(SYNCED) ## kill, fill, damage and crowd real runs, and count what was survived; takes an hour, and root for the disks
	.venv/bin/python -m retail_assets_tests.chaos

lint: $(SYNCED) ## linters, formatters, types, definitions, generated files
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/sqlfluff lint --config dbt_sql/.sqlfluff dbt_sql
	.venv/bin/python -m retail_assets.documents --check
	DAGSTER_HOME="$$(.venv/bin/retail home)" VIRTUAL_ENV="$(CURDIR)/.venv" .venv/bin/dg check defs

audit: $(SYNCED) ## known vulnerabilities of the locked dependencies (where the network allows), licences
	.venv/bin/python .ci/audit.py $(UV)

fuzz: $(SYNCED) ## land thousands of damaged and hostile files, and count every line
	.venv/bin/python -m retail_assets_tests.fuzz --cases 10000 --seed 1

docs: $(SYNCED) ## write the files that are generated from the contracts
	.venv/bin/python -m retail_assets.documents

dev: $(SYNCED) ## the Dagster UI on http://127.0.0.1:3000
	DAGSTER_HOME="$$(.venv/bin/retail home)" RETAIL_WEBSERVER_URL=http://127.0.0.1:$(PORT) .venv/bin/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

bench: $(SYNCED) ## measure side by side with the alternatives; FULL=1 for large sizes, WRITE=FILE for a page
	$(UV) sync --frozen --quiet --inexact --group bench
	.venv/bin/python benchmarks/run_all.py $(if $(FULL),--full) $(if $(WRITE),--write $(WRITE))

spark: $(SYNCED) ## add Apache Spark, the optional engine (docs/spark.md)
	$(UV) sync --frozen --quiet --compile-bytecode --extra spark

$(SYNCED): pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet uv==0.13.9
