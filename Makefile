# Everything a contributor types. `make help` lists the targets.
GO       ?= go
FUZZTIME ?= 20s
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@latest
FAULTS = 'PowerCut|Torn|BitFlip|FullDisk|FailedSync|Corrupt|Recover|Panic|Crash|Interrupted'
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@latest

.PHONY: help build man demo demo-web test model test-postgres test-web test-app torture torture-short bench bench-full microbench slo bench-cluster cluster cluster-short lint vuln fuzz vectors release packages test-deploy clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

man: build ## write the manual pages and completions into bin
	./bin/wnode man bin

build: ## build bin/wnode
	$(GO) build -o bin/wnode ./cmd/wnode

demo: build ## run the whole loop once: message, push, preview; STORE=postgres://… on an empty database, its password in PGPASSWORD
	./bin/wnode demo $(if $(STORE),--store '$(STORE)')

demo-web: build ## a server on this computer alone, with a messenger for browsers: prints its address, until it is interrupted
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
		./bin/wnode --datadir "$$dir" --config web/app/demo.toml | sed -un 's/^door: /Open in two browsers, or in a window and a private one: /p'

test: ## all tests with the race detector, the genuine node and the genuine gorush included
	$(GO) test -race -shuffle=on -count=1 -timeout 15m ./...
	cd testutil/rival/node && $(GO) test -race -count=1 ./...

model: ## seeded histories of up to three phones, 20,000 with a modelled server and 2,000 with the real one: crashes, lost and repeated pushes, restored backups; about two minutes
	GOGC=800 $(GO) test -v -count=1 -timeout 30m -run '^TestModel$$' ./pushext/client/inbox -model.histories 20000 -model.served 2000

test-postgres: ## what keeps its data in PostgreSQL, against a server of its own (needs Debian's postgresql)
	$(GO) test -race -shuffle=on -count=1 -timeout 10m ./postgres/... ./testutil/genuinepostgres

test-web: ## the TypeScript package in web/client: types, vectors of both languages, fuzzing; web3-shh against a node (needs Node 20.19 and npm)
	npm --prefix web/client ci --no-audit --no-fund
	npm --prefix web/client run check
	npm --prefix web/client test
	npm --prefix testutil/web3shh ci --no-audit --no-fund
	npm --prefix testutil/web3shh test

test-app: ## the messenger in web/app, driven in Chromium and Firefox (needs Node, npm and Debian's chromium and firefox-esr)
	npm --prefix web/client ci --no-audit --no-fund
	npm --prefix web/app ci --no-audit --no-fund
	npm --prefix web/app run check
	npm --prefix web/app test

torture-short: ## kill, fill, flip and overload a node for about two minutes
	$(GO) test -v -count=1 -timeout 15m ./testutil/torture -torture.rounds 12 -torture.kills 30 -torture.flips 100 -torture.scale 5
	$(GO) test -count=1 -timeout 15m -run $(FAULTS) ./durable ./mailserver/... ./pushext/pushserver/... ./whisper

torture: ## the same with 200 kills and 1,000 flips, about a quarter of an hour
	$(GO) test -v -count=1 -timeout 3h ./testutil/torture -torture.rounds 200 -torture.kills 200 -torture.flips 1000 -torture.scale 100
	$(GO) test -v -count=1 -timeout 1h -run $(FAULTS) ./durable ./mailserver/... ./pushext/pushserver/... ./whisper

bench: ## measure beside the genuine node and the bare machine, some minutes
	$(GO) run ./bench

bench-full: ## the same with the sizes of docs/performance.md
	$(GO) run ./bench -full

microbench: ## the benchmarks of every package, one short round
	$(GO) test -run '^$$' -bench . -benchtime 1s -benchmem ./...

slo: ## the promise of 15 s, measured: 10,000 messages to 1,000 devices through bad networks and failing providers
	$(GO) run ./bench/slo $(SLO)

# The commit before takes part in a cluster, where there is one.
BEFORE = $(shell git rev-parse -q --verify HEAD~1 >/dev/null 2>&1 && echo -cluster.before HEAD~1)

cluster-short: ## three nodes on PostgreSQL and its standby, broken for 75 s (needs Debian's postgresql)
	$(GO) test -v -count=1 -timeout 10m ./testutil/chaos -cluster.time 75s -cluster.devices 60 $(BEFORE) $(CLUSTER)

bench-cluster: ## measure one to three nodes on PostgreSQL beside bare loops on the same server, some minutes (needs Debian's postgresql); RIVAL=DIRECTORY: also beside XMTP's notification server, of which you bring a checkout
	$(GO) run ./bench -cluster $(if $(RIVAL),-rival $(RIVAL))

cluster: ## the same with 1,000 devices for a quarter of an hour; CLUSTER=-cluster.seed=N repeats a run
	$(GO) test -v -count=1 -timeout 1h ./testutil/chaos -cluster.time 15m -cluster.devices 1000 -cluster.every 40ms $(BEFORE) $(CLUSTER)

lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	cd testutil/genuine && $(GO) vet ./...
	cd testutil/genuinegorush/server && $(GO) vet ./...
	cd testutil/genuinestatus/server && $(GO) vet ./...
	cd testutil/rival/node && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

vuln: ## known vulnerabilities in what we call (needs the Internet)
	$(GO) run $(GOVULNCHECK) ./...

fuzz: ## every fuzz target for FUZZTIME (default 20s)
	@grep -rlE '^func Fuzz' --include='*_test.go' --exclude-dir=genuine . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go | sed 's/func //'); do \
			echo "fuzz $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

screenshots: ## write docs/status.png and docs/app-*.png, in a real browser (needs chromium, and for the app what test-app needs)
	$(GO) test -count=1 -run TestBrowserDraws ./wnode/statuspage -args -screenshot $(CURDIR)/docs/status.png
	node web/app/test/screenshots.mjs $(CURDIR)/docs

vectors: ## write the golden vectors of shh/6 anew with the genuine node
	cd testutil/genuine && $(GO) run -ldflags=-checklinkname=0 ./cmd/vectors -out ../../whisper/testdata/genuine

release: ## static binaries for amd64 and arm64 with checksums and SBOMs, in dist (of a clean commit always the same)
	deploy/release.sh

packages: release ## packages for Debian and RPM beside them
	deploy/packages.sh

test-deploy: ## try them: built twice and equal, installed, upgraded and purged; the unit, the alert rules (needs root and Debian)
	deploy/test.sh

clean: ## remove what build made
	rm -rf bin dist
