# Everything a person runs here. `make help` lists it.

CARGO ?= cargo
JOBS ?= 2
# How many Pods `make prove` generates.
CASES ?= 100000
export CARGO_BUILD_JOBS = $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help build run test demo bench prove lint clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the release binary, target/release/sandgate
	$(CARGO) build --release --locked

run: ## Send example Pods to a real webhook over TLS and show what becomes of them (KEEP=1: stay up)
	@$(CARGO) build --quiet --locked --bin sandgate --example run
	@$(CARGO) run --quiet --locked --example run

test: ## Run every test, those against a real kube-apiserver included (builds it from Go modules, once)
	$(CARGO) test --locked

demo: ## A guided tour: a real control plane, the webhook, and kubectl
	@$(CARGO) build --quiet --locked --bin sandgate --example demo
	@$(CARGO) run --quiet --locked --example demo

bench: ## Measure the webhook against two that decide nothing, and through a real kube-apiserver
	$(CARGO) build --release --locked
	$(CARGO) bench --locked --bench rules --bench admission --bench apiserver

prove: ## Hold generated Pods against an independent statement of the policy, at length (CASES=100000)
	SANDGATE_PROVE_CASES=$(CASES) $(CARGO) test --release --locked --test oracle -- --nocapture

lint: ## Check format, lints, the pure engine, and the dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) check --locked --no-default-features --lib
	@for crate in ring openssl-sys native-tls; do \
	  if [ -n "$$($(CARGO) tree --locked -e all -i $$crate 2>/dev/null)" ]; then echo "$$crate is in the dependency tree"; exit 1; fi; \
	done; echo "no ring, no OpenSSL in the dependency tree"
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline --locked check bans licenses sources; \
	else echo "SKIPPED: cargo deny is not installed (cargo install cargo-deny)"; fi

clean: ## Remove what was built here (the test bed's cache stays)
	$(CARGO) clean
