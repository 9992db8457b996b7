# ocore-snapshots: everything a newcomer or CI runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

export OCORE_CACHE ?= $(HOME)/.cache/ocore-snapshots
# The packages are used from the checkout, never installed: two checkouts can share one virtual environment.
export PYTHONPATH := $(CURDIR)/crds:$(CURDIR)/kube:$(CURDIR)/operator:$(CURDIR)/mover:$(CURDIR)/api:$(CURDIR)/cli
PYTHONPATH := $(PYTHONPATH):$(CURDIR)/examples/demo
# What Python, mypy and ruff derive from the code is kept outside the checkout. Where compiled files may not be written,
# as containers like to have it, each of the thousands of processes of the tests would compile every module: 2.6 s
# instead of 1.1 s for the start of the facade.
export PYTHONPYCACHEPREFIX := $(OCORE_CACHE)/pycache
export PYTHONDONTWRITEBYTECODE :=
# As in the mover's image: otherwise each process looks for plugins of pydantic in all installed packages.
export PYDANTIC_DISABLE_PLUGINS := __all__
export MYPY_CACHE_DIR := $(OCORE_CACHE)/mypy
export RUFF_CACHE_DIR := $(OCORE_CACHE)/ruff
PYTHON ?= $(shell requirements/python)
VENV := $(OCORE_CACHE)/venv-$(shell cat requirements/dev.txt requirements/python | sha256sum | cut -c1-12)
BIN := $(VENV)/bin
# What the demo and `kubectl ocore` import, without the tests' packages. examples/demo/python has both names, too.
DEMO_VENV := $(OCORE_CACHE)/demo-venv-$(shell cat requirements/cli.txt requirements/python | sha256sum | cut -c1-12)
WHEELS := $(OCORE_CACHE)/postgresql/wheels-$(shell sha256sum requirements/postgres.txt | cut -c1-12)
PROMTOOL := $(OCORE_CACHE)/promtool/promtool
DOCKER_REGISTRY := $(OCORE_CACHE)/docker-registry/docker-registry
RELEASE_VENV := $(OCORE_CACHE)/release-$(shell sha256sum requirements/release.txt | cut -c1-12)
WEBSITE_VENV := $(OCORE_CACHE)/website-$(shell sha256sum requirements/docs.txt | cut -c1-12)
# Programs of Go modules that release/tools locks, each built at first use.
TOOL = $(OCORE_CACHE)/tools/$(1)-$(shell sha256sum release/tools/$(1)/go.sum | cut -c1-12)
COSIGN := $(call TOOL,cosign)
ACTIONLINT := $(call TOOL,actionlint)
CEL := $(OCORE_CACHE)/cel-$(shell cat tests/cel/go.sum tests/cel/*.go | sha256sum | cut -c1-12)
PROVIDER := $(OCORE_CACHE)/provider-$(shell cat tests/provider/go.sum tests/provider/*.go | sha256sum | cut -c1-12)
VERSITYGW := $(OCORE_CACHE)/versitygw-$(shell cat tests/versitygw/go.sum | sha256sum | cut -c1-12)
BENCH_TOOLS := $(OCORE_CACHE)/bench-tools
CLIENTS_KEY := $(shell cat tests/clients/package-lock.json tests/clients/package.json | sha256sum | cut -c1-12)
CLIENTS := $(OCORE_CACHE)/clients-$(CLIENTS_KEY)
UI_MODULES := $(OCORE_CACHE)/ui-modules-$(shell cat ui/package-lock.json ui/package.json | sha256sum | cut -c1-12)
UI := $(OCORE_CACHE)/ui-$(shell find ui docs/openapi.json -type f -not -path '*/node_modules/*' | LC_ALL=C sort | \
  xargs sha256sum | sha256sum | cut -c1-12)
PACKAGES := crds kube operator mover api cli examples/demo release website tests bench
# Debian packages of the tests: a PostgreSQL server, a pooler, a browser, tools that check the format.
TEST_DEBS := age openssh-client postgresql pgbouncer zstd tar shellcheck e2fsprogs mount
# Ubuntu has no package of Chromium; its hosted runners have Chrome.
TEST_DEBS += $(if $(shell command -v google-chrome),,chromium-headless-shell)
# Where npm does not come with another package of Node.js.
TEST_DEBS += $(if $(shell command -v npm),,nodejs npm)

# PYTEST_ARGS="-k name" runs a part; the other runs of the same target then find no test (exit code 5).
PYTEST_ARGS ?=
PYTEST := $(BIN)/python -m pytest --no-skips $(PYTEST_ARGS)
# Measures a part of the tests, for the table at the end of `make test`.
PART := tests/part.py run
NONE_IS_FINE := $(if $(PYTEST_ARGS),|| [ $$? = 5 ])
# Tests also wait, unit tests for the programs that they start: more run side by side than there are processors. Two
# workers of unit tests used 1.2 processors (6.5 minutes, four take 4.5).
UNIT_WORKERS ?= 4
SERVER_WORKERS ?= 3
CLUSTER_WORKERS ?= 4
TEST_CLUSTER ?= ocore-test
# For a recipe in which another program starts make. `make -n` runs each line that names MAKE itself.
SUBMAKE = $(MAKE)

##@ Start here
help: ## Show this text
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first time the node is built beside the demo's Python; it takes longest, and what needs it waits for it.
demo: ## A snapshot, a rollback, a staging copy and an undo of a running application on a local cluster
	@{ [ -e $(VENV)/.done ] || [ -e $(DEMO_VENV)/.done ] || exec localcluster/cluster build; } & \
	  trap 'kill %1 2>/dev/null || true' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	  examples/demo/run

demo-clean: ## Remove the demo application and the operator from the local cluster
	examples/demo/run --clean

check: deps lint test-unit ## Lint, types, generated files and unit tests: what needs neither cluster nor server

# Part=minutes,processor seconds from a warm cache on two cores. CONTRIBUTING.md says how a new test finds its place.
BUDGET := set-up=2,80 lint=1,60 unit=4,400 servers=7,850 mutants=4,300 \
  e2e-beside=24,1800 demo=5,250 integration=9,400 e2e-alone=15,500 \
  e2e-nodes=4,300 total=40,4600
test: ## Everything that CI runs: `make check` and all other tests; ends with a table of their times
	tests/part.py table $(BUDGET) -- $(SUBMAKE) check test-guards test-cluster MUTANTS="$(if $(PYTEST_ARGS),--fresh,--passed) $(MUTANTS)"
	@test -n "$$OCORE_ODOO" || echo "Not run: the tests with a real Odoo. OCORE_ODOO=FOLDER make test (CONTRIBUTING.md, Tests with a real Odoo)"

##@ Checks
lint: venv $(ACTIONLINT) $(WEBSITE_VENV)/.done $(UI_MODULES) ## Formatting, lint, types, layers, generated files, shell scripts, the site
	$(PART) lint $(BIN)/ruff format --check $(PACKAGES)
	$(PART) lint $(BIN)/ruff check $(PACKAGES)
	$(PART) lint $(BIN)/mypy
	$(PART) lint $(BIN)/lint-imports
	$(PART) lint $(BIN)/python -m ocore_crds.generate --check
	$(PART) lint $(BIN)/python -m ocore_api.openapi --check
	$(PART) lint env $(COMMANDS_PAGE) --check
	$(PART) lint env $(PICTURES) --check
	$(PART) lint env $(CONTACTS) --check
	$(PART) lint env $(SUPPORT_MATRIX) --check
	$(PART) lint env $(WEBSITE)
	$(PART) lint $(SUBMAKE) -s ui
	$(PART) lint $(ACTIONLINT) .github/workflows/*.yaml
	$(PART) lint shellcheck $$(git ls-files | xargs grep -lE '^#!.*\b(ba)?sh' --)

format: venv ## Format the code and apply automatic fixes
	$(BIN)/ruff format $(PACKAGES)
	$(BIN)/ruff check --fix $(PACKAGES)

SUPPORT_MATRIX := PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m support.mover.support_matrix
MATRIX_RESULTS := tests/unit/mover/majors/results.json
postgresql-matrix: venv postgresql-wheels ## Test each major of PostgreSQL, and write docs/postgresql.md's matrix
	OCORE_MATRIX_RESULTS=$(CURDIR)/$(MATRIX_RESULTS) $(PYTEST) tests/unit/mover/majors
	$(SUPPORT_MATRIX)

COMMANDS_PAGE := PYTHONPATH=$(PYTHONPATH):$(CURDIR)/website $(BIN)/python -m ocore_website.commands
CONTACTS := PYTHONPATH=release $(BIN)/python -m ocore_release.contacts
PICTURES := PYTHONPATH=website $(BIN)/python -m ocore_website.pictures
generate: venv ## Regenerate CRDs, the references of fields, commands, settings and the REST API, the failpoint list, the pictures, the contacts
	$(BIN)/python -m ocore_crds.generate
	$(BIN)/python -m ocore_api.openapi
	$(COMMANDS_PAGE)
	$(PICTURES)
	$(CONTACTS)

##@ Documentation
SITE ?= $(OCORE_CACHE)/site
WEBSITE = PYTHONPATH=website $(BIN)/python -m ocore_website --zensical $(WEBSITE_VENV)/bin/zensical \
  --modules $(UI_MODULES)/node_modules --into $(SITE) \
  $(if $(VERSION),--version $(VERSION))
DOCS_PORT ?= 8000
docs: venv $(WEBSITE_VENV)/.done $(UI_MODULES) ## Build the documentation's site and serve it on loopback (DOCS_PORT, VERSION, SITE)
	$(WEBSITE) --serve $(DOCS_PORT)

docs-site: venv $(WEBSITE_VENV)/.done $(UI_MODULES) ## Build the site of a release beside those of others (VERSION=1.2.0 SITE=folder)
	$(WEBSITE)

screenshots: deps venv ## Pictures of the demo and of the page, of a real run for the documentation, in a local cluster of its own
	OCORE_CLUSTER=$(TEST_CLUSTER) tests/with-cluster website/screenshots

##@ Tests
test-unit: venv promtool docker-registry skopeo cel clients ui ## Unit tests that need no server
	$(PART) unit tests/in-memory $(PYTEST) tests/unit -m "not servers" -n $(UNIT_WORKERS) --dist loadfile $(NONE_IS_FINE)

# Where these are: SERVER_FOLDERS of tests/conftest.py. Collecting all tests takes 11 s of processor time in each worker.
SERVER_TESTS := $(addprefix tests/unit/,api/page cli demo mover)
test-servers: venv postgresql-wheels ## Unit tests with real PostgreSQL and S3 servers on loopback
	$(PART) servers tests/in-memory $(PYTEST) $(SERVER_TESTS) -m servers -n $(SERVER_WORKERS) --dist loadfile $(NONE_IS_FINE)

test-guards: venv postgresql-wheels ## `make test-servers` and `make test-mutants`, side by side: both also wait
	tests/side-by-side "$(SUBMAKE) test-servers" "$(SUBMAKE) test-mutants"

MUTANTS ?=
test-mutants: venv ## Takes each guard of tests/mutants out of a copy of the tree; its tests must fail (MUTANTS="--fresh": without kept verdicts)
	$(PART) mutants tests/in-memory $(BIN)/python tests/mutants/run.py --workers $(SERVER_WORKERS) $(MUTANTS)

mutants: venv ## Changes every line of the guard modules and lists what no test notices (MUTANTS="disk.py" for one)
	$(BIN)/python tests/mutants/sweep.py $(MUTANTS)

# What waits most runs first: it leaves the processors to what runs beside it. What runs after it wants a cluster without
# an operator.
MORE_IMAGES ?=
# A cluster of two nodes, with the images that its tests use.
TWO_NODES := CLUSTER_NODES=2 CLUSTER_IMAGES='postgres:17 s3:dev mover:17 operator:dev api:dev demo:dev'
test-cluster: venv ## The demo, integration and end-to-end tests, on local clusters that are removed afterwards
	tests/side-by-side \
	  "MORE_IMAGES='$(MORE_IMAGES)$(if $(OCORE_ODOO), odoo:dev)' OCORE_CLUSTER=$(TEST_CLUSTER) \
	     tests/with-cluster $(SUBMAKE) test-e2e-beside && \
	   $(TWO_NODES) OCORE_CLUSTER=$(TEST_CLUSTER) tests/with-cluster $(SUBMAKE) test-e2e-nodes" \
	  "OCORE_CLUSTER=$(TEST_CLUSTER)-2 tests/with-cluster $(SUBMAKE) test-e2e-alone && \
	   OCORE_CLUSTER=$(TEST_CLUSTER)-2 tests/with-cluster $(SUBMAKE) test-demo test-integration"

test-demo: venv ## The demo, twice in a row, and its removal, in the cluster $OCORE_CLUSTER
	$(PART) demo examples/demo/run --ci
	$(PART) demo examples/demo/run --ci
	$(PART) demo examples/demo/run --ci --clean

test-integration: venv ## Integration tests against the cluster $OCORE_CLUSTER, which must be up
	$(PART) integration localcluster/cluster net -- $(PYTEST) tests/integration -m "not exclusive" \
	  -n $(CLUSTER_WORKERS) --dist loadscope --no-loadscope-reorder $(NONE_IS_FINE)
	$(PART) integration localcluster/cluster net -- $(PYTEST) tests/integration -m exclusive $(NONE_IS_FINE)

test-e2e: test-e2e-beside test-e2e-alone ## End-to-end tests in the cluster $OCORE_CLUSTER, which has the images

test-e2e-beside: venv ## Those that run side by side
	$(PART) e2e-beside localcluster/cluster net -- $(PYTEST) tests/e2e -m "not exclusive" -n $(CLUSTER_WORKERS) \
	  --dist loadfile $(NONE_IS_FINE)

# Before the cluster's network is joined: from there no package can be fetched.
test-e2e-alone: venv docker-registry skopeo ## Those that harm what the others use: operator, kubelet, API server. Installs what dist/ has
	$(PART) e2e-alone localcluster/cluster net -- $(PYTEST) tests/e2e -m exclusive $(NONE_IS_FINE)

test-e2e-nodes: venv ## Those that need a cluster of two nodes
	$(PART) e2e-nodes localcluster/cluster net -- $(PYTEST) tests/e2e --nodes $(NONE_IS_FINE)

# Long: the whole fault matrix, an upgrade of a release, every fault of the doctor, PostgreSQL 16 and 18 in the cluster,
# CloudNativePG.
test-all: ## `make test` with the tests marked `long`, Kubernetes 1.31 and 1.33, and half an hour of soak
	MORE_IMAGES="postgres:16 mover:16 postgres:18 mover:18 cnpg:dev$(if $(OCORE_ODOO), odoo:dev)" \
	  $(MAKE) test PYTEST_ARGS="--long $(PYTEST_ARGS)"
	$(MAKE) test-apiservers
	$(MAKE) test-oldest
	$(MAKE) soak

# The two tests that are left out delete a namespace, which needs a controller.
test-apiservers: deps venv ## The chart, all rules and policies on real API servers of Kubernetes 1.31 and 1.33
	for minor in 31 33; do tests/with-apiserver $$minor $(PYTEST) tests/apiservers tests/integration/test_crds_rules.py \
	  tests/integration/test_chart_policies.py tests/integration/test_chart_rights.py -k "not a_namespace_with" \
	  $(NONE_IS_FINE); done

# API server, controllers and kubelet of the oldest version that the chart names.
test-oldest: deps venv ## Snapshots, rollbacks and the REST facade on a local cluster of Kubernetes 1.31
	OCORE_KUBERNETES=1.31 OCORE_CLUSTER=$(TEST_CLUSTER) tests/with-cluster localcluster/cluster net -- $(PYTEST) \
	  tests/e2e/test_snapshot.py tests/e2e/test_rest_api.py $(NONE_IS_FINE)

test-nodes: deps venv ## All tests on two nodes: nodes that die, are drained or lose their network (part of `make test-all`)
	MORE_IMAGES=$(if $(OCORE_ODOO),odoo:dev) $(TWO_NODES) OCORE_CLUSTER=$(TEST_CLUSTER) \
	  tests/with-cluster $(SUBMAKE) test-e2e-nodes PYTEST_ARGS="--long $(PYTEST_ARGS)"

SOAK_SECONDS ?= 1800
SOAK_SEED ?= 1
soak: deps venv ## Random snapshots, rollbacks, deletions and kills under load (SOAK_SECONDS, SOAK_SEED)
	OCORE_CLUSTER=$(TEST_CLUSTER) tests/with-cluster env PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests \
	  localcluster/cluster net -- $(BIN)/python -m e2e.soak --seconds $(SOAK_SECONDS) --seed $(SOAK_SEED)

##@ Figures
BENCH_RESULTS ?= $(OCORE_CACHE)/bench-results
BENCH_RUNS ?= 3
# --json of a figure in bench/run, whose /var/tmp is the machine's.
JSON = --json /var/tmp/ocore-bench.json && mv /var/tmp/ocore-bench.json $(BENCH_RESULTS)/$(1).json
IN_CLUSTER = OCORE_CLUSTER=$(TEST_CLUSTER) tests/with-cluster localcluster/cluster net --
bench: deps venv bench-tools ## Figures beside pg_dump, pg_restore, restic and rclone (two hours; docs/performance.md)
	mkdir -p $(BENCH_RESULTS) && rm -f $(BENCH_RESULTS)/*.json
	bench/run python3 bench/dump.py --runs $(BENCH_RUNS) $(call JSON,1)
	bench/run python3 bench/filestore.py --runs $(BENCH_RUNS) $(call JSON,2)
	bench/run python3 bench/table.py --runs $(BENCH_RUNS) $(call JSON,table)
	bench/run python3 bench/encryption.py --runs $(BENCH_RUNS) $(call JSON,encryption)
	bench/run python3 bench/filestore.py --runs 1 --files 300000 --tools ours $(call JSON,3)
	bench/run python3 bench/names.py --count 1000000 $(call JSON,5)
	bench/run python3 bench/differential.py --runs $(BENCH_RUNS) $(call JSON,9)
	$(IN_CLUSTER) $(BIN)/python bench/cluster.py --runs $(BENCH_RUNS) --json $(BENCH_RESULTS)/4.json
	$(IN_CLUSTER) $(BIN)/python bench/scale.py --json $(BENCH_RESULTS)/6.json
	$(IN_CLUSTER) $(BIN)/python bench/api.py --tools $(BENCH_TOOLS) --json $(BENCH_RESULTS)/7.json
	$(IN_CLUSTER) $(BIN)/python bench/imports.py --json $(BENCH_RESULTS)/import.json
	$(IN_CLUSTER) $(BIN)/python bench/progress.py --json $(BENCH_RESULTS)/progress.json
	$(IN_CLUSTER) $(BIN)/python bench/takeover.py --json $(BENCH_RESULTS)/takeover.json
	CLUSTER_NODES=2 $(IN_CLUSTER) $(BIN)/python bench/nodes.py --runs $(BENCH_RUNS) --json $(BENCH_RESULTS)/nodes.json
	$(BIN)/python bench/plain.py --json $(BENCH_RESULTS)/plain.json
	$(BIN)/python bench/api_streams.py --runs $(BENCH_RUNS) --json $(BENCH_RESULTS)/8.json
	$(BIN)/python bench/page.py --stream-seconds 3600 --json $(BENCH_RESULTS)/page.json
	$(BIN)/python bench/figures.py $(BENCH_RESULTS)/*.json | tee $(BENCH_RESULTS)/table.md

##@ Release
# What is given from outside: docs/releasing.md.
export DIST VERSION PLATFORMS REGISTRY REGISTRY_CA PLAIN_HTTP DOWNLOAD_URL SOURCE_URL PGDG_URL
release-python: $(RELEASE_VENV)/.done ## The Python that builds releases
	@echo $(RELEASE_VENV)/bin/python

release: $(RELEASE_VENV)/.done ## Build a release into dist/ (docs/releasing.md)
	PYTHONPATH=release $(RELEASE_VENV)/bin/python -m ocore_release release

push: $(RELEASE_VENV)/.done skopeo ## Build images and chart and push them to REGISTRY=host/path; prints what installs them (docs/install.md)
	PYTHONPATH=release $(RELEASE_VENV)/bin/python -m ocore_release push

cosign: $(COSIGN) ## The program that signs a release (three minutes; cached)
	@echo $<

sign: $(COSIGN) ## Sign the checksums in dist/ with COSIGN_KEY; `make publish` does it too
	COSIGN=$(COSIGN) release/sign $(DIST)

DIST ?= dist
publish: $(RELEASE_VENV)/.done skopeo $(if $(COSIGN_KEY),sign) ## Copy images and chart in dist/ to the registry that they were built for
	PYTHONPATH=release COSIGN=$(COSIGN) $(RELEASE_VENV)/bin/python -m ocore_release publish

# Installed where that needs no password.
skopeo:
	@command -v skopeo >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || { \
	  echo "Installing Debian's package skopeo"; \
	  apt-get install -y -qq --no-install-recommends skopeo >/dev/null 2>&1 || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends skopeo >/dev/null; }; }

$(WEBSITE_VENV)/.done: requirements/docs.txt
$(RELEASE_VENV)/.done: requirements/release.txt
$(RELEASE_VENV)/.done $(WEBSITE_VENV)/.done:
	@$(PYTHON) -m venv $(@D)
	@env -u PYTHONPYCACHEPREFIX $(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(COSIGN): PROGRAM := cosign
$(ACTIONLINT): PROGRAM := actionlint
$(COSIGN) $(ACTIONLINT):
	@echo "Building $(PROGRAM) (cached; cosign takes three minutes of processor time)"
	@mkdir -p $(@D) && cd release/tools/$(PROGRAM) && env -u COSIGN_PRIVATE_KEY -u COSIGN_PASSWORD flock $@.lock sh -ec '[ ! -e $@ ] || exit 0; \
	  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w" -o $@.new \
	    "$$(go list -f "{{.ImportPath}}" tool)" && mv $@.new $@'

##@ Set-up
venv: $(VENV)/.done ## The locked Python dependencies, in a virtual environment outside the checkout
demo-venv: $(DEMO_VENV)/.done # those of the demo and of the plugin, without those of tests and checks
# pip compiles them beside their code: the demo and the plugin are also started without this file. The folder's name
# says which packages: a file that a clean checkout has just written is no reason to install them again.
$(VENV)/.done: LOCKED := -r requirements/dev.txt
$(DEMO_VENV)/.done: LOCKED := -r requirements/cli.txt
$(VENV)/.done $(DEMO_VENV)/.done: | requirements/dev.txt python3-venv
	@[ -n "$(PYTHON)" ]
	@echo "Installing the locked Python dependencies into $(@D) (about a minute)"
	$(PYTHON) -m venv $(@D)
	env -u PYTHONPYCACHEPREFIX $(@D)/bin/pip install -qq --disable-pip-version-check --require-hashes $(LOCKED)
	touch $@

# A machine without Python: installed where that needs no password.
python3-venv:
	@requirements/python >/dev/null 2>&1 || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || { \
	  echo "Installing Debian's package python3-venv"; mkdir -p $(OCORE_CACHE)/locks; \
	  flock $(OCORE_CACHE)/locks/apt sh -ec 'requirements/python >/dev/null 2>&1 || { apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; }'; }

bin:
	@echo $(BIN)

postgresql-wheels: $(WHEELS) ## PostgreSQL servers of majors that Debian lacks, for the tests (2 s)
	@echo $<
$(WHEELS): | venv
	mkdir -p $(@D) && flock $(@D)/wheels.lock sh -c '[ -e $@ ] || { rm -rf $@.tmp && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile --only-binary=:all: \
	    --implementation cp --python-version 3.11 --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 \
	    --target $@.tmp -r requirements/postgres.txt && mv $@.tmp $@; }'

docker-registry: $(DOCKER_REGISTRY) ## A registry for the tests of `make push`, out of Debian's package (seconds)
	@echo $<
# Unpacked, not installed: the package's service would start on this machine.
$(DOCKER_REGISTRY):
	mkdir -p $(@D) && cd $(@D) && flock lock sh -ec '[ ! -e docker-registry ] || exit 0; rm -rf new && mkdir new && cd new; \
	  apt-get -qq download docker-registry 2>/dev/null || { apt-get -qq update && apt-get -qq download docker-registry; }; \
	  dpkg-deb -x docker-registry_*.deb . && usr/bin/docker-registry --version >/dev/null && \
	  mv usr/bin/docker-registry .. && cd .. && rm -rf new'

promtool: $(PROMTOOL) ## promtool for the tests of the alerts, out of Debian's package `prometheus` (seconds)
# Unpacked, not installed: the package's service would start on this machine.
$(PROMTOOL):
	mkdir -p $(@D) && cd $(@D) && flock lock sh -ec '[ ! -e promtool ] || exit 0; rm -rf new && mkdir new && cd new; \
	  apt-get -qq download prometheus 2>/dev/null || { apt-get -qq update && apt-get -qq download prometheus; }; \
	  dpkg-deb -x prometheus_*.deb . && usr/bin/promtool --version >/dev/null && mv usr/bin/promtool .. && cd .. && \
	  rm -rf new'

cel: $(CEL) ## The program that compiles and evaluates CEL as the oldest Kubernetes does that the chart names (two minutes; cached)
	@echo $<
$(CEL):
	@mkdir -p $(@D) && cd tests/cel && flock $@.lock sh -ec '[ ! -e $@ ] || exit 0; \
	  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w" -o $@.new . && mv $@.new $@'

provider: $(PROVIDER) ## The OpenID Connect provider of the tests of the page (seconds; cached)
	@echo $<
$(PROVIDER):
	@mkdir -p $(@D) && cd tests/provider && flock $@.lock sh -ec '[ ! -e $@ ] || exit 0; \
	  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w" -o $@.new . && mv $@.new $@'

versitygw: $(VERSITYGW) ## The second S3 server, of the benchmarks and of the tests marked `long` (two minutes; cached)
	@echo $<
$(VERSITYGW):
	@mkdir -p $(@D) && cd tests/versitygw && flock $@.lock sh -ec '[ ! -e $@ ] || exit 0; \
	  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w" -o $@.new \
	  github.com/versity/versitygw/cmd/versitygw && mv $@.new $@'

bench-tools: $(BENCH_TOOLS) ## wrk and nginx for the figures of the REST API, unpacked from Debian's packages (seconds)
# Unpacked, not installed: nginx would start. The network of the cluster, where they run, has no way to a mirror.
$(BENCH_TOOLS):
	mkdir -p $(@D) && cd $(@D) && flock $@.lock sh -ec '[ ! -e $@ ] || exit 0; \
	  rm -rf $@.new && mkdir $@.new && cd $@.new; \
	  set -- wrk nginx nginx-common libluajit-5.1-2 libluajit-5.1-common; \
	  apt-get -qq download "$$@" 2>/dev/null || { apt-get -qq update && apt-get -qq download "$$@"; }; \
	  for deb in *.deb; do dpkg-deb -x $$deb .; done; mv $@.new $@'

clients: $(CLIENTS) ## npm packages of the REST API's test clients, as locked (seconds)
$(CLIENTS):
	@mkdir -p $(@D) && flock $@.lock sh -ec '[ ! -e $@ ] || exit 0; rm -rf $@.new && mkdir $@.new; \
	  cp tests/clients/package.json tests/clients/package-lock.json tests/clients/.npmrc $@.new; \
	  cd $@.new && npm ci --silent; mv $@.new $@'

# Two builds take turns. Each use makes a build the newest one; the last five, and those of three hours, may be in use.
ui: $(UI_MODULES) ## The page of the REST API, type-checked and built out of its locked npm packages; prints its folder (seconds)
	@flock $(OCORE_CACHE)/ui.lock sh -ec '[ ! -e $(UI) ] || { touch $(UI); exit 0; }; rm -rf $(UI).new; cp -r ui $(UI).new; \
	  cd $(UI).new; rm -rf node_modules; ln -s $(UI_MODULES)/node_modules node_modules; \
	  node_modules/.bin/openapi-typescript $(CURDIR)/docs/openapi.json -o src/api/schema.d.ts >/dev/null; \
	  node_modules/.bin/tsc; node build.mjs; touch .; mv $(UI).new $(UI); cd $(OCORE_CACHE); \
	  ls -dt ui-???????????? | tail -n +6 | xargs -r -I @ find @ -maxdepth 0 -mmin +180 -exec rm -rf {} +'
	@echo $(UI)/dist
ui-modules: $(UI_MODULES) # prints the folder of its npm packages
	@echo $<
$(UI_MODULES):
	@mkdir -p $(@D) && flock $@.lock sh -ec '[ ! -e $@ ] || exit 0; rm -rf $@.new && mkdir $@.new; \
	  cp ui/package.json ui/package-lock.json ui/.npmrc $@.new; cd $@.new && npm ci --silent; mv $@.new $@'

swagger-ui: clients ## Put the locked Swagger UI into the facade
	cd $(CLIENTS)/node_modules/swagger-ui-dist && for f in swagger-ui-bundle.js swagger-ui.css; do \
	  gzip -9nc $$f >$(CURDIR)/api/ocore_api/swagger_ui/dist/$$f.gz; done; \
	  cp LICENSE NOTICE swagger-ui-bundle.js.LICENSE.txt $(CURDIR)/api/ocore_api/swagger_ui/dist/

deps: ## Debian packages for the tests and the local cluster (root)
	@missing=$$(for p in $(TEST_DEBS); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
	$(PART) set-up localcluster/cluster deps

# The images get the versions that the tests run with: dev first, the others within it.
lock: venv ## Lock the dependencies again (uv)
	for e in dev mover operator api cli demo docs release; do \
	  [ $$e = dev ] && within= || within="-c requirements/dev.txt"; \
	  uv pip compile -q pyproject.toml $$within --extra $$e --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header -o requirements/$$e.txt || exit; done
	for e in postgres=3.11 pip=3.11 odoo=3.13; do \
	  uv pip compile -q requirements/$${e%=*}.in --no-deps --python-version $${e#*=} --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header -o requirements/$${e%=*}.txt || exit; done
	for f in tests/clients ui; do (cd $$f && npm install --silent --package-lock-only) || exit; done

include localcluster/cluster.mk

.PHONY: help bin docs docs-site release cosign sign push publish skopeo release-python bench postgresql-matrix soak demo demo-clean test check lint format \
  generate test-unit test-servers test-mutants mutants test-cluster test-demo test-integration test-e2e \
  test-e2e-beside test-e2e-alone test-e2e-nodes test-apiservers test-oldest test-nodes test-all venv demo-venv python3-venv postgresql-wheels promtool docker-registry cel provider versitygw bench-tools clients \
  swagger-ui ui ui-modules deps lock
