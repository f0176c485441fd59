# The commands that need this folder; the Makefile above it takes them in.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: test soak mutants bench standings

test: $(VENV)/.test      # style, types, unit tests, and every notebook as a regression test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(PARALLEL) $(ARGS)

# what is too long for every change: hundreds of kills, ten thousand inputs, a long day, other threads and processors,
# the notebooks in another order; and all tests in another order, with their coverage, which costs a third of their time
OFTEN := measure/test_intervals.py test_survival.py test_disk.py runs/test_fit.py base/test_tensors.py test_fuzz.py test_properties.py test_shape_contract.py
soak: $(VENV)/.test
	DDPM_LAB_SOAK=1 $(BIN)/pytest --durations 0 -rP $(PARALLEL) tests/long $(OFTEN:%=tests/%) $(ARGS)
	$(BIN)/pytest --cov=lab_utils --cov-report=term:skip-covered $(PARALLEL) --random-order --random-order-seed=$$$$ tests

mutants: $(VENV)/.test   # a test of the tests: small mistakes in five modules, one at a time; which does no test notice?
	$(PIP) --editable '.[mutation]'
	$(BIN)/mutmut run $(ARGS)
	$(BIN)/mutmut results

bench: $(VENV)/.lab      # set the lab beside its peers, on this machine: report/bench.html (hours; goes on where it was interrupted)
	@$(MAKE) --no-print-directory $(VENV)/.bench || echo "Not all peers could be installed; the page says who is missing."
	PYTHONPATH=tests $(BIN)/python -m benchmarks.bench $(ARGS)

standings: $(VENV)/.lab  # measure what data/standings.csv lacks: the lab, kernel estimates and the peers on the lab's own data (an hour, if all of it)
	@$(MAKE) --no-print-directory $(VENV)/.bench || echo "Not all peers could be installed; their rows are left out."
	PYTHONPATH=tests $(BIN)/python -m benchmarks.standings $(ARGS)

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
