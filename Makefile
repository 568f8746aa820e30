# Everything a person runs. `make demo` and `make test` do their own set-up.

SHELL := /bin/bash
# One target directory for every clone: the engine and Pingora are built once.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/miroir/target
CARGO ?= cargo
FEATURES := --features embedded
BIN := $(CARGO_TARGET_DIR)/debug/miroir

.PHONY: help setup build demo test quick fuzz lint docs deny chart sdk instantsearch bench comparability latency moving beside speed parity described wishes page chaos release clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## install or name what the build needs: a C compiler, cmake, pkg-config, OpenSSL's headers
	@./scripts/setup.sh

build: setup ## build miroir with the embedded engine
	$(CARGO) build $(FEATURES)

demo: build ## three embedded nodes, the gateway (or GATEWAYS=3 on PostgreSQL), real cities; Ctrl-C ends it
	$(BIN) demo $(if $(GATEWAYS),--gateways $(GATEWAYS))

test: setup ## all tests: unit, end to end on real processes, the engine as judge
	$(CARGO) build $(FEATURES)
	$(CARGO) test --workspace $(FEATURES)

quick: setup ## what needs no engine: unit tests, the layers, fuzzing over the corpus
	$(CARGO) test -p miroir-layers
	$(CARGO) test -p miroir -p miroir-words --lib --test fuzz

fuzz: setup ## random changes of real inputs for SECONDS_EACH=60 a target; SEED=n chooses them
	MIROIR_FUZZ_SECONDS=$(or $(SECONDS_EACH),60) MIROIR_FUZZ_SEED=$(or $(SEED),1) $(CARGO) test --test fuzz -- --nocapture

lint: setup ## formatting, clippy and docs without warnings
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace $(FEATURES) --all-targets -- -D warnings
	$(CARGO) clippy --all-targets -- -D warnings
	@$(MAKE) --no-print-directory docs

docs: setup ## the pages of rustdoc: the gateway's, the words', the engine's
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace $(FEATURES) --no-deps --lib --document-private-items

deny: ## licences, sources and advisories of the dependencies
	./scripts/deny.sh

chart: ## lint and render the Helm chart
	./scripts/chart.sh

sdk: build ## a session of the official Python, JavaScript and Rust clients through the gateway
	MIROIR_BIN=$(BIN) ./examples/sdk/run.sh

instantsearch: build ## a page of InstantSearch in a real browser through the gateway; with MEILISEARCH_URL compared with one node, step by step
	MIROIR_BIN=$(BIN) ./examples/instantsearch/run.sh

bench: setup ## criterion benches of placement, split and merge
	$(CARGO) bench

# The engine has optimised dependencies in the dev profile too: with our own crate optimised as well, figures are those of a release
# build, without building the engine once more.
comparability: setup ## scores of differently filled shards compare, and what comparing costs
	CARGO_PROFILE_DEV_OPT_LEVEL=3 $(CARGO) bench --profile dev $(FEATURES) --bench score_comparability

latency: setup ## searches through the gateway against one node, their subrequests and a plain proxy
	CARGO_PROFILE_DEV_OPT_LEVEL=3 $(CARGO) bench --profile dev $(FEATURES) --bench search_latency

speed: setup ## what searches and uploads cost the gateway, with recorded replies, and with real nodes where MIROIR_TEST_MEILISEARCH names one; writes docs/speed.md
	$(CARGO) bench --bench speed

moving: setup ## add and drain a node, kill one and bring it back, while clients search and write: moved volume, times, correctness
	CARGO_PROFILE_DEV_OPT_LEVEL=3 $(CARGO) bench --profile dev $(FEATURES) --bench moving

beside: setup ## an ordinary index's searches alone and while wrong and heavy requests go to another one: p50, p99, their ratio
	CARGO_PROFILE_DEV_OPT_LEVEL=3 $(CARGO) bench --profile dev $(FEATURES) --bench beside

parity: setup ## thousands of random searches, cases and wrong requests to one node and to clusters; SEED=n, QUERIES=n, CASES=n and SEQUENCES=n choose them
	MIROIR_PARITY_SEED=$(or $(SEED),1) MIROIR_PARITY_QUERIES=$(or $(QUERIES),3000) MIROIR_PARITY_CASES=$(or $(CASES),400) \
		MIROIR_WRONG_SEED=$(or $(SEED),1) MIROIR_WRONG_SEQUENCES=$(or $(SEQUENCES),2000) \
		$(CARGO) test $(FEATURES) --test suite -- --nocapture random_

described: setup ## what the engine's OpenAPI description in the file DESCRIPTION has that is not classified yet
	MIROIR_OPENAPI=$(abspath $(DESCRIPTION)) $(CARGO) test $(FEATURES) --test suite -- --nocapture described

wishes: build ## the ten commonest wishes of rules on a demo cluster, before and after; ONLY=tenant,mask for some
	python3 scripts/wishes.py --miroir $(BIN) --only '$(ONLY)'

page: setup ## the page of the admin listener in a headless Chromium, which is installed if need be; pictures in SHOTS=page-shots
	@./scripts/chromium.sh
	$(CARGO) build $(FEATURES)
	MIROIR_PAGE_SHOTS=$(abspath $(or $(SHOTS),page-shots)) $(CARGO) test $(FEATURES) --test suite -- --nocapture page::

chaos: setup ## break nodes, network and gateway (or GATEWAYS=3 and PostgreSQL) under load for MINUTES=30, and simulate more; SEED=n replays a schedule
	$(CARGO) build $(FEATURES)
	MIROIR_SIMULATION_RUNS=$(or $(RUNS),20000) $(CARGO) test $(FEATURES) --lib -- --nocapture no_order_of_faults
	MIROIR_CHAOS_SECONDS=$$(( $(or $(MINUTES),30) * 60 )) MIROIR_CHAOS_SEED=$(or $(SEED),$(shell date +%s)) \
		MIROIR_CHAOS_GATEWAYS=$(or $(GATEWAYS),1) $(CARGO) test $(FEATURES) --test suite -- --ignored --exact --nocapture chaos::chaos

release: setup ## the gateway as production runs it, without the engine
	$(CARGO) build --release

clean: ## remove what the build made
	$(CARGO) clean
