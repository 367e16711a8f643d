# Everything a developer needs; each target sets up its own environment first, and the second call starts at once.
# PYTHON chooses the interpreter: make run PYTHON=/opt/python3.13/bin/python3

VENV := .venv
BIN := $(VENV)/bin
MINIMUM := (3, 11)

# Stamps: an environment is made anew only when what it is made from has changed.
RUN_STAMP := $(VENV)/.ptybridge-run
DEV_STAMP := $(VENV)/.ptybridge-dev
SOURCES_OF_VENV := pyproject.toml constraints.txt

# The browser pages: installing builds them, and so does hatch_build.py alone where the developers' tools are.
FRONTEND := src/ptybridge/web/frontend
SOURCES_OF_PAGES := $(shell find $(FRONTEND) -type f -not -path '*/node_modules/*' -not -path '*/__pycache__/*' 2>/dev/null)
PAGES := src/ptybridge/web/static/manifest.json

# flake8-async reads no configuration file. Long-lived objects are started with `nursery.start(thing.run)`.
# It judges each file alone and takes 0.2 s for it, so only files that are newer than its last success are read.
FLAKE8_ASYNC := --startable-in-context-manager run,_run,_supervise
ASYNC_STAMP := $(VENV)/.ptybridge-async
# Both clients of the SDK have the same signatures, and in the blocking one only a parameter can bound a wait.
FLAKE8_ASYNC_SDK := $(FLAKE8_ASYNC) --anyio --disable ASYNC109,ASYNC9

# Whatever environment the caller has activated must not leak in.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_REQUIRE_VIRTUALENV := 1

# Most tests wait for programs most of the time, so a second one runs meanwhile; 0 runs them in this process (for pdb).
TEST_JOBS := 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-all lint format bench soak docs pages screenshots build clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

# The first session's shell has the environment of `serve`; with these its own `make` would be taken for a part of ours.
WITHOUT_MAKE := env -u MAKELEVEL -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKE_TERMOUT -u MAKE_TERMERR

run: $(RUN_STAMP) ## Start the daemon in the foreground with a first session of your shell, and print a link to it for a browser
	@exec $(WITHOUT_MAKE) $(BIN)/ptybridge serve --with-shell --web $(RUN_ARGS)

test: $(DEV_STAMP) $(PAGES) ## Run all tests (TEST_ARGS="-k name" for some)
	@$(BIN)/python -m pytest -m "not soak" -n $(TEST_JOBS) --dist worksteal $(TEST_ARGS)

soak: $(DEV_STAMP) $(PAGES) ## Run the tests that take too long for CI
	@$(BIN)/python -m pytest -m soak --timeout 0 -o faulthandler_timeout=0 $(TEST_ARGS)

