# Each of these works on a fresh Debian or Ubuntu machine: what is missing is installed first.
PYTHON := .venv/bin/python

.PHONY: setup setup-dev run test check bench

setup:
	@bin/setup

setup-dev:
	@bin/setup dev

# The signal: if make itself is killed, the server must not live on.
run: setup
	@setpriv --pdeathsig TERM $(PYTHON) manage.py serve

test: setup-dev
	@$(PYTHON) -m pytest

check: setup-dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --config pyproject.toml
	@$(PYTHON) -m tests.environment manage.py makemigrations --check --dry-run --verbosity 0

bench: setup-dev
	@$(PYTHON) -m benchmarks.run
