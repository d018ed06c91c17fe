# `make` lists what there is. Nothing is installed outside $(VENV).

# The interpreter to build on; empty: the first below that runs, is 3.11 to 3.13 and can make a
# virtual environment. (A command may exist and yet not run, as version managers' stand-ins do.)
PYTHON ?=
PYTHONS = python3.13 python3.12 python3.11 python3 python
VENV ?= .venv
# Extras to install besides, as EXTRAS=cuda or EXTRAS=tf,cuda (setup.cfg has the list).
EXTRAS ?=
# Two workers suit two cores; a file stays on one worker, so that its compiled programs are shared.
PYTEST_ARGS ?= -n 2 --dist loadfile

SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
BIN = $(VENV)/bin
comma := ,
INSTALLED = $(VENV)/.installed$(if $(EXTRAS),-$(subst $(comma),-,$(EXTRAS)))
INSTALLED_DOCS = $(VENV)/.installed-docs
INSTALLED_DEV = $(VENV)/.installed-dev$(if $(EXTRAS),-$(subst $(comma),-,$(EXTRAS)))

.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     install, show the shipped models on bundled pictures, write a report"
	@echo "make install  install into $(VENV) (EXTRAS=cuda, cuda13, tpu or tf adds those)"
	@echo "make test     install with the test tools, lint, run the tests (PYTEST_ARGS=...)"
	@echo "make lint     ruff alone"
	@echo "make docs     install with Sphinx, build the documentation as a site, build/docs/index.html"
	@echo "make clean    remove $(VENV), caches and build products; runs/ stays"
	@echo ""
	@echo "PYTHON=/path/to/python picks the interpreter (3.11 to 3.13), VENV=DIR the environment."

$(VENV)/.created:
	@unsuited=; without=; chosen=; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)); do \
	  if ! "$$candidate" -c "$(SUITABLE)" >/dev/null 2>&1; then \
	    unsuited="$$unsuited $$candidate"; \
	  elif ! "$$candidate" -c "import ensurepip, venv" >/dev/null 2>&1; then \
	    without="$$without $$candidate"; \
	  else chosen="$$candidate"; break; fi; \
	done; \
	if [ -n "$$chosen" ]; then :; \
	elif [ -n "$$without" ]; then \
	  echo "make: error:$$without cannot make a virtual environment (no venv or ensurepip);" \
	    "install it (Debian, Ubuntu: apt-get install python3-venv), or name another with" \
	    "PYTHON=/path/to/python" >&2; exit 1; \
	else \
	  echo "make: error: no Python 3.11 to 3.13 that runs (tried:$$unsuited);" \
	    "install one, or name it with PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	echo "Creating $(VENV) with $$("$$chosen" --version) ($$chosen)"; \
	"$$chosen" -m venv "$(VENV)" && touch $@

$(INSTALLED): setup.cfg pyproject.toml $(VENV)/.created
	@echo "Installing into $(VENV) (about 1 GB; some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -e ".$(if $(EXTRAS),[$(EXTRAS)])"
	@touch $@

$(INSTALLED_DEV): setup.cfg pyproject.toml $(VENV)/.created
	@echo "Installing into $(VENV), with the test tools (about 1 GB; some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -e ".[dev$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	@touch $(INSTALLED) $@

$(INSTALLED_DOCS): setup.cfg pyproject.toml $(VENV)/.created
	@echo "Installing into $(VENV), with Sphinx (about 1 GB; some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@touch $@

install: $(INSTALLED)
	@echo "Ready: $(BIN)/scs-jax --help"

demo: $(INSTALLED)
	$(BIN)/scs-jax demo

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .

test: lint
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)

# The source folder is the whole tree (docs/conf.py says why); a warning is an error.
docs: $(INSTALLED_DOCS)
	$(BIN)/python -m sphinx -q -W -c docs . build/docs
	@echo "The site: build/docs/index.html"

clean:
	rm -rf "$(VENV)" .cache .pytest_cache .ruff_cache build dist *.egg-info
	find scs_jax configs tests -name __pycache__ -type d -prune -exec rm -rf {} +
