# `make` says what there is. Go is the only thing needed; gcc as well for `make test` (the race detector).
GO      ?= go
IMAGE   ?= idle-scaler
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

TOOL    := $(GO) tool -modfile=tools/go.mod
MODULES := . test/cluster tools

# test/cluster is all of Kubernetes: its build, vet and tests use the same flags, so that each finds in Go's cache what the others compiled.
CLUSTER_FLAGS   := -trimpath
CLUSTER_SOURCES := test/cluster/go.mod test/cluster/go.sum \
	$(shell find test/cluster -type f ! -name '*_test.go' ! -name 'go.*')
CLUSTER         := cd test/cluster && CGO_ENABLED=0

# Reads `go build -v`: counts the packages, passes everything else (downloads, errors) on.
COUNT := { n=0; while read -r line; do \
		case $$line in *' '*) echo "  $$line" ;; \
		*) n=$$((n + 1)); [ $$((n % 50)) -ne 0 ] || echo "  compiled $$n packages ..." ;; esac; \
	done; }

.DEFAULT_GOAL := help
.PHONY: help build cluster clock run demo test unit e2e test-cluster check chaos chaos-short fmt bench image clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

build: ## bin/idle-scaler
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/idle-scaler ./cmd/idle-scaler

cluster: bin/cluster ## bin/cluster, a real Kubernetes control plane in one process (the first build takes 5-7 minutes)

bin/cluster: $(CLUSTER_SOURCES)
	@echo "building bin/cluster: about 2,200 packages, 5-7 minutes the first time on 2 cores, then seconds"
	@mkdir -p bin && rm -f bin/cluster.new
	@($(CLUSTER) $(GO) build -v $(CLUSTER_FLAGS) -o ../../bin/cluster.new .) 2>&1 | $(COUNT)
	@test -f bin/cluster.new && mv bin/cluster.new $@ && echo "built $@"

# Not a file that make looks after: Go knows best what has changed. All but the daemon itself comes from Go's cache after the first time.
clock: ## bin/idle-scaler-clock, the daemon with a clock that can be wrong, for chaos
	@echo "building bin/idle-scaler-clock: 2-3 minutes the first time on 2 cores, then seconds"
	@$(GO) run ./test/chaos/clock -o bin/idle-scaler-clock

run: ## the daemon against your kubeconfig's cluster: make run ARGS='--nats nats://127.0.0.1:4222 --namespaces team-a'
	$(GO) run -ldflags '$(LDFLAGS)' ./cmd/idle-scaler run $(ARGS)

demo: build cluster ## the whole story on this machine: control plane, NATS and daemon; nothing to install
	@$(GO) build -o bin/demo ./test/demo && exec bin/demo $(ARGS) # not by go run, which says at Ctrl-C that the demo has failed

test: unit e2e test-cluster chaos-short ## every test, on the real API server and the real NATS server

unit: ## unit and integration tests, with real NATS servers and without the control plane
	$(GO) test -short -race -shuffle=on -timeout 15m -parallel 8 ./... # those with a server of their own mostly wait

# The packages that start the control plane. Of their tests -short skips those that need it.
WITH_CLUSTER = $$($(GO) list -f '{{.ImportPath}}: {{.TestImports}}' ./... | sed -n 's,: .*/test/clustertest.*,,p')

e2e: cluster ## the tests on the control plane: the daemon as its users meet it, and the Kubernetes adapter
	$(GO) test -race -shuffle=on -timeout 30m -parallel 12 $(WITH_CLUSTER) # they mostly wait

test-cluster: cluster ## the tests of the control plane that the other tests trust, and of what kubectl makes of deploy
	$(CLUSTER) $(GO) test -count=1 -timeout 30m $(CLUSTER_FLAGS) ./...

check: cluster ## format, vet, staticcheck, golangci-lint and tidy modules; changes nothing
	@echo 'gofumpt -l .'; files=$$($(TOOL) gofumpt -l .) || exit; \
		[ -z "$$files" ] || { echo "$$files"; echo "not formatted: make fmt"; exit 1; }
	$(GO) vet ./...
	$(CLUSTER) $(GO) vet $(CLUSTER_FLAGS) ./...
	$(TOOL) staticcheck ./...
	$(TOOL) golangci-lint run
	@for module in $(MODULES); do echo "go mod tidy -diff ($$module)"; $(GO) -C $$module mod tidy -diff || exit; done

fmt: ## format all Go files
	$(TOOL) gofumpt -w .

# CHAOS is one run. A seed of 0 is another one each time, and printed.
CHAOS := $(GO) test ./test/chaos -v -timeout 90m -run '^TestChaos$$'

chaos-short: clock cluster ## make chaos as a part of make test, two minutes in all: make chaos-short SEEDS='7 8 9'
	@for seed in $(or $(SEEDS),1 2); do $(CHAOS) -chaos.seed=$$seed -chaos.duration=25s -chaos.servers=50 || exit; done

chaos: clock cluster ## kill, freeze and cut off everything at random: make chaos SEED=7 DURATION=2m SERVERS=150
	$(CHAOS) -chaos.seed=$(or $(SEED),0) -chaos.duration=$(or $(DURATION),2m) -chaos.servers=$(or $(SERVERS),150)

bench: build cluster ## benchmarks, with the ratios that docs/performance.md asks for: make bench BENCH=Sweep
	$(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -timeout 30m ./...

image: ## container image IMAGE:VERSION, which is IMAGE:latest too, by docker
	docker build --build-arg VERSION='$(VERSION)' -t '$(IMAGE):$(VERSION)' -t '$(IMAGE):latest' .

clean: ## remove bin/ (Go's caches stay)
	rm -rf bin
