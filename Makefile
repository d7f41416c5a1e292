# Thin fronts for `bin/install` and the `millrace` command (.venv/bin/millrace --help).
.DEFAULT_GOAL := help
MILLRACE := .venv/bin/millrace
# Two at a time: each brings a Kafka and an S3 server of its own, and most of a stream's test is waiting.
PYTEST := .venv/bin/python -m pytest --numprocesses $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder
PYTHON_DIRS := millrace spark_apps dags plugins tests bench

.PHONY: help compose-up compose-down install up down status doctor logs clean test test-dags simulate soak chaos check lock

help: ## this text
	@echo "Millrace: long-lived Spark streams as first-class citizens of Airflow"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## .venv from the locked requirements, and the locked jars
	@bin/install

up: install ## start everything; FEED=gbfs:<address> for a real city, STREAMS=a,b, PORT_BASE=20000 for other ports
	@$(MILLRACE) up $(if $(FEED),--feed '$(FEED)') $(if $(STREAMS),--streams '$(STREAMS)') $(if $(PORT_BASE),--port-base '$(PORT_BASE)')

down: $(MILLRACE) ## stop everything, in order
	@$(MILLRACE) down

status: $(MILLRACE) ## processes, memory, streams
	@$(MILLRACE) status || true

doctor: $(MILLRACE) ## what is wrong with Java, Kafka, the store or Airflow, and what to do
	@$(MILLRACE) doctor

logs: $(MILLRACE) ## the log of NAME=... (without it: all names)
	@$(MILLRACE) logs $(if $(NAME),'$(NAME)')

clean: $(MILLRACE) ## remove all state (asks first; YES=1 does not)
	@$(MILLRACE) clean $(if $(YES),--yes)

test: install check ## every check and every test; WORKERS=2 side by side
	@$(PYTEST)

test-dags: ## the tests of the DAGs: no Java, no Kafka, no S3
	@bin/install --python-only
	@$(PYTEST) tests/dags

simulate: ## N=20000 seeded schedules of the publish protocol, from SEED=0; N=1 tells one whole
	@bin/install --python-only
	@.venv/bin/python -m tests.simulation.run --schedules $(or $(N),20000) --seed $(or $(SEED),0)

soak: install ## the whole demo for MINUTES=30: flat memory, green shifts
	@.venv/bin/python -m bench.soak --minutes $(or $(MINUTES),30)

chaos: install ## faults drawn from SEED for MINUTES=60, the last AIRFLOW=12 with a real Airflow; the report goes into docs/reliability.md
	@.venv/bin/python -m tests.chaos.run --minutes $(or $(MINUTES),60) --airflow $(or $(AIRFLOW),12) $(if $(SEED),--seed $(SEED)) --report docs/reliability.md

compose-up: ## the same as containers, for a server: builds, starts, ends when data flow; docs/compose.md
	@bin/compose-up

compose-down: ## stops the containers, and keeps all they hold
	@docker compose --profile '*' down

check: ## format, lint and types
	@bin/install --python-only
	@.venv/bin/ruff format --check $(wildcard $(PYTHON_DIRS))
	@.venv/bin/ruff check $(wildcard $(PYTHON_DIRS))
	@.venv/bin/mypy

lock: ## resolve requirements.in and the list of jars anew
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --output-file requirements.txt requirements.in requirements-dev.in
	@bin/install
	@.venv/bin/python -m millrace.local.jars_lock

$(MILLRACE):
	@echo "Millrace is not installed here yet: make install"; exit 1
