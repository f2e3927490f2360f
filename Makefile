# The study's commands; `make` alone lists them. GNU make 3.81 and later, in a folder whose path holds no space.
#
# What they need is installed into $(VENV), once: a stamp in it, newer than the lists of requirements, says that it is
# there. SETUP= (empty) skips that step where an environment is supplied from outside with VENV=...

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON := python3.11 python3 python3.12 python3.13
SETUP  := $(VENV)/.has-book
TESTED := $(VENV)/.has-test
MEASURED := $(VENV)/.has-peers

# For the command line: of `rerun`; of papermill in `book`; of JupyterLab; of pytest; of the benchmarks.
NOTEBOOK   =
ARGS       =
PARAMETERS =
LABARGS    =
TESTARGS   =
BENCHARGS  =
export PARAMETERS

NOTEBOOKS := $(sort $(patsubst notebooks/%.ipynb,%,$(wildcard notebooks/*.ipynb)))
EXECUTED  := $(NOTEBOOKS:%=book/runs/%.ipynb)
RERUN     := $(basename $(notdir $(NOTEBOOK)))
NOW       := $(shell date -u +%Y%m%dT%H%M%SZ)

.PHONY: help book executed test bench lab rerun strip clean distclean FORCE
.DELETE_ON_ERROR:

help:
	@echo "make book       the rendered study in _build/html: about 8 minutes the first time, then seconds"
	@echo "make test       all tests: about 15 minutes; TESTARGS=\"-k viewer\" passes on to pytest"
	@echo "make bench      ours against others, as ratios of time and memory: about 10 minutes; BENCHARGS=\"--only step\""
	@echo "make lab        JupyterLab on the notebooks; LABARGS=\"--no-browser\" passes on to it"
	@echo "make rerun      one notebook with other parameters, kept in runs/notebooks:"
	@echo "                make rerun NOTEBOOK=$(firstword $(NOTEBOOKS)) ARGS=\"-p profile study\""
	@echo "                notebooks: $(NOTEBOOKS)"
	@echo "make strip      outputs out of notebooks/, as they are kept in git"
	@echo "make clean      away with the rendered book and the executed notebooks"
	@echo "make distclean  and with .venv and runs/, trained models and records of your own included"

# ---- the environment -------------------------------------------------------------------------------------------------

$(BIN)/pip:
	@for python in $(PYTHON) none; do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	done; \
	if [ $$python = none ]; then \
	  echo "The study needs Python 3.11 or later, and none of these is: $(PYTHON)." >&2; \
	  echo "Install one (python.org, conda, your system's packages), or name it: make book PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	echo "== A virtual environment in $(VENV), made by $$($$python --version)"; \
	$$python -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "No environment was made. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# Installs the extras $(1) of this project, in the versions of constraints.txt.
define install
@echo "== Installing what is needed ($(1)) into $(VENV): some minutes, once"
@$(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt -e '.[$(1)]'
endef

$(VENV)/.has-book: pyproject.toml constraints.txt | $(BIN)/pip
	$(call install,book)
	@touch $@

$(VENV)/.has-test: pyproject.toml constraints.txt | $(BIN)/pip
	$(call install,book$(comma)test)
	@touch $(VENV)/.has-book $@

$(VENV)/.has-peers: pyproject.toml constraints.txt | $(BIN)/pip
	$(call install,book$(comma)test$(comma)peers)
	@touch $(VENV)/.has-book $(VENV)/.has-test $@

comma := ,

# ---- the book --------------------------------------------------------------------------------------------------------

# Executes notebook $(1) into $(2) with papermill's arguments $(3), from the repository's root and under another name
# first, so that what lies under the final one is whole. What failed is kept beside it, with the error in it. Every $(4)
# seconds the notebook's own progress is shown.
define execute
@mkdir -p $(dir $(2))
$(info == $(1) $(3))
@GBM_STATIC=1 TQDM_MININTERVAL=$(or $(4),30) $(BIN)/papermill --cwd . $(if $(4),--log-output --no-progress-bar) $(3) $(1) $(2:.ipynb=.part.ipynb) && mv $(2:.ipynb=.part.ipynb) $(2) || { \
  mv $(2:.ipynb=.part.ipynb) $(2:.ipynb=.failed.ipynb) 2>/dev/null; \
  echo "$(1) failed; see above, or $(2:.ipynb=.failed.ipynb)" >&2; exit 1; }
endef

# Executed copies are made anew when the notebook, the library, the published records or the parameters change.
# The list changes with the contents, not with the dates of the files.
book/runs/.inputs: FORCE
	@mkdir -p $(@D)
	@{ echo "$$PARAMETERS"; \
	   find gbmlib book/cases book/facts book/records -type f ! -name '*.pyc' -exec cksum {} + 2>/dev/null | sort; } > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

book/runs/%.ipynb: notebooks/%.ipynb book/runs/.inputs | $(SETUP)
	$(call execute,$<,$@,$(PARAMETERS))

# Two notebooks at a time, each with one thread: more on one core each than together on two.
executed: | $(SETUP)
	@OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -j 2 $(EXECUTED)

# Built aside and moved into place, so that a failed build leaves the last good pages, and no page outlives its source.
# Pages are rendered when what they are made of has changed.
book: executed | $(SETUP)
	@mkdir -p _build && rm -rf _build/next
	@find book gbmlib notebooks *.yml *.cff *.toml *.txt Makefile -type f ! -name '*.pyc' -exec cksum {} + | sort > _build/sources.new
	@if [ -e _build/html/index.html ] && cmp -s _build/sources.new _build/sources; then \
	  echo "== No page has changed"; \
	else \
	  echo "== Rendering the pages (progress in _build/book.log)"; \
	  $(BIN)/jupyter-book build . --all -W -n --keep-going --path-output _build/next > _build/book.log || { \
	    echo "The book was not built: its warnings, above, are errors." >&2; exit 1; }; \
	  rm -rf _build/html && mv _build/next/_build/html _build/html && rm -rf _build/next && mv _build/sources.new _build/sources; \
	fi
	@echo "== The book is ready: open _build/html/index.html in a browser"

# ---- working with the study ------------------------------------------------------------------------------------------

test: $(TESTED)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(TESTARGS)

bench: $(MEASURED)
	@$(BIN)/python -m benchmarks $(BENCHARGS)

lab: $(SETUP)
	@env -u GBM_STATIC $(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(LABARGS)

ifneq ($(filter rerun,$(MAKECMDGOALS)),)
ifeq ($(filter $(RERUN),$(NOTEBOOKS)),)
$(error NOTEBOOK=$(NOTEBOOK) names no notebook; there are: $(NOTEBOOKS))
endif
endif

rerun: $(SETUP)
	$(call execute,notebooks/$(RERUN).ipynb,runs/notebooks/$(RERUN)-$(NOW).ipynb,$(ARGS),5)
	@$(BIN)/jupyter trust runs/notebooks/$(RERUN)-$(NOW).ipynb > /dev/null
	@echo "== Executed: runs/notebooks/$(RERUN)-$(NOW).ipynb"

strip: $(SETUP)
	@$(BIN)/jupyter nbconvert --clear-output --inplace notebooks/*.ipynb

clean:
	rm -rf _build book/runs

distclean: clean
	rm -rf $(VENV) runs
