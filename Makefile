# Everything a user does; `make help` lists it. Variables can be given on the command line: make bench TRIALS=10

PYTHON ?= python3
VENV ?= .venv
SUITE ?= libero_object
METHOD ?=
POLICY ?=
TRIALS ?= 2
TASKS ?=
RUN ?=
RUNS ?=
TIMINGS ?=
FORCE ?=
DEVICE ?= auto
TRIALS_CSV ?= docs/published_trials.csv
OUT ?=
ASSETS ?=
PROTOCOL ?= oft
STEPPING ?=
SEED ?= 0
THREADS ?=
VIDEO ?= on
SUITES ?= libero_object
ROUND ?= 0
EPISODES ?= 40
DRIVER ?= expert
BETA ?=
DATA ?= data/pocket
AA ?=
MARGIN ?= 2
STOP ?= never
LATENCY ?= paused
WORKERS ?=
RUNNER ?= local
BASELINE ?= baseline.json
MODE ?= fast
ARGS ?=

STAMP := $(VENV)/.installed
RAY_STAMP := $(VENV)/.ray
INSTALLED := $(STAMP) $(if $(filter ray,$(RUNNER)),$(RAY_STAMP))
RUN_PYTHON := $(VENV)/bin/python
SOURCES := bench envs policies quantizers reports tests

.DEFAULT_GOAL := help
.PHONY: help venv install bench drift baseline check quantize bench-sim bench-quant parity list preflight report time trials review \
  verify assets pocket pocket-data test lint clean

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
	@echo "  RUNS        runs that make report merges into RUN; FORCE=1 merges what is not of one kind  now: $(RUNS)"
	@echo "  TIMINGS     files of make time for make report              now: $(TIMINGS)"
	@echo "  DEVICE      device of make time, see make list              now: $(DEVICE)"
	@echo "  OUT         what make quantize, time, trials and baseline write; empty: a name made of the rest  now: $(OUT)"
	@echo "  ASSETS      builtin or official; empty: the suite's first   now: $(ASSETS)"
	@echo "  LIBERO_ASSETS  LIBERO's asset folder for ASSETS=official; empty: download  now: $(LIBERO_ASSETS)"
	@echo "  PROTOCOL    how episodes are played, see make list          now: $(PROTOCOL)"
	@echo "  STEPPING    fast, or exact: bit for bit the stock physics; empty: fast  now: $(STEPPING)"
	@echo "  SEED        every random number derives from it             now: $(SEED)"
	@echo "  THREADS     CPU threads of the policy; empty: all           now: $(THREADS)"
	@echo "  VIDEO       on or off                                       now: $(VIDEO)"
	@echo "  SUITES      suites of make pocket-data, separated by blanks now: $(SUITES)"
	@echo "  ROUND       number of the round that make pocket-data collects  now: $(ROUND)"
	@echo "  EPISODES    episodes per task of make pocket-data           now: $(EPISODES)"
	@echo "  DRIVER      expert, a policy, or POLICY:FOLDER that make pocket-data follows  now: $(DRIVER)"
	@echo "  BETA        share of a policy's decisions that the expert drives; empty: 0.3  now: $(BETA)"
	@echo "  DATA        folder of all rounds                            now: $(DATA)"
	@echo "  AA          1: play full precision a second time, for the noise floor  now: $(AA)"
	@echo "  MARGIN      points by which a method may be worse and be non-inferior  now: $(MARGIN)"
	@echo "  STOP        never, or sequential: end a comparison once its verdict is certain  now: $(STOP)"
	@echo "  LATENCY     paused, fixed:MS or device:FILE: time that passes while deciding  now: $(LATENCY)"
	@echo "  WORKERS     processes at the same time; empty: 1, of make pocket-data all cores  now: $(WORKERS)"
	@echo "  RUNNER      local, or ray: on the machines of a Ray cluster  now: $(RUNNER)"
	@echo "  BASELINE    file that make check compares with              now: $(BASELINE)"
	@echo "  MODE        of make check: fast or closed-loop              now: $(MODE)"
	@echo "  ARGS        further options, see $(VENV)/bin/qvla-bench bench --help"
	@echo "  PYTHON      interpreter (3.11 or newer) that makes $(VENV)     now: $(PYTHON)"

venv: $(INSTALLED) ## create .venv with exactly the versions of constraints.txt

install: venv ## the same as venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is too old; name Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(RUN_PYTHON) || $(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[libero,dev]'
	@# Its dependency list would bring robomimic, wandb, thop and torchvision; the simulator imports none of them.
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps hf-libero
	@touch $@

$(RAY_STAMP): $(STAMP)
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@touch $@

RUN_OPTIONS = --suite '$(SUITE)' $(if $(METHOD),--method '$(METHOD)') --trials '$(TRIALS)' --seed '$(SEED)' \
  --protocol '$(PROTOCOL)' $(if $(filter off,$(VIDEO)),--no-video,--video) \
  $(if $(POLICY),--policy '$(POLICY)') $(if $(TASKS),--tasks '$(TASKS)') $(if $(RUN),--run '$(RUN)') \
  $(if $(ASSETS),--assets '$(ASSETS)') $(if $(STEPPING),--stepping '$(STEPPING)') \
  $(if $(THREADS),--threads '$(THREADS)') \
  $(if $(filter-out 0 off,$(AA)),--aa) --margin '$(MARGIN)' --stop '$(STOP)' --latency '$(LATENCY)' $(if $(WORKERS),--workers '$(WORKERS)') --runner '$(RUNNER)' $(ARGS)

