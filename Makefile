# autotagd: what a person and CI run. `make help` lists it.
#
# It needs Go (the version in go.mod) and Python 3.11 or newer for the test against moto; `make check` also Node.js 18 or newer
# for the one against dynalite, and what it installs itself as root on Debian: Chromium (the status page), Prometheus (rules and
# dashboard), buildah and skopeo (the image), systemd and man (the Debian package). The race detector needs a C compiler besides: without
# one, tests run without it and say so; in CI that is a failure.
# Tools are built from tools/go.mod into bin/tools.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# No test and no demo may ask the machine's metadata address for credentials.
export AWS_EC2_METADATA_DISABLED := true

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
TOOLS := bin/tools
DIST ?= dist
GOFILES = $$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [[ -e $$f ]] && echo "$$f"; done)

# Every test runs with these; ARGS adds to them: make test ARGS='-run TestHints ./internal/awsclient'
RACE = $(shell [[ $$($(GO) env CGO_ENABLED) == 1 ]] && command -v "$$($(GO) env CC)" >/dev/null && echo -race)
TESTFLAGS = $(RACE) -shuffle=on -timeout=10m
ARGS ?=
# What is built without the race detector is built in one way, so that nothing is compiled twice.
PLAIN := CGO_ENABLED=0 GOFLAGS=-trimpath
FUZZTIME ?= 10s
BENCHCOUNT ?= 1
SCALETIME ?= 5m
SEEDS ?= 1000
WEEKS ?= 20
SEED ?= $(shell od -An -N6 -tu8 /dev/urandom | tr -d ' ')
KILLS ?= 200
LOADTIME ?= 5m
SOAKTIME ?= 15m
BIN ?= bin/autotagd

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 12

.PHONY: build
build: ## bin/autotagd (or BIN), static; the same bytes from the same commit and Go
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false \
	  -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o $(BIN) ./cmd/autotagd

.PHONY: release
release: $(TOOLS)/nfpm $(TOOLS)/cyclonedx-gomod ## dist/: binaries, .deb, SBOMs and checksums; the same bytes from the same commit and Go
	VERSION='$(VERSION)' COMMIT='$(COMMIT)' GO='$(GO)' deploy/release '$(DIST)'

.PHONY: demo
demo: build ## the daemon against an AWS in the process; ARGS='--duration 30s' ends it
	bin/autotagd demo $(ARGS)

.PHONY: test
test: needs-race needs-moto ## every test, with the race detector where it can be; under three minutes once the build cache is warm
	AUTOTAGD_REQUIRE_MOTO=1 $(GO) test $(TESTFLAGS) $(or $(ARGS),./...)

.PHONY: check
check: format vet lint tidy generated imports slow image somesim ## what a change must pass beside the tests

.PHONY: format
format: $(TOOLS)/gofumpt
	@found=$$($(TOOLS)/gofumpt -l $(GOFILES)); [[ -z $$found ]] || { printf 'not formatted, run make fmt:\n%s\n' "$$found" >&2; exit 1; }

.PHONY: vet
vet:
	$(PLAIN) $(GO) vet ./...

.PHONY: lint
lint: $(TOOLS)/staticcheck
	$(PLAIN) $(TOOLS)/staticcheck ./...

.PHONY: tidy
tidy:
	$(GO) mod tidy -diff
	$(GO) mod verify

# Generating again must change nothing; on a tree with changes of its own too, so not by `git diff --exit-code`.
.PHONY: generated
generated: needs-moto
	@state() { git diff | sha256sum; git ls-files --others --exclude-standard | sort | xargs -r -d '\n' sha256sum; }; \
	before=$$(state); $(PLAIN) $(GO) generate ./pkg/... ./...; [[ $$(state) == "$$before" ]] || \
	  { echo 'generated files were out of date: they have been made anew, commit them' >&2; exit 1; }

.PHONY: imports
imports:
	$(PLAIN) $(GO) test -count=1 ./internal/archtest

