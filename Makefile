# Everything a user does; `make help` lists it. Variables can be given on the command line: make bench TRIALS=10

PYTHON ?= python3
VENV ?= .venv
SUITE ?= libero_object
METHOD ?=
METHODS ?=
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
CALIBRATION ?=
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
HOST ?= 127.0.0.1
PORT ?= 8000
RUNNER ?= local
POLICY_DEVICE ?= cpu
BATCH ?=
BASELINE ?= baseline.json
MODE ?= fast
ARGS ?=

LEROBOT_PYTHON ?= python3.12
LEROBOT_VENV ?= .venv-lerobot

STAMP := $(VENV)/.installed
LEROBOT_STAMP := $(LEROBOT_VENV)/.installed
RAY_STAMP := $(VENV)/.ray
INSTALLED := $(STAMP) $(if $(filter ray,$(RUNNER)),$(RAY_STAMP))
RUN_PYTHON := $(VENV)/bin/python
SOURCES := bench envs policies quantizers reports tests

.DEFAULT_GOAL := help
.PHONY: help venv install bench drift baseline check gate gate-baseline quantize serve bench-sim bench-quant bench-kernels \
  bench-7b bench-7b-lerobot calibration pareto parity list preflight report time trials review verify assets pocket pocket-data lerobot test \
  test-lerobot lint clean

help: ## show targets and variables
	@echo "targets:"
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo "variables (make bench SUITE=libero_object METHOD=\"rtn:w8a8,qvla\" TRIALS=10):"
	@echo "  SUITE       suite to run, see make list                     now: $(SUITE)"
	@echo "  METHOD      quantization methods, separated by blanks; empty: qvla  now: $(METHOD)"
	@echo "  METHODS     methods of make pareto, separated by blanks; empty: qvla and rtn  now: $(METHODS)"
	@echo "  POLICY      policy, FAMILY:SUITE, FAMILY:FOLDER, or folder of a saved variant; empty: the suite's own  now: $(POLICY)"
	@echo "  TRIALS      official init states per task and variant       now: $(TRIALS)"
	@echo "  TASKS       task indices such as 0,2,5-7; empty: all        now: $(TASKS)"
	@echo "  RUN         name of the folder below runs/; empty: made of suite, policy, methods  now: $(RUN)"
	@echo "  RUNS        runs that make report merges into RUN; FORCE=1 merges what is not of one kind  now: $(RUNS)"
	@echo "  TIMINGS     files of make time for make report              now: $(TIMINGS)"
	@echo "  DEVICE      device of make time, see make list              now: $(DEVICE)"
	@echo "  OUT         what make quantize, time, trials and baseline write; empty: a name made of the rest  now: $(OUT)"
	@echo "  CALIBRATION what make quantize looks at: JSON Lines, LeRobot data set or run; empty: the policy's own  now: $(CALIBRATION)"
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
	@echo "  POLICY_DEVICE  where the policy computes: cpu, cuda         now: $(POLICY_DEVICE)"
	@echo "  BATCH       decisions of several workers made at once; 1 is exact; empty: 1 on the CPU, else WORKERS  now: $(BATCH)"
	@echo "  HOST, PORT  where make serve listens                        now: $(HOST):$(PORT)"
	@echo "  BASELINE    file that make check compares with              now: $(BASELINE)"
	@echo "  MODE        of make check: fast or closed-loop              now: $(MODE)"
	@echo "  ARGS        further options, see $(VENV)/bin/qvla-bench bench --help"
	@echo "  PYTHON      interpreter (3.11 or newer) that makes $(VENV)     now: $(PYTHON)"
	@echo "  LEROBOT_PYTHON  Python 3.12 that makes $(LEROBOT_VENV)       now: $(LEROBOT_PYTHON)"

venv: $(INSTALLED) ## create .venv with exactly the versions of constraints.txt

