# Each of these works on a fresh Debian or Ubuntu machine: what is missing is installed first.
PYTHON := .venv/bin/python

# Everything runs on SQLite; what depends on the database runs on PostgreSQL too.
ON_POSTGRESQL := $(addprefix tests/test_,models.py events.py services.py retry.py races.py sweep.py trials.py drafts.py end_to_end.py faults.py order.py recognised_store.py timings.py)
# Four at a time: most of the time goes into waiting for processes to start and faults to heal.
TOGETHER := -n 4 --dist worksteal

.PHONY: setup setup-dev setup-test setup-bench run test check bench

setup:
	@bin/setup

setup-dev:
	@bin/setup dev

setup-test:
	@bin/setup test

setup-bench:
	@bin/setup bench

# The signal: if make itself is killed, the server must not live on.
run: setup
	@setpriv --pdeathsig TERM $(PYTHON) manage.py serve

test: setup-test
	@$(PYTHON) -m pytest $(TOGETHER)
	@TEST_DATABASE=postgresql $(PYTHON) -m pytest $(TOGETHER) $(ON_POSTGRESQL)

check: setup-dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --config pyproject.toml
	@$(PYTHON) -m tests.environment manage.py makemigrations --check --dry-run --verbosity 0

bench: setup-bench
	@$(PYTHON) -m benchmarks.run
