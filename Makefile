# Everything a person runs here. `make help` lists it.

CARGO ?= cargo
JOBS ?= 2
# The revision that `make bench-compare` compares with.
BASE ?= main
# The cases that `make bench-compare` counts: all whose name has this in it, such as "6 kB".
ONLY ?=
# How many Pods `make prove` generates for the engine, and how many it sends through a real API server.
CASES ?= 1000000
STORED ?= 20000
BACKSTOP ?= 6000
# How long `make fuzz` drives each target, in seconds.
FUZZ_SECONDS ?= 1800
# What `make fuzz` drives: one target for each reader of bytes that come from outside.
FUZZ_TARGETS ?= review head pod policy policy_pod patch quantity yaml workload image path pattern cel certificates audit trace
# How long `make ha` watches after each disturbance, in seconds, and how many clients create Pods at once.
HA_SECONDS ?= 20
CREATORS ?= 10,50,200,500
# How long `make soak` goes on disturbing a real cluster, in seconds.
SOAK_SECONDS ?= 3600
# 1 makes `make versions` try every minor version.
ALL ?=
# An archive of `make image` for `make cluster`; without it, what cargo builds for tests.
IMAGE ?=
export CARGO_BUILD_JOBS = $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help dev-certs build image run test versions demo cluster cluster-down engines soak attack attack-matrix node-cost bench bench-compare prove prove-backstop ha fuzz mutants chart book book-pages reproduce arm64 lint clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the release binary, target/release/sandgate
	$(CARGO) build --release --locked

image: ## Write the container image to target/sandgate.tar (needs buildah and cargo-cyclonedx, no daemon)
	@mkdir -p target
	scripts/image target/sandgate.tar

dev-certs: ## Write development certificates into certs/dev-out
	@$(CARGO) run --quiet --locked --bin sandgate -- certs dev --out certs/dev-out

run: ## Send example Pods to a real webhook over TLS and show what becomes of them (KEEP=1: stay up)
	@$(CARGO) build --quiet --locked --bin sandgate --example run
	@$(CARGO) run --quiet --locked --example run

test: ## Run every test, those against a real kube-apiserver included (builds it from Go modules, once)
	@CARGO="$(CARGO)" scripts/test

versions: ## Run the release and cluster tests on older and newer Kubernetes, and print a table (ALL=1: every minor version)
	@CARGO="$(CARGO)" ALL="$(ALL)" scripts/versions

demo: ## A guided tour: a real control plane, the webhook, and kubectl
	@$(CARGO) build --quiet --locked --bin sandgate --example demo
	@$(CARGO) run --quiet --locked --example demo

cluster: ## A real cluster with gVisor and sandgate, in namespaces of its own (root on Linux; IMAGE=target/sandgate.tar)
	@$(CARGO) build --quiet --locked --bin sandgate --example cluster
	@SANDGATE_IMAGE=$(IMAGE) $(CARGO) run --quiet --locked --example cluster -- up

cluster-down: ## End it, and leave nothing behind
	@$(CARGO) build --quiet --locked --example cluster
	@$(CARGO) run --quiet --locked --example cluster -- down

engines: ## Run Argo Workflows, Kueue and Ray under their presets on a real cluster (root on Linux; builds them, once)
	$(CARGO) build --locked
	SANDGATE_ENGINES=1 $(CARGO) test --locked --test node -- engines --nocapture

soak: ## Roll, rotate, restart and exhaust a real cluster again and again, and count escapes (SOAK_SECONDS=3600)
	$(CARGO) build --locked
	SANDGATE_SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test node -- exhaustion --nocapture
	SANDGATE_SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test node -- healing --nocapture

attack: ## Replay the known attacks on a release build under the chart's memory limit, and print what happened
	$(CARGO) build --release --locked --bin sandgate
	@$(CARGO) run --quiet --locked --example attack

attack-matrix: ## Ask from inside Pods which attack vectors of a node are open, and write docs/attack-surface.md (root on Linux)
	$(CARGO) build --locked
	SANDGATE_WRITE_MATRIX=1 $(CARGO) test --locked --test node -- attack_surface --nocapture

node-cost: ## Measure what gVisor and sandgate cost a Pod, and write docs/cost.md (root on Linux; a quarter of an hour)
	$(CARGO) bench --locked --bench node_cost

