# Each target sets up .venv first if it has to, and works on a machine that has only Python 3.11, 3.12 or 3.13, git and
# make. PYTHON=python3.12 make lab   picks the Python.

.PHONY: help setup lab visdom test quick browser offline lowest newest bench course colab release notebooks students lint format requirements clean
.DELETE_ON_ERROR:
PY := .venv/bin/python

help:
	@echo "make lab      open the course in JupyterLab   (FOLDER=students: the copies without outputs; LAB_ARGS=\"--no-browser --port 9999\")"
	@echo "make visdom   run the visdom server that VisdomWindows draws in   (VISDOM_ARGS=\"--port 9999\")"
	@echo "make test     run every test and every notebook   (ARGS=\"tests/course/test_setup.py -x\": only pytest, with these arguments)"
	@echo "make quick    run the unit tests of networks, data, training and measures, in a minute"
	@echo "make browser  run every notebook in JupyterLab in a headless browser (make test runs only one there)"
	@echo "make offline  run every notebook where there is no network at all (Linux)"
	@echo "make lowest   run every test and every notebook with the lowest versions that pyproject.toml allows (needs uv)"
	@echo "make newest   the same with the newest versions, pre-releases too (needs uv)"
	@echo "make bench    compare the speed of training with the usual pipeline, in a few minutes on an idle machine"
	@echo "make course   write each notebook, with its stored outputs, to build/ as a page"
	@echo "make students write the notebooks without outputs to students/, and a zip of them to build/"
	@echo "make colab    point badges and set-up cells at another repository   (REPO=owner/name REVISION=main)"
	@echo "make release  set version and links, commit and tag   (VERSION=0.3.0)"
	@echo "make notebooks  execute notebooks from a clean kernel and store their outputs   (ARGS=\"03 08\")"
	@echo "make lint     check style, types and complexity; make format fixes the style"
	@echo "make clean    remove .venv, build/ and caches; data/ stays"
	@echo "PYTHON=python3.12 make lab   picks the Python for .venv: 3.11, 3.12 or 3.13"

# --- .venv

FITS := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
WRONG = This course needs Python 3.11, 3.12 or 3.13. Name one: PYTHON=/path/to/python3.12 make lab
PIP := $(PY) -m pip install

# If PYTHON is not the Python of .venv, .venv is made anew. If the course was moved, .venv is set up again.
ifdef PYTHON
ifneq ($(shell "$(PYTHON)" -V 2>/dev/null),$(shell $(PY) -V 2>/dev/null))
ANEW := --clear
.PHONY: .venv/.set-up
endif
endif
ifneq ($(shell cat .venv/.set-up 2>/dev/null),$(CURDIR))
.PHONY: .venv/.set-up
endif
NAMES := $(PY) python3.13 python3.12 python3.11 python3 python
BASE = $(or $(PYTHON),$(shell for one in $(NAMES); do $$one $(FITS) && echo $$one && break; done))

# Written last, so that a set-up that was cut off runs again; venv and pip then add what is missing.
# setuptools first and then no build isolation, because visdom for Python 3.11 is built here (see pyproject.toml).
setup: .venv/.set-up
.venv/.set-up: requirements.txt pyproject.toml
	@"$(BASE)" $(FITS) || { echo "$(WRONG)" >&2; exit 1; }
	@echo "Setting up .venv (the first time takes minutes, and 6 GB on Linux)"
	@"$(BASE)" -m venv $(ANEW) .venv
	@$(PIP) $$(grep '^setuptools==' requirements.txt)
	@$(PIP) --no-build-isolation -r requirements.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@echo "$(CURDIR)" > $@

# --- the course

# On this computer only, behind JupyterLab's own token. JupyterLab asks root to confirm with --allow-root.
lab: setup
	cd $(or $(FOLDER),notebooks) && ../$(PY) -m jupyterlab --ip 127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

# On this computer only, without a password. Ctrl-C stops it.
visdom: setup
	$(PY) -m resnet_lesson visdom $(VISDOM_ARGS)

# Two processes, with one thread each, take one file at a time; conftest.py begins with the longest. With ARGS there is
# one process, with exactly these arguments.
TWO = OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 300 --nbval-sanitize-with tests/nbval_sanitize.cfg
TESTS = $(if $(ARGS),$(PY) -m pytest $(ARGS),$(TWO) $(NBVAL) tests notebooks)
test: setup
	$(TESTS)

# The core, without the tests that are slow, or that start processes or a compiler.
ELSE := parallel or reproduce or transfer_study or process or kill or ctrl_c or jupyter or compiled or 1202
CORE := -m "not slow and not every_notebook" -k "not ($(ELSE))" $(addprefix tests/,models datasets training inside)
quick: setup
	$(TWO) $(CORE) $(ARGS)

browser: setup
	$(PY) -m pytest -m "browser or every_notebook" tests/course/test_browser.py tests/course/test_alone.py $(ARGS)

# With no network but this machine's own loopback, over which the kernels talk.
offline: setup
	@unshare -rn ip link set lo up || { echo "This needs Linux, and the right to make a network namespace" >&2; exit 1; }
	unshare -rn sh -c 'ip link set lo up && exec "$$@"' sh env $(TWO) $(NBVAL) notebooks

# The tests of make test, in an environment of its own in build/, which uv makes.
lowest: PYTHON ?= 3.11
lowest: FLAGS = --resolution lowest-direct
newest: PYTHON ?= 3.13
newest: FLAGS = --prerelease allow
lowest newest: PY = build/$@/bin/python
lowest newest:
	uv venv --quiet --clear --seed --python $(PYTHON) build/$@
	uv pip install --quiet --python build/$@ $(FLAGS) --editable ".[lab,visdom,test]"
	uv pip list --quiet --python build/$@ | grep -E "^(torch|numpy|matplotlib|ipykernel|jupyterlab|pytest)"
	$(TESTS)

bench: setup
	$(PY) benchmarks/throughput.py

course: setup
	$(PY) tools/course.py

# One address in pyproject.toml, README.md, every notebook and its student copy: make colab REPO=owner/name REVISION=main
colab: setup
	$(PY) tools/notebooks.py link $(REPO) $(if $(REVISION),--revision $(REVISION))

# Links then name the new tag: make release VERSION=0.3.0
release: setup
	$(PY) tools/release.py $(VERSION)

# What a class gets: the notebooks without outputs, as a folder and a zip.
students: setup
	$(PY) tools/notebooks.py students

# From a clean kernel, for a commit: make notebooks ARGS="03 08"
notebooks: setup
	$(PY) tools/notebooks.py execute $(ARGS)

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# The newest versions that go together, for every Python and system at once (needs uv). What is left out and why:
# see the top of requirements.txt.
requirements:
	@mkdir -p build
	uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --all-extras \
		--no-header --no-annotate --output-file build/requirements.new --upgrade pyproject.toml
	@{ sed -n '/^#/p' requirements.txt; grep -vE '^(cuda|nvidia|triton)' build/requirements.new; } > build/requirements.txt
	@mv build/requirements.txt requirements.txt && rm build/requirements.new

clean:
	rm -rf .venv build .pytest_cache .ruff_cache .mypy_cache *.egg-info
	find resnet_lesson notebooks tests benchmarks -name __pycache__ -o -name .ipynb_checkpoints 2>/dev/null | xargs rm -rf
