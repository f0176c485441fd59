# The lab's commands. Each sets up .venv by itself when it must.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder
# An option, if the variable was said to make: the environment's COLUMNS is how wide the terminal is.
said = $(if $(filter command,$(origin $1)),$2 "$($1)")

.PHONY: report test soak mutants lab student study bench standings clean

report: $(VENV)/.lab     # run every notebook for real and write report/index.html; DATA=my.csv: report-own/, about your own points, of the columns COLUMNS=lon,lat, with LABEL=kind, MISSING=drop; PDF=1: printed, too
	$(BIN)/python -m lab_utils.report $(if $(DATA),--data "$(DATA)") $(call said,COLUMNS,--columns) $(call said,LABEL,--label) $(call said,MISSING,--missing) $(if $(PDF),--pdf) $(ARGS)

test: $(VENV)/.test      # style, types, unit tests, and every notebook as a regression test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(PARALLEL) $(ARGS)

# what is too long for every change: hundreds of kills, ten thousand inputs, a long day, other threads and processors,
# the notebooks in another order; and all tests in another order
OFTEN := measure/test_intervals.py test_survival.py test_disk.py runs/test_fit.py base/test_tensors.py test_fuzz.py test_properties.py test_shape_contract.py
soak: $(VENV)/.test
	DDPM_LAB_SOAK=1 $(BIN)/pytest --no-cov --durations 0 -rP $(PARALLEL) tests/long $(OFTEN:%=tests/%) $(ARGS)
	$(BIN)/pytest --no-cov $(PARALLEL) --random-order --random-order-seed=$$$$ tests

mutants: $(VENV)/.test   # a test of the tests: small mistakes in four modules, one at a time; which does no test notice?
	$(PIP) --editable '.[mutation]'
	$(BIN)/mutmut run $(ARGS)
	$(BIN)/mutmut results

lab: $(VENV)/.lab        # open JupyterLab in notebooks/
	$(BIN)/jupyter lab notebooks $(ARGS)

student: $(VENV)/.lab    # write student/ and student.zip: the notebooks without their solutions, to hand out
	$(BIN)/python -m lab_utils.exercises.student $(ARGS)

study: $(VENV)/.lab      # train, sample and measure what data/study.csv and data/samplers.csv lack (hours, if all of it)
	$(BIN)/python -m lab_utils.study $(ARGS)

bench: $(VENV)/.lab      # set the lab beside its peers, on this machine: report/bench.html (three quarters of an hour)
	@$(MAKE) --no-print-directory $(VENV)/.bench || echo "Not all peers could be installed; the page says who is missing."
	PYTHONPATH=tests $(BIN)/python -m benchmarks.bench $(ARGS)

standings: $(VENV)/.lab  # measure what data/standings.csv lacks: the lab, kernel estimates and the peers on the lab's own data (an hour, if all of it)
	@$(MAKE) --no-print-directory $(VENV)/.bench || echo "Not all peers could be installed; their rows are left out."
	PYTHONPATH=tests $(BIN)/python -m benchmarks.standings $(ARGS)

clean:                   # take away what running made: the environment, trained models, the report, student copies
	rm -rf $(VENV) .cache report report-own student student.zip mutants build ddpm_lab.egg-info
	rm -rf .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

# The stamps are touched last, so an installation that failed is tried again.
$(VENV)/.lab: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "The lab needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % v[:2])'
	@echo "Installing what the lab needs into $(VENV); the first time, that takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.lab
	$(PIP) --editable '.[test]'
	@touch $@

# The extra "bench", a peer at a time, so that one which can't be installed stops no other. smalldiffusion comes without
# what it asks for: torchvision is made for one build of torch alone, and nothing of it is used here.
$(VENV)/.bench: $(VENV)/.lab
	@failed=0; \
	$(PIP) diffusers || failed=1; \
	$(PIP) accelerate einops && $(PIP) --no-deps smalldiffusion || failed=1; \
	test $$failed = 0
	@touch $@
