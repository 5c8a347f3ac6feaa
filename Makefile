# Every command of the project. make help lists them.
#
#   YES=1      answers yes when a missing package is to be installed (CI=true too)
#   REAL=0     make test without the real engines, said aloud
#   TOOLS=0    make test and race without kcat, Chromium, node-smpp, tshark and erlang-diameter, said aloud
#   RUN=Name   only the tests that match
#   ARGS=...   further arguments of make demo

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
GO_WANTED := 1.26
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := .run/bin/golangci-lint
PACKAGES ?= ./...
RUN ?= .
FUZZTIME ?= 10s
NO_TOOLS = $(if $(filter 0,$(TOOLS)),1)

# The packages whose tests take their engines from internal/testenv; only they
# differ between the two sets.
TESTENV := mobileid/internal/testenv
TESTENV_USERS = $(GO) list -f '{{$$p := .ImportPath}}{{if eq $$p "$(TESTENV)"}}{{$$p}}{{end}}{{range .TestImports}}{{if eq . "$(TESTENV)"}}{{$$p}}{{"\n"}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "$(TESTENV)"}}{{$$p}}{{"\n"}}{{end}}{{end}}' $(PACKAGES) | sort -u

.PHONY: help
help: ## list the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: go-version
go-version:
	@command -v $(GO) >/dev/null || { echo "!!! Go $(GO_WANTED) or later is needed and there is no '$(GO)' in PATH: https://go.dev/dl/"; exit 1; }
	@have=$$($(GO) env GOVERSION); have=$${have#go}; \
	if [ "$$(printf '%s\n%s\n' $(GO_WANTED) "$$have" | sort -V | head -n 1)" != $(GO_WANTED) ]; then \
		echo "!!! Go $(GO_WANTED) or later is needed, this is $$have: https://go.dev/dl/"; exit 1; fi

.PHONY: build
build: go-version ## build the programs into bin/
	$(GO) build -trimpath -o bin/ ./cmd/...

.PHONY: demo
demo: go-version ## start the whole system on embedded engines and serve its page
	@mkdir -p bin
	@echo "building bin/mobileid (the first time takes a minute or two)"
	@$(GO) build -trimpath -o bin/mobileid ./cmd/mobileid
	@exec bin/mobileid demo $(ARGS)

# What tests run beside the engines. INSTEAD ends the one loud line of a script
# that cannot do its work.
.PHONY: test-tools
test-tools: go-version
	@if [ "$${TOOLS:-1}" = 0 ]; then \
		echo "!!! TOOLS=0: the outside Kafka client (kcat), the page in a browser (Chromium), the SMSC and the charging server that nobody here wrote (node-smpp, erlang-diameter) and the reading of our PDUs by tshark are NOT tested where they are missing"; \
	else \
		INSTEAD="with TOOLS=0 make leaves out the tests that need it" deploy/dev/test-tools; \
	fi

.PHONY: test
test: go-version test-tools ## all tests, on embedded engines and on real ones (REAL=0: embedded only)
	@if [ "$${REAL:-1}" = 0 ]; then \
		echo "!!! REAL=0: the real engines (Apache Kafka, Redis Cluster, PostgreSQL) are NOT tested in this run"; \
	else \
		INSTEAD="without real engines half of the tests cannot run; REAL=0 make test runs the embedded half" deploy/dev/services-up; \
	fi
	@echo "== embedded engines"
	MOBILEID_TEST_ENGINES=embedded MOBILEID_TEST_NO_TOOLS=$(NO_TOOLS) $(GO) test -count=1 -timeout 15m -run '$(RUN)' $(PACKAGES)
	@if [ "$${REAL:-1}" != 0 ]; then \
		echo "== real engines"; \
		MOBILEID_TEST_ENGINES=real MOBILEID_TEST_NO_TOOLS=$(NO_TOOLS) $(GO) test -count=1 -timeout 15m -p 1 -run '$(RUN)' $$($(TESTENV_USERS)); \
	fi

.PHONY: race
race: go-version test-tools ## all tests on embedded engines under the race detector
	MOBILEID_TEST_ENGINES=embedded MOBILEID_TEST_NO_TOOLS=$(NO_TOOLS) $(GO) test -count=1 -timeout 15m -race -run '$(RUN)' $(PACKAGES)

$(GOLANGCI_LINT):
	@mkdir -p .run/bin
	GOBIN=$(CURDIR)/.run/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

.PHONY: lint
lint: go-version $(GOLANGCI_LINT) ## formatting, import rules and the linters of .golangci.yaml
	@$(GOLANGCI_LINT) version | grep -qF '$(GOLANGCI_LINT_VERSION:v%=%)' || { rm -f $(GOLANGCI_LINT); $(MAKE) $(GOLANGCI_LINT); }
	$(GOLANGCI_LINT) run $(PACKAGES)

.PHONY: check
check: build lint test ## build, lint, test: what a change must pass

.PHONY: fuzz
fuzz: go-version ## every fuzz target for FUZZTIME (default 10s)
	@$(GO) list -f '{{.Dir}} {{.ImportPath}}' $(PACKAGES) | while read -r dir package; do \
		for target in $$(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | sed 's/^func //'); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

.PHONY: bench
bench: bench-smpp bench-charge bench-e2e bench-lanes bench-bridge ## every benchmark whose figures BENCH.md keeps

BENCH_BIN := .run/bench/bin
# The time limit is for a bench that waits for the last word on its requests.
BENCH_RUN = . .run/services.env; MOBILEID_TEST_ENGINES=real MOBILEID_BENCH_BIN=$(CURDIR)/$(BENCH_BIN) \
	$(GO) test -run '^$$' -benchtime 1x -timeout 60m ./internal/bench -bench

.PHONY: bench-e2e
bench-e2e: bench-programs ## accept to submit_sm on the real engines: latency beside its floor, ceiling (5 minutes)
	@$(BENCH_RUN) '^BenchmarkEndToEnd$$'

.PHONY: bench-lanes
bench-lanes: bench-programs ## codes behind a backlog of notices, beside codes alone: promise P8 (5 minutes)
	@$(BENCH_RUN) '^BenchmarkLanes$$'

.PHONY: bench-bridge
bench-bridge: bench-programs ## messages a second through a bridge, freely and as operators hold it back, beside Kannel if installed (14 minutes, 8 without)
	@$(BENCH_RUN) '^BenchmarkBridge$$'

.PHONY: bench-charge
bench-charge: bench-programs ## admissions a second, priced and reserved, beside a transaction each and a bare insert (2 minutes)
	@$(BENCH_RUN) '^BenchmarkCharge$$'

.PHONY: bench-smpp
bench-smpp: go-version ## submit_sm a second on one bind: a bare socket, our session, go-smpp's Transmitter (1 minute)
	@mkdir -p $(BENCH_BIN)
	@$(GO) build -trimpath -o $(BENCH_BIN)/ ./internal/bench/smscstub
	@git describe --always --dirty --abbrev=12 >$(BENCH_BIN)/commit 2>/dev/null || echo unknown >$(BENCH_BIN)/commit
	@MOBILEID_BENCH_BIN=$(CURDIR)/$(BENCH_BIN) $(GO) test -run '^$$' -benchtime 1x ./smpp -bench '^BenchmarkSession$$'

.PHONY: bench-programs
bench-programs: go-version services-up
	@mkdir -p $(BENCH_BIN)
	$(GO) build -trimpath -o $(BENCH_BIN)/ ./cmd/mobileid ./cmd/smscsim ./cmd/govsim ./internal/bench/load
	@git describe --always --dirty --abbrev=12 >$(BENCH_BIN)/commit 2>/dev/null || echo unknown >$(BENCH_BIN)/commit

.PHONY: services-up
services-up: ## start the real engines on private ports, data under .run/
	@deploy/dev/services-up

.PHONY: services-down
services-down: ## stop the real engines that services-up started
	@deploy/dev/services-down
