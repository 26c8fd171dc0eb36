# Everything a user does; `make help` lists it. Variables can be given on the command line: make bench TRIALS=10

PYTHON ?= python3
VENV ?= .venv
SUITE ?= libero_object
METHOD ?=
POLICY ?=
TRIALS ?= 2
TASKS ?=
RUN ?=
OUT ?=
ASSETS ?=
PROTOCOL ?= oft
SEED ?= 0
THREADS ?=
VIDEO ?= on
ARGS ?=

STAMP := $(VENV)/.installed
RUN_PYTHON := $(VENV)/bin/python
SOURCES := bench envs policies quantizers reports tests

.DEFAULT_GOAL := help
.PHONY: help venv install bench quantize bench-sim bench-quant list preflight report assets pocket test lint clean

help: ## show targets and variables
	@echo "targets:"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo "variables (make bench SUITE=libero_object METHOD=\"rtn:w8a8,qvla\" TRIALS=10):"
	@echo "  SUITE       suite to run, see make list                     now: $(SUITE)"
	@echo "  METHOD      quantization methods, separated by blanks; empty: qvla  now: $(METHOD)"
	@echo "  POLICY      policy, or folder of a saved variant; empty: the suite's own  now: $(POLICY)"
	@echo "  TRIALS      official init states per task and variant       now: $(TRIALS)"
	@echo "  TASKS       task indices such as 0,2,5-7; empty: all        now: $(TASKS)"
	@echo "  RUN         name of the folder below runs/; empty: made of suite, policy, methods  now: $(RUN)"
	@echo "  OUT         folder that make quantize writes; empty: variants/POLICY-METHOD  now: $(OUT)"
	@echo "  ASSETS      builtin or official; empty: the suite's first   now: $(ASSETS)"
	@echo "  LIBERO_ASSETS  LIBERO's asset folder for ASSETS=official; empty: download  now: $(LIBERO_ASSETS)"
	@echo "  PROTOCOL    how episodes are played, see make list          now: $(PROTOCOL)"
	@echo "  SEED        every random number derives from it             now: $(SEED)"
	@echo "  THREADS     CPU threads of the policy; empty: all           now: $(THREADS)"
	@echo "  VIDEO       on or off                                       now: $(VIDEO)"
	@echo "  ARGS        further options, see $(VENV)/bin/qvla-bench bench --help"
	@echo "  PYTHON      interpreter (3.11 or newer) that makes $(VENV)     now: $(PYTHON)"

venv: $(STAMP) ## create .venv with exactly the versions of constraints.txt

install: venv ## the same as venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is too old; name Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(RUN_PYTHON) || $(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# Its dependency list would bring robomimic, wandb, thop and torchvision; the simulator imports none of them.
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps hf-libero
	@touch $@

bench: $(STAMP) ## run SUITE with full precision and METHOD; the same command resumes what was interrupted
	@$(VENV)/bin/qvla-bench bench --suite '$(SUITE)' $(if $(METHOD),--method '$(METHOD)') --trials '$(TRIALS)' --seed '$(SEED)' \
	  --protocol '$(PROTOCOL)' $(if $(filter off,$(VIDEO)),--no-video,--video) \
	  $(if $(POLICY),--policy '$(POLICY)') $(if $(TASKS),--tasks '$(TASKS)') $(if $(RUN),--run '$(RUN)') \
	  $(if $(ASSETS),--assets '$(ASSETS)') $(if $(THREADS),--threads '$(THREADS)') $(ARGS)

quantize: $(STAMP) ## quantize POLICY with METHOD and save it in OUT; run it with make bench POLICY=<OUT>
	@$(VENV)/bin/qvla-bench quantize $(if $(METHOD),--method '$(METHOD)') $(if $(POLICY),--policy '$(POLICY)') \
	  $(if $(OUT),--out '$(OUT)') $(if $(THREADS),--threads '$(THREADS)') $(ARGS)

bench-sim: $(STAMP) ## compare the simulator's speed with that of the stock loop (minutes)
	@$(RUN_PYTHON) -m bench.sim $(ARGS)

bench-quant: $(STAMP) ## compare the methods with each other and with what is promised of them (an hour with ARGS=--table)
	@$(RUN_PYTHON) -m bench.quant $(ARGS)

list: $(STAMP) ## what there is to choose from, and what it needs
	@$(VENV)/bin/qvla-bench list

preflight: $(STAMP) ## check versions, renderer, assets, pictures, an episode and disk space
	@$(VENV)/bin/qvla-bench doctor $(ARGS)

report: $(STAMP) ## write the reports of RUN again
	@$(VENV)/bin/qvla-bench report '$(RUN)'

assets: $(STAMP) ## build the asset files of SUITE and say where they are
	@$(VENV)/bin/qvla-bench assets path --suite '$(SUITE)' $(if $(ASSETS),--assets '$(ASSETS)')

pocket: $(STAMP) ## train the pocket policy again (hours; its weights are in the package)
	$(RUN_PYTHON) -m bench.pocket $(ARGS)

test: $(STAMP) ## pass the tests
	$(RUN_PYTHON) -m pytest $(ARGS)

lint: $(STAMP) ## check style
	$(RUN_PYTHON) -m ruff check $(SOURCES)

clean: ## delete .venv and caches; runs/ and variants/ stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find $(SOURCES) -name __pycache__ -type d -exec rm -rf {} +