bench: $(INSTALLED) ## run SUITE with full precision and METHOD; the same command resumes what was interrupted
	@$(VENV)/bin/qvla-bench bench $(RUN_OPTIONS)

drift: $(INSTALLED) ## the same run, and every rung of its drift: recorded, teacher in control, closed loop
	@$(VENV)/bin/qvla-bench drift $(RUN_OPTIONS)

baseline: $(INSTALLED) ## the same run of one method or saved POLICY, and OUT, which make check compares later ones with
	@$(VENV)/bin/qvla-bench baseline $(RUN_OPTIONS) --out '$(or $(OUT),baseline.json)'

check: $(STAMP) ## is the saved variant POLICY as good as BASELINE? MODE fast needs no simulator, closed-loop plays
	@$(VENV)/bin/qvla-bench check --policy '$(POLICY)' --baseline '$(BASELINE)' --mode '$(MODE)' $(ARGS)

quantize: $(STAMP) ## quantize POLICY with METHOD and save it in OUT; run it with make bench POLICY=<OUT>
	@$(VENV)/bin/qvla-bench quantize $(if $(METHOD),--method '$(METHOD)') $(if $(POLICY),--policy '$(POLICY)') \
	  $(if $(OUT),--out '$(OUT)') $(if $(THREADS),--threads '$(THREADS)') $(ARGS)

bench-sim: $(STAMP) ## compare the simulator's speed with that of the stock loop (minutes)
	@$(RUN_PYTHON) -m bench.sim $(ARGS)

parity: $(STAMP) ## play the same 300 actions here and in the stock environment, and compare (minutes)
	@$(RUN_PYTHON) -m bench.parity $(ARGS)

bench-quant: $(STAMP) ## compare the methods with each other and with what is promised of them (an hour with ARGS=--table)
	@$(RUN_PYTHON) -m bench.quant $(ARGS)

list: $(STAMP) ## what there is to choose from, and what it needs
	@$(VENV)/bin/qvla-bench list

preflight: $(STAMP) ## check versions, renderer, assets, pictures, an episode and disk space
	@$(VENV)/bin/qvla-bench doctor $(ARGS)

report: $(STAMP) ## write the reports of RUN again, with TIMINGS of other devices; or merge RUNS into RUN
	@$(VENV)/bin/qvla-bench $(if $(RUNS),merge $(RUNS) --out '$(or $(RUN),merged)' $(if $(FORCE),--force),\
	  report '$(RUN)' $(if $(TIMINGS),--timings $(TIMINGS)))

time: $(STAMP) ## time POLICY with METHOD on DEVICE, no simulator needed, into the file OUT
	@$(VENV)/bin/qvla-bench time --device '$(DEVICE)' $(if $(METHOD),--method '$(METHOD)') \
	  $(if $(POLICY),--policy '$(POLICY)') $(if $(OUT),--out '$(OUT)') $(if $(THREADS),--threads '$(THREADS)') $(ARGS)

trials: $(STAMP) ## rates, intervals and verdicts of the trials on a robot in the CSV file TRIALS_CSV
	@$(VENV)/bin/qvla-bench trials import '$(TRIALS_CSV)' $(if $(OUT),--out '$(OUT)') $(ARGS)

review: $(STAMP) ## write the page on which the episodes of RUN are watched side by side and labelled
	@$(VENV)/bin/qvla-bench review '$(RUN)'

verify: $(STAMP) ## compute the tables of RUN from its records again and compare
	@$(VENV)/bin/qvla-bench verify '$(RUN)'

assets: $(STAMP) ## build the asset files of SUITE and say where they are
	@$(VENV)/bin/qvla-bench assets path --suite '$(SUITE)' $(if $(ASSETS),--assets '$(ASSETS)')

pocket-data: $(STAMP) ## collect training episodes of SUITES as LeRobot data sets in DATA; the same command resumes
	@$(RUN_PYTHON) -m bench.collect --data '$(DATA)' --suites '$(SUITES)' --round '$(ROUND)' --episodes '$(EPISODES)' \
	  --driver '$(DRIVER)' $(if $(BETA),--beta '$(BETA)') $(if $(WORKERS),--workers '$(WORKERS)') \
	  $(if $(filter off,$(VIDEO)),--no-video,--video) $(ARGS)

pocket: $(STAMP) ## train the pocket policy again (hours; its weights are in the package)
	$(RUN_PYTHON) -m bench.pocket $(ARGS)

test: $(STAMP) ## pass the tests
	$(RUN_PYTHON) -m pytest $(ARGS)

lint: $(STAMP) ## check style
	$(RUN_PYTHON) -m ruff check $(SOURCES)

clean: ## delete .venv and caches; runs/ and variants/ stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find $(SOURCES) -name __pycache__ -type d -exec rm -rf {} +