# Tests that take longer than `make test` should are behind AUTOTAGD_SLOW, and those against dynalite need Node.js, those of what Prometheus
# reads Prometheus; the packages that have some run again, with them. Without the race detector: `make test` has it, and most of what is
# slow runs in processes of its own or in virtual time, where it only costs minutes.
.PHONY: slow
slow: needs-moto needs-dynalite needs-chromium needs-prometheus needs-debian needs-jq
	@dirs=$$({ git grep -lE --untracked 'AUTOTAGD_SLOW|AUTOTAGD_REQUIRE_PROMETHEUS|dynalite\.Start' -- '*_test.go' || true; } | xargs -r -n1 dirname | sort -u | sed 's|^|./|'); \
	if [[ -z $$dirs ]]; then echo 'no test is behind AUTOTAGD_SLOW'; else \
	  set -x; AUTOTAGD_SLOW=1 AUTOTAGD_REQUIRE_MOTO=1 AUTOTAGD_REQUIRE_DYNALITE=1 AUTOTAGD_REQUIRE_CHROMIUM=1 AUTOTAGD_REQUIRE_PROMETHEUS=1 $(PLAIN) $(GO) test -shuffle=on -timeout=15m $$dirs; fi

.PHONY: image
image: needs-buildah ## the image of the Dockerfile, built without its base, looked at and run: as root on Debian
	AUTOTAGD_IMAGE=1 $(PLAIN) $(GO) test -run='^TestImage$$' -count=1 -timeout=30m ./cmd/autotagd

.PHONY: somesim
somesim:
	$(MAKE) sim SEEDS=50 WEEKS=1

.PHONY: bench
bench: ## every benchmark: of polling, of tagging, of a start, and of the parts
	@dirs=$$(git grep -l --untracked '^func Benchmark' -- '*_test.go' | xargs -r -n1 dirname | sort -u | sed 's|^|./|'); \
	set -x; $(GO) test -run='^$$' -bench=. -benchmem -count=$(BENCHCOUNT) -timeout=30m $(or $(ARGS),$$dirs)

.PHONY: bench-scale
bench-scale: ## one process over 1,700 Scopes, for SCALETIME (5m) after all were begun: fails where it takes more than it may
	AUTOTAGD_SCALE=$(SCALETIME) $(GO) test -run='^TestScale$$' -count=1 -timeout=2h ./cmd/autotagd -v

# A seed has one history: see test/sim. Go's own packages are built anew for that, once.
.PHONY: sim
sim: ## the simulation: SEEDS (1000) of two hours and WEEKS (20) of seven days, from SEED on; what fails fails again with its SEED
	$(GO) run ./test/sim bin/sim
	CGO_ENABLED=0 $(GO) test -c -tags=simreplay -overlay=bin/sim/overlay.json -ldflags=-checklinkname=0 -o bin/sim/sim.test ./internal/daemon
	cd internal/daemon && AUTOTAGD_SIM=$(SEEDS) AUTOTAGD_SIM_WEEKS=$(WEEKS) AUTOTAGD_SIM_SEED=$(SEED) \
	  ../../bin/sim/sim.test -test.run='^TestSimulation' -test.timeout=2h

.PHONY: sim-mutants
sim-mutants: ## that the simulation finds each way to break an invariant in internal/daemon/testdata/mutants, and how soon; ten minutes or so
	AUTOTAGD_SIM_MUTANTS=1 $(GO) test $(or $(ARGS),-run='^TestMutants$$') -count=1 -timeout=0 -v ./internal/daemon

.PHONY: kill
kill: needs-dynalite ## the binary killed KILLS (200) times at random moments, with each store: fails where anything was lost
	AUTOTAGD_KILLS=$(KILLS) AUTOTAGD_REQUIRE_DYNALITE=1 $(GO) test -run='^TestKilledAtRandomMoments$$' -count=1 -timeout=2h ./cmd/autotagd -v

.PHONY: load
load: ## busy Scopes: hours in virtual time, a million names, then the binary at 30 writing events a second for LOADTIME (5m): fails where lag or memory grow
	AUTOTAGD_LOAD=$(LOADTIME) $(GO) test -run='^TestLoad|MillionNames$$' -count=1 -timeout=2h ./internal/daemon ./pkg/tagger -v
	AUTOTAGD_LOAD=$(LOADTIME) $(GO) test -run='^TestLoad$$' -count=1 -timeout=2h ./cmd/autotagd -v

.PHONY: soak
soak: ## the binary at twenty times the demo's load with faults, for SOAKTIME (15m): fails where memory or goroutines grow
	AUTOTAGD_SOAK=$(SOAKTIME) $(GO) test -run='^TestSoak$$' -count=1 -timeout=6h ./cmd/autotagd -v

