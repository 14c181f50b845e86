# Needs Python 3.11 to 3.13, make and nothing else. `make` alone prints the targets.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
STAMP := $(VENV)/.installed
PROFILE ?= demo
# Two workers by default: one test process does not fill two cores, and four need more than 8 GB.
PYTEST_WORKERS ?= 2
# Switched on before TensorFlow is imported: seven times faster on CPUs without AVX-512.
export TF_ENABLE_ONEDNN_OPTS ?= 1

.PHONY: help setup report test lint faults pictures audit lab lock clean
help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

setup: $(STAMP)  ## make the environment in .venv (a second run installs nothing)

# The first of these that really starts (a name on the PATH may be an empty shim) and that the locked packages support.
$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	for candidate in $${FLAIRNB_PYTHON:-} python3.12 python3.13 python3.11 python3 python; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
	  then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "error: expected Python 3.11, 3.12 or 3.13 with its venv module; found none on the PATH." \
	       "Install one (Debian, Ubuntu: python3 python3-venv) or name it: make setup FLAIRNB_PYTHON=<path>" >&2; exit 1; \
	fi; \
	if ! "$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then \
	  echo "Making $(VENV) with $$found ..."; "$$found" -m venv --clear $(VENV); \
	fi
	@echo "Installing the locked packages (about 4 GB, about a minute) ..."
	@$(PYTHON) -m pip install --quiet uv && $(PYTHON) -m uv pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes -r requirements.lock \
	  || { echo "uv could not install; trying pip (slower) ..." >&2; $(PYTHON) -m pip install --quiet --require-hashes -r requirements.lock; }
	@$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation -e .
	-@$(PYTHON) -m flairnb.present.lab_extension
	@touch $(STAMP)

report: $(STAMP)  ## run every notebook and leave reports/$(PROFILE)/index.html
	$(BIN)/flairnb run all --profile $(PROFILE)

test: $(STAMP)  ## run the whole test suite
	$(PYTHON) -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

lint: $(STAMP)  ## style, spelling, layers, unsafe code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml flairnb notebooks
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# Tests that try to break something, and what happened: each input, each kill, each full disk. Also fills in the README's table.
faults: $(STAMP)  ## run them and write reports/faults.tsv
	FLAIRNB_FAULTS_TABLE=reports/faults.tsv $(PYTHON) -m pytest tests/bad_input tests/faults tests/prepare/test_killed.py \
	  tests/cohort/test_fetch_bad_server.py tests/cohort/test_fetch_archive.py tests/report/test_same_in_same_out.py $(PYTEST_ARGS)

# Screenshots of notebooks 10 and 11 and of a case page, of a finished demo run; taken by their tests, so they need chromium.
pictures: $(STAMP)  ## take the README's pictures of review, lesson and case page
	FLAIRNB_PICTURES=reports/pictures $(PYTHON) -m pytest tests/browser/test_notebooks.py $(PYTEST_ARGS)

# Needs the internet: known vulnerabilities of the locked packages.
audit: $(STAMP)  ## look the locked packages up in the vulnerability database
	$(PYTHON) -m uv tool run pip-audit --no-deps --disable-pip -r requirements.lock

lab: $(STAMP)  ## open the notebooks in JupyterLab
	-@$(PYTHON) -m flairnb.present.lab_extension
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

lock: $(STAMP)  ## resolve requirements.lock again after a change in pyproject.toml
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(PYTHON) -m uv pip compile pyproject.toml --extra test --extra lint --extra cluster \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -q -o requirements.lock

clean:  ## remove what runs and tools made; keeps .venv, reports/ and fetched data
	rm -rf work build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	find flairnb tests notebooks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
