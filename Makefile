# The lab's commands. Each sets up .venv by itself when it must.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: report test lab bench clean

report: $(VENV)/.lab     ## run every notebook for real and write report/index.html
	$(BIN)/python -m lab_utils.report $(ARGS)

test: $(VENV)/.test      ## style, types, unit tests, and every notebook as a regression test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(ARGS)

lab: $(VENV)/.lab        ## open JupyterLab in notebooks/
	cd notebooks && ../$(BIN)/jupyter lab $(ARGS)

bench: $(VENV)/.lab      ## how fast training and sampling are on this machine
	$(BIN)/python tests/benchmarks/speed.py $(ARGS)

clean:                   ## take away what running made, the environment too
	rm -rf $(VENV) .cache report

$(VENV)/.lab: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "The lab needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.lab
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@
