# quickstart: from text to a catalogue of features. test, check, bench, docs: for those who change the code. test-peers: what
# other libraries compute from the same files, in an environment of their own, PEERS.
# Needs Python >= 3.11 and make. VENV, PYTHON, ARGS and TORCH_INDEX can be given on the command line, for example
#   make quickstart ARGS="--no-serve --out my-run" PYTHON=python3.13
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
ARGS ?=
TORCH_INDEX ?=
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt

.PHONY: quickstart test test-peers check bench docs
.NOTPARALLEL:

quickstart: $(VENV)/installed
	$(BIN)/monoscope quickstart $(ARGS)

# what one of the processes has compiled to bytecode the others read
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-peers: $(VENV)/installed-test $(PEERS)/installed
	MONOSCOPE_PEERS=$(abspath $(PEERS))/bin/python $(BIN)/python -m pytest -m peers tests/peers $(ARGS)

check: $(VENV)/installed-test $(VENV)/installed-dev docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/installed
	$(BIN)/monoscope bench train --sizes 512x4096 --architectures all --rounds 1
	$(BIN)/python benchmarks/bench_harvest.py

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs -q build --strict

# torch comes first and alone, so that a CPU wheel that pip is told of is taken and nothing else is pulled in for it
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP) -e .
	touch $@

$(PEERS)/installed:
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PEERS)/bin/python -m pip --disable-pip-version-check install -q \
	  sae-lens==6.54.12 dictionary-learning==0.1.0 eai-sparsify==1.3.3 llamascopium==2.0.0b34
	touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(PIP) -e ".[$*]"
	touch $@