.PHONY: dashboard-picture
dashboard-picture: needs-prometheus needs-chromium ## docs/dashboard.png: the dashboard's figures of ten minutes of the demo, drawn without Grafana
	AUTOTAGD_PICTURE=10m AUTOTAGD_REQUIRE_PROMETHEUS=1 $(GO) test -run='^TestDashboardPicture$$' -count=1 -timeout=30m ./cmd/autotagd

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	@git grep -h -o --untracked '^func Fuzz[A-Za-z0-9]*' -- '*_test.go' >/dev/null || { echo 'no fuzz target' >&2; exit 1; }
	@git grep --untracked -o '^func Fuzz[A-Za-z0-9]*' -- '*_test.go' | while IFS=: read -r file func; do \
	  (set -x; $(GO) test -run='^$$' -fuzz="^$${func#func }$$" -fuzztime=$(FUZZTIME) "./$$(dirname "$$file")"); done

# In this order: the policies in deploy/ follow from what pkg/ generates.
.PHONY: generate
generate: needs-moto ## what is made of the catalog and of AWS's service models; the policies in deploy/
	$(GO) generate ./pkg/... ./...

.PHONY: fmt
fmt: $(TOOLS)/gofumpt ## format every Go file
	$(TOOLS)/gofumpt -w $(GOFILES)

.PHONY: tools
tools: $(TOOLS)/staticcheck $(TOOLS)/gofumpt $(TOOLS)/benchstat ## the pinned tools, in bin/tools

$(TOOLS)/staticcheck: PACKAGE := honnef.co/go/tools/cmd/staticcheck
$(TOOLS)/gofumpt: PACKAGE := mvdan.cc/gofumpt
$(TOOLS)/benchstat: PACKAGE := golang.org/x/perf/cmd/benchstat
$(TOOLS)/nfpm: PACKAGE := github.com/goreleaser/nfpm/v2/cmd/nfpm
$(TOOLS)/cyclonedx-gomod: PACKAGE := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
$(TOOLS)/%: tools/go.mod tools/go.sum
	CGO_ENABLED=0 GOFLAGS= $(GO) build -C tools -trimpath -buildvcs=false -o '$(CURDIR)/$@' $(PACKAGE)
	@touch '$@' # go leaves the file as it is when the build is the same

.PHONY: needs-moto
needs-moto:
	@test/moto/setup >/dev/null

.PHONY: needs-dynalite
needs-dynalite:
	@test/dynalite/setup

# debian looks for commands and, as root on Debian, installs the packages that have them: COMMANDS,PACKAGES,WHAT FOR.
define debian
@missing() { for c in $(1); do command -v "$$c" >/dev/null || return 0; done; return 1; }; \
! missing || { [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null && apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) </dev/null && ! missing; } || \
  { echo 'needed for $(3): $(1); on Debian: apt-get install $(2)' >&2; exit 1; }
endef

.PHONY: needs-jq
needs-jq:
	$(call debian,jq,jq,the commands of the documents)

.PHONY: needs-chromium
needs-chromium:
	$(call debian,chromium,chromium fonts-dejavu-core,the tests of the status page)

.PHONY: needs-buildah
needs-buildah:
	$(call debian,buildah skopeo,buildah skopeo ca-certificates,the test of the image)

.PHONY: needs-prometheus
needs-prometheus:
	$(call debian,prometheus promtool,prometheus,the tests of the rules and the dashboard)

# The build for arm64 takes minutes the first time: here, and not at the cost of a test's time.
.PHONY: needs-debian
needs-debian: $(TOOLS)/nfpm $(TOOLS)/cyclonedx-gomod
	$(call debian,systemd-analyze man groff,systemd man-db groff-base,the tests of the Debian package)
	GOARCH=arm64 GOARM64=v8.0 CGO_ENABLED=0 GOFLAGS= $(GO) build -trimpath -buildvcs=false -o /dev/null ./cmd/autotagd

.PHONY: needs-race
needs-race:
	@[[ -n '$(RACE)' ]] || { \
	  echo 'NOTE: no C compiler, so the tests run WITHOUT the race detector; on Debian: apt-get install gcc libc6-dev' >&2; [[ -z "$${CI:-}" ]]; }

.PHONY: clean
clean: ## what the build made; not Go's cache
	rm -rf bin dist test/moto/.venv test/dynalite/node_modules test/grafana/node_modules