install: venv ## the same as venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is too old; name Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(RUN_PYTHON) || $(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[libero,serve,dev]'
	@# The simulator's dependency list would bring robomimic, wandb, thop and torchvision, none of which it imports; that
	@# of openpi's client, with which the server is tested, asks for an older numpy, which it does not need.
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps hf-libero openpi-client
	@touch $@

$(RAY_STAMP): $(STAMP)
	$(RUN_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@touch $@

RUN_OPTIONS = --suite '$(SUITE)' $(if $(METHOD),--method '$(METHOD)') --trials '$(TRIALS)' --seed '$(SEED)' \
  --protocol '$(PROTOCOL)' $(if $(filter off,$(VIDEO)),--no-video,--video) \
  $(if $(POLICY),--policy '$(POLICY)') $(if $(TASKS),--tasks '$(TASKS)') $(if $(RUN),--run '$(RUN)') \
  $(if $(ASSETS),--assets '$(ASSETS)') $(if $(STEPPING),--stepping '$(STEPPING)') \
  $(if $(THREADS),--threads '$(THREADS)') \
  $(if $(filter-out 0 off,$(AA)),--aa) --margin '$(MARGIN)' --stop '$(STOP)' --latency '$(LATENCY)' $(if $(WORKERS),--workers '$(WORKERS)') --runner '$(RUNNER)' \
  --policy-device '$(POLICY_DEVICE)' $(if $(BATCH),--batch '$(BATCH)') $(ARGS)

bench: $(INSTALLED) ## run SUITE with full precision and METHOD; the same command resumes what was interrupted
	@$(VENV)/bin/qvla-bench bench $(RUN_OPTIONS)

drift: $(INSTALLED) ## the same run, and every rung of its drift: recorded, teacher in control, closed loop
	@$(VENV)/bin/qvla-bench drift $(RUN_OPTIONS)

baseline: $(INSTALLED) ## the same run of one method or saved POLICY, and OUT, which make check compares later ones with
	@$(VENV)/bin/qvla-bench baseline $(RUN_OPTIONS) --out '$(or $(OUT),baseline.json)'

check: $(STAMP) ## is the saved variant POLICY as good as BASELINE? MODE fast needs no simulator, closed-loop plays
	@$(VENV)/bin/qvla-bench check --policy '$(POLICY)' --baseline '$(BASELINE)' --mode '$(MODE)' $(ARGS)

gate: $(STAMP) ## quantize the shipped pocket policy, and hold its drift against .ci/gate/baseline.json (seconds)
	@rm -rf build/gate && $(VENV)/bin/qvla-bench quantize --policy pocket-oft --method qvla --threads 1 --out build/gate
	@$(VENV)/bin/qvla-bench check --policy build/gate --baseline .ci/gate/baseline.json --junit build/gate.xml $(ARGS)

gate-baseline: $(STAMP) ## play two episodes, and write .ci/gate/ again: after other weights, or a change of qvla on purpose
	@$(MAKE) --no-print-directory baseline SUITE=libero_object POLICY=pocket-oft METHOD=qvla TASKS=0 TRIALS=1 THREADS=1 \
	  VIDEO=off RUN=gate-$$(date +%Y%m%d-%H%M%S) OUT=.ci/gate/baseline.json

quantize: $(STAMP) ## quantize POLICY with METHOD and save it in OUT; run it with make bench POLICY=<OUT>
	@$(VENV)/bin/qvla-bench quantize $(if $(METHOD),--method '$(METHOD)') $(if $(POLICY),--policy '$(POLICY)') \
	  $(if $(OUT),--out '$(OUT)') $(if $(THREADS),--threads '$(THREADS)') $(if $(CALIBRATION),--calibration '$(CALIBRATION)') $(ARGS)

serve: $(STAMP) ## serve POLICY, quantized with METHOD if it is named, to clients of openpi's protocol at HOST:PORT
	@$(VENV)/bin/qvla-bench serve --policy '$(or $(POLICY),pocket-oft)' $(if $(METHOD),--method '$(METHOD)') \
	  --host '$(HOST)' --port '$(PORT)' $(if $(THREADS),--threads '$(THREADS)') $(ARGS)

bench-sim: $(STAMP) ## compare the simulator's speed with that of the stock loop (minutes)
	@$(RUN_PYTHON) -m bench.sim $(ARGS)

parity: $(STAMP) ## play the same 300 actions here and in the stock environment, and compare (minutes)
	@$(RUN_PYTHON) -m bench.parity $(ARGS)

TRUESIZE = -m bench.truesize.command $(if $(OUT),--out '$(OUT)') $(if $(METHOD),--method '$(METHOD)') $(ARGS)

bench-7b: $(STAMP) ## time and weigh OpenVLA, OFT and UniVLA at true size, random weights; needs a GPU (ARGS=--tiny does not)
	@$(RUN_PYTHON) $(TRUESIZE)

bench-7b-lerobot: $(LEROBOT_STAMP) ## the same for pi0.5 and GR00T N1.5, in .venv-lerobot
	@$(LEROBOT_VENV)/bin/python $(TRUESIZE) --models pi0.5 gr00t-n1.5

calibration: $(STAMP) ## record what methods calibrate on for checkpoints of SUITE, into calibration/SUITE.npz
	@$(RUN_PYTHON) -m bench.calibration --suite '$(SUITE)' $(if $(OUT),--out '$(OUT)') $(if $(ASSETS),--assets '$(ASSETS)') $(ARGS)

bench-quant: $(STAMP) ## compare the methods with each other and with what is promised of them (an hour with ARGS=--table)
	@$(RUN_PYTHON) -m $(if $(filter --cuda,$(ARGS)),bench.kernels,bench.quant) $(ARGS)

bench-kernels: $(STAMP) ## measure speed and memory of the low-bit layers on this CPU; with ARGS=--cuda on a card
	@$(RUN_PYTHON) -m bench.kernels $(ARGS)

pareto: $(STAMP) ## draw drift against bytes of POLICY over budgets of METHODS, into the folder OUT (minutes)
	@$(RUN_PYTHON) -m bench.quant.pareto $(if $(POLICY),--policy '$(POLICY)') $(if $(METHODS),--methods '$(METHODS)') \
	  $(if $(OUT),--out '$(OUT)') $(if $(THREADS),--threads '$(THREADS)') $(ARGS)

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

lerobot: $(LEROBOT_STAMP) ## create .venv-lerobot with LeRobot and the versions of constraints-lerobot.txt (Python 3.12, 7 GB)

$(LEROBOT_STAMP): constraints-lerobot.txt
	@$(LEROBOT_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' \
	  || { echo "LeRobot 0.5.1 needs Python 3.12; name it: make LEROBOT_PYTHON=/path/to/python3.12 ..."; exit 1; }
	@test -x $(LEROBOT_VENV)/bin/python || $(LEROBOT_PYTHON) -m venv $(LEROBOT_VENV)
	@# The list is whole: without LeRobot's cameras, motors, viewers and flash-attn, none of which its networks import.
	$(LEROBOT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-lerobot.txt
	$(LEROBOT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-lerobot: $(LEROBOT_STAMP) ## pass the tests of the policies in LeRobot's classes, in .venv-lerobot
	$(LEROBOT_VENV)/bin/python -m pytest -W ignore tests/policies/lerobot tests/bench/truesize/test_lerobot.py $(ARGS)

lint: $(STAMP) ## check style
	$(RUN_PYTHON) -m ruff check $(SOURCES)

clean: ## delete .venv, .venv-lerobot and caches; runs/ and variants/ stay
	rm -rf $(VENV) $(LEROBOT_VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find $(SOURCES) -name __pycache__ -type d -exec rm -rf {} +
