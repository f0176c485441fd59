# The lab's commands. Each sets up .venv by itself when it must.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# An option, if the variable was said to make: the environment's COLUMNS is how wide the terminal is.
said = $(if $(filter command,$(origin $1)),$2 "$($1)")

.PHONY: report lab student study clean

report: $(VENV)/.lab     # run every notebook for real and write report/index.html; DATA=my.csv: report-own/, about your own points, of the columns COLUMNS=lon,lat, with LABEL=kind, MISSING=drop; PDF=1: printed, too
	$(BIN)/python -m lab_utils.report $(if $(DATA),--data "$(DATA)") $(call said,COLUMNS,--columns) $(call said,LABEL,--label) $(call said,MISSING,--missing) $(if $(PDF),--pdf) $(ARGS)

lab: $(VENV)/.lab        # open JupyterLab in notebooks/
	$(BIN)/jupyter lab notebooks $(ARGS)

student: $(VENV)/.lab    # write student/ and student.zip: the notebooks without their solutions, to hand out
	$(BIN)/python -m lab_utils.exercises.student $(ARGS)

study: $(VENV)/.lab      # train, sample and measure what data/study.csv and the study's other tables lack (hours, if all of it)
	$(BIN)/python -m lab_utils.study $(ARGS)

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

# What needs the tests. A student's copy has none, and so it has no such commands.
-include tests/commands.mk
