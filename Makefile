# `make demo` and `make test` need nothing before them but a Python from 3.11 on, make and a network.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos chaos-mutations bench bench-ingress bench-latency bench-reads bench-scaling bench-websocket soak check format docs image-pins
.PHONY: audit sbom fuzz screenshots release-check constraints clean

VENV := .venv
RUN := $(VENV)/bin
# The stamp makes the second `setup` instant; it is remade when the pins or the packaging change.
STAMP := $(VENV)/.setup-done

export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Build .venv with everything, pinned and checked by hash

$(STAMP): constraints.txt pyproject.toml hatch_build.py $(wildcard ems_streams/domain/_*.p??)
	@python=""; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    python=$$(command -v "$$candidate"); break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make setup: no usable Python 3.11, 3.12 or 3.13 found (looked for python3, python3.13, python3.12, python3.11;" \
	    "on Debian and Ubuntu the package python3-venv is needed too). Name another one: make setup PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	echo "setup: $$("$$python" --version) -> $(VENV)"; \
	$(RUN)/python -m pip --version >/dev/null 2>&1 || { \
	  [ ! -e $(VENV) ] || echo "setup: $(VENV) is there without pip, as an interrupted setup leaves it: it is made anew"; \
	  "$$python" -m venv --clear $(VENV); }
	@echo "setup: installing the pinned packages"
	@$(RUN)/python -m pip install --quiet --no-deps --require-hashes -r constraints.txt
	@$(RUN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@$(RUN)/python -c 'import ems_streams.domain._hot' 2>/dev/null || \
	  echo "setup: NOTE: no C compiler was found, so telemetry is folded in plain Python, at about half the speed; nothing else differs"
	@touch $@

demo: setup ## Start everything, with a simulated fleet
	@exec $(RUN)/ems-streams dev

test: setup ## Run every test but the long chaos runs
	@$(RUN)/python -m tests.run

chaos: setup ## Kill and pause everything under load, and compare with the truth (EMS_CHAOS_SCALE=1 for the long form)
	@$(RUN)/python -m pytest -m chaos -s tests/chaos

chaos-mutations: setup ## Put known faults in, and see that the chaos suite notices each
	@$(RUN)/python -m tests.chaos.mutations

bench: setup ## Measure beside the peers, on a machine that does nothing else (BENCH="--peers ours,flink --rounds 1"; BENCH=--help)
	@$(RUN)/python -m benchmarks $(BENCH)

bench-ingress: setup ## The same for the way from MQTT into Kafka
	@$(RUN)/python -m benchmarks.ingress $(BENCH)

bench-latency: setup ## From an MQTT publish to the live table and to the WebSocket, under load (BENCH="--rates 1000,5000")
	@$(RUN)/python -m benchmarks.latency $(BENCH)

bench-scaling: setup ## More workers, more devices, and recovery beside Faust's own (BENCH="--only workers --rounds 1")
	@$(RUN)/python -m benchmarks.scaling $(BENCH)

bench-reads: setup ## Reads of devices over HTTP while telemetry flows, and while a worker is away (BENCH="--rate 200 --devices 10000")
	@$(RUN)/python -m benchmarks.reads $(BENCH)

bench-websocket: setup ## A thousand WebSocket clients on one gateway (BENCH="--clients 1000 --rate 500")
	@$(RUN)/python -m benchmarks.websocket_clients $(BENCH)

soak: setup ## Everything under a steady load for 45 minutes: does anything grow, get lost, come twice? (BENCH="--minutes 45 --rate 2000 --devices 1000")
	@$(RUN)/python -m benchmarks.soak $(BENCH)

check: setup ## Lint, format, types, import directions
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo

audit: setup ## Known vulnerabilities of what is pinned; says so when nobody could be asked (supply_chain/accepted.toml accepts one for a while)
	@$(RUN)/python -m supply_chain.audit $(AUDIT)

sbom: setup ## The bill of materials of a release, CycloneDX, into dist/
	@$(RUN)/python -m supply_chain.sbom $(SBOM)

fuzz: setup ## Feed everything that comes from outside with what nobody expects (FUZZ="--seconds 60 --only mqtt-telemetry")
	@$(RUN)/python -m tests.fuzz $(FUZZ)

format: setup ## Format the code and mend what can be mended mechanically
	@$(RUN)/ruff check --fix .
	@$(RUN)/ruff format .

docs: setup ## Write the reference again from the code
	@$(RUN)/python docs/reference

screenshots: setup ## Take the pictures of the documentation from the system of `make demo`, which must run (EMS_SCREENSHOTS_URL for another one)
	@$(RUN)/python -m tests.screenshots

release-check: setup ## Build wheel and sdist, install the wheel in an empty environment of each Python here, and run `dev` from there
	@release/check.sh

image-pins: setup ## Write the pins of the image again, from those of everything
	@$(RUN)/python release/pins.py

constraints: ## Pin the newest allowed versions again, with hashes; then `make image-pins`
	@tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(RUN)/python -m venv "$$tools/venv"; \
	"$$tools/venv/bin/python" -m pip install --quiet 'pip-tools>=7.5,<8'; \
	"$$tools/venv/bin/pip-compile" pyproject.toml --quiet --upgrade --generate-hashes --all-extras --build-deps-for editable \
	  --strip-extras --allow-unsafe --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file constraints.txt

clean: ## Remove the environment, caches and the data of the dev stack
	rm -rf $(VENV) .ems .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist ems_streams/domain/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