lint: $(DEV_STAMP) ## Check style and types
	@$(BIN)/ruff check src tests
	@$(BIN)/ruff format --check src tests
	@$(BIN)/python -m mypy
	@touch $(ASYNC_STAMP).now
	@find src tests -name '*.py' -not -path '*/sdk/aio/*' $$(test ! -e $(ASYNC_STAMP) || echo -newer $(ASYNC_STAMP)) -print0 | \
	    xargs -0 -r -P 2 -n 50 $(BIN)/flake8-async $(FLAKE8_ASYNC)
	@$(BIN)/flake8-async $(FLAKE8_ASYNC_SDK) src/ptybridge/sdk/aio/*.py
	@mv $(ASYNC_STAMP).now $(ASYNC_STAMP)
	@$(BIN)/python $(FRONTEND)/hatch_build.py check

format: $(DEV_STAMP) ## Put the code into shape
	@$(BIN)/ruff check --fix-only --quiet src tests
	@$(BIN)/ruff format src tests

bench: $(DEV_STAMP) ## Measure against other programs (BENCH_ARGS="--only P1,P3")
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

docs: $(DEV_STAMP) ## Regenerate docs/reference and the SDK's methods from the contract
	@$(BIN)/python -m ptybridge.api.describe docs/reference
	@$(BIN)/python -m ptybridge.mcp.describe docs/reference
	@$(BIN)/python -m ptybridge.sdk.describe docs/reference

pages: $(PAGES) ## Build the browser pages

screenshots: $(DEV_STAMP) $(PAGES) ## Make the pictures of the pages in docs/images
	@$(BIN)/python -m tests.web.browser.screenshots docs/images

build: $(DEV_STAMP) ## Build the wheel and the source package into dist/
	@$(BIN)/python -m build

clean: ## Remove environments, caches and build products
	@rm -rf $(VENV) .venvs build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@rm -rf $(FRONTEND)/node_modules $(dir $(PAGES))
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# -- environments -------------------------------------------------------------------------------------------

# A python is usable when it runs (pyenv's shims exist for versions that do not), is new enough, and can make
# environments (Debian splits ensurepip off into python3-venv).
USABLE := import sys; assert sys.version_info >= $(MINIMUM); import venv, ensurepip

define find_python
found=; \
for candidate in "$(PYTHON)" python3.13 python3.12 python3.11 python3; do \
    if [ -n "$$candidate" ] && "$$candidate" -c '$(USABLE)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
    if [ -n "$(PYTHON)" ]; then break; fi; \
done; \
if [ -z "$$found" ]; then \
    echo "error: $(if $(PYTHON),$(PYTHON) is no,found no) Python 3.11 or newer with the modules venv and ensurepip." >&2; \
    echo "  Debian, Ubuntu: apt install python3 python3-venv   Fedora: dnf install python3" >&2; \
    echo "  Elsewhere:      make PYTHON=/path/to/python3" >&2; \
    exit 1; \
fi
endef

# install(environment, what): pip's own last lines say which package failed; ours say what to do.
define install
$(1)/bin/python -m pip install --quiet -c constraints.txt -e '$(2)' || { \
    echo "error: pip could not install what ptybridge needs (see above)." >&2; \
    echo "  Without network, give pip a folder of wheels: make PIP_NO_INDEX=1 PIP_FIND_LINKS=/path/to/wheels ..." >&2; \
    exit 1; \
}
endef

$(BIN)/python:
	@$(find_python); \
	echo "Setting up $(VENV) with $$found (once) ..."; \
	"$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUN_STAMP): $(SOURCES_OF_VENV) $(SOURCES_OF_PAGES) | $(BIN)/python
	@echo "Installing ptybridge into $(VENV) ..."
	@$(call install,$(VENV),.)
	@touch $@

$(DEV_STAMP): $(SOURCES_OF_VENV) | $(BIN)/python
	@echo "Installing what developers need into $(VENV) ..."
	@$(call install,$(VENV),.[dev])
	@rm -f $(ASYNC_STAMP); touch $(RUN_STAMP) $@

$(PAGES): $(SOURCES_OF_PAGES) | $(DEV_STAMP)
	@$(BIN)/python $(FRONTEND)/hatch_build.py
	@touch $@

# -- every Python -------------------------------------------------------------------------------------------

# The distribution's and pyenv's, one per minor version: the first that is usable.
ALL_PYTHONS := python3.11 python3.12 python3.13 python3.14 \
    $(sort $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.*/bin/python3))

test-all: ## Run all tests on every CPython from 3.11 up that is installed, pyenv's too
	@seen=; failed=; \
	for python in $(ALL_PYTHONS); do \
	    version=$$("$$python" -c '$(USABLE); print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    case " $$seen " in *" $$version "*) continue;; esac; \
	    seen="$$seen $$version"; \
	    printf '\n== Python %s (%s) ==\n' "$$version" "$$python"; \
	    $(MAKE) --no-print-directory test VENV=.venvs/$$version PYTHON="$$python" || failed="$$failed $$version"; \
	done; \
	if [ -z "$$seen" ]; then echo "error: found no CPython 3.11 or newer." >&2; exit 1; fi; \
	if [ -n "$$failed" ]; then echo "error: failed on$$failed (of$$seen)" >&2; exit 1; fi; \
	echo "passed on$$seen"