bench: ## Measure the webhook beside two that decide nothing and beside peers, with many policies, and through a real kube-apiserver
	$(CARGO) build --release --locked
	$(CARGO) bench --locked --bench rules --bench admission --bench reporting --bench peers --bench scale --bench apiserver --bench backstop

bench-compare: ## Compare the instructions that a review costs with those at another revision (BASE=main; needs valgrind)
	@CARGO="$(CARGO)" BASE="$(BASE)" scripts/bench-compare "$(ONLY)"

prove: ## Hold generated Pods against an independent statement of the policy (CASES=1000000 STORED=20000)
	$(CARGO) build --release --locked
	SANDGATE_PROVE_CASES=$(CASES) SANDGATE_PROVE_STORED=$(STORED) $(CARGO) test --release --locked --test oracle -- --nocapture --test-threads=2

prove-backstop: ## Hold the backstop against the engine on a real kube-apiserver, with generated Pods and every preset (BACKSTOP=6000)
	SANDGATE_PROVE_BACKSTOP=$(BACKSTOP) $(CARGO) test --locked --test oracle backstop -- --nocapture --test-threads=2

ha: ## Count the creates that fail while sandgate is disturbed, and measure many creators (root; HA_SECONDS=20 CREATORS=10,50,200,500)
	$(CARGO) build --release --locked
	SANDGATE_HA_SECONDS=$(HA_SECONDS) $(CARGO) test --release --locked --test release availability -- --nocapture --include-ignored --test-threads=1
	$(CARGO) bench --locked --bench apiserver -- --creators=$(CREATORS) --seconds=$(HA_SECONDS)

fuzz: ## Fuzz the engine with coverage (FUZZ_SECONDS=1800 for each target; needs cargo-fuzz, no nightly)
	@command -v cargo-fuzz >/dev/null || { echo "cargo fuzz is not installed: cargo install cargo-fuzz"; exit 1; }
	cd fuzz && $(CARGO) run --locked --quiet --bin seeds -- corpus
	cd fuzz && for target in $(FUZZ_TARGETS); do \
	  $(CARGO) fuzz run --sanitizer none $$target -- -dict=corpus/words.dict -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=30 || exit 1; \
	done

mutants: ## Break the engine in every small way and see that the unit tests notice (hours; needs cargo-mutants)
	@command -v cargo-mutants >/dev/null || { echo "cargo mutants is not installed: cargo install cargo-mutants"; exit 1; }
	$(CARGO) mutants --output target/mutants

chart: ## Write the chart's README and the policies' part of its schema, then lint and render every scenario
	SANDGATE_WRITE_CHART=1 $(CARGO) test --locked --test cluster -- chart::generated
	$(CARGO) test --locked --test cluster -- chart::conventions chart::large chart::names chart::namespaces chart::network chart::nulls chart::platforms chart::rendering chart::rights chart::workflows chart::wrong_values

book: ## Build the pages as a book with search, target/book/html (installs mdBook once, into the cache)
	@CARGO="$(CARGO)" scripts/book

book-pages: ## Write what is generated: pages of rules and presets, policy reference, controls, outputs of commands
	SANDGATE_WRITE_BOOK=1 $(CARGO) test --locked --test book -- --test-threads=1 consoles generated

reproduce: ## Build the release twice in two folders, and compare binary and SBOM byte by byte (needs cargo-cyclonedx)
	@scripts/reproduce

arm64: ## Cross-compile the binary for arm64, and run it under qemu (needs gcc-aarch64-linux-gnu and qemu-user)
	@scripts/arm64

lint: ## Check format, lints, spelling, links, terms, messages and the dependencies
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	rustfmt --check --edition 2024 tests/node/attack_surface/probe/main.rs tests/node/hoard/main.rs benches/node_cost/work/main.rs
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@for script in scripts/* .ci/run; do bash -n "$$script" || exit 1; done
	@for crate in ring openssl-sys native-tls; do \
	  if [ -n "$$($(CARGO) tree --locked -e all -i $$crate 2>/dev/null)" ]; then echo "$$crate is in the dependency tree"; exit 1; fi; \
	done; echo "no ring, no OpenSSL in the dependency tree"
	@CARGO="$(CARGO)" scripts/spelling
	$(CARGO) test --locked --test book -- links messages words
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check bans licenses sources; \
	else echo "SKIPPED: cargo deny is not installed (cargo install cargo-deny)"; fi

clean: ## Remove what was built here (the test bed's cache stays)
	$(CARGO) clean
