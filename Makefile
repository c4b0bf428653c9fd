# What a person or CI runs. It relies on nothing but make, git and Python 3.11:
# the rest is installed by tests/setup.sh, in .venv, and by tests/fleet/fleet.py.
HOSTS ?= 2
export PYTHON ?= python3
python := .venv/bin/python
pip_compile := .cache/lock/bin/pip-compile

.DEFAULT_GOAL := help
.PHONY: help setup check test test-long demo bench bench-gate bench-verdicts bench-rollout tables lock clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

setup: ## make .venv, and install what it needs; quick when there is nothing to do
	@tests/setup.sh

check: setup ## lint and unit tests, in about a minute
	@$(python) tests/run.py check

test: setup ## all tests, on real hosts in containers too
	@$(python) tests/fleet/fleet.py install
	@$(python) tests/run.py test

test-long: setup ## what takes about two hours: every kill and every fault of docs/faults.md
	@$(python) tests/fleet/fleet.py install
	@$(python) tests/run.py long

demo: setup ## see a rolling update under load, on HOSTS=2 containers
	@$(python) tests/fleet/fleet.py install
	@$(python) tests/fleet/demo.py --hosts $(HOSTS)

bench: setup ## storefront before and after, route by route; 25 minutes
	@$(python) tests/fleet/fleet.py install
	@$(python) tests/bench/optimized/bench.py

bench-gate: setup ## one call of the gate against a uri task for each check
	@$(python) tests/fleet/fleet.py install
	@$(python) tests/bench/gate/bench.py

bench-verdicts: setup ## how often the verdict on response times is right; half an hour each
	@PYTHONPATH=.cache/collections $(python) tests/bench/verdicts.py --busy 0
	@PYTHONPATH=.cache/collections $(python) tests/bench/verdicts.py --busy 1

bench-rollout: setup ## releases of 2, 8 and 20 hosts against other ways to deploy; over an hour
	@$(python) tests/fleet/fleet.py install
	@$(python) tests/bench/rollout/bench.py

tables: setup ## generate the tables of docs/reference.md and the READMEs of the roles
	@$(python) tests/docs.py

lock: setup ## bring tests/requirements.txt up to date with the newest versions
	@$(python) -m venv .cache/lock
	@.cache/lock/bin/pip -qq install pip-tools
	@$(pip_compile) --quiet --upgrade --strip-extras --allow-unsafe --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	    --output-file tests/requirements.txt tests/requirements.in

clean: ## remove all that was made here: fleets, their images, .venv and .cache
	@$(PYTHON) tests/fleet/fleet.py clean
	@rm -rf .cache .venv tests/output
