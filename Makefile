# Everything a person or CI calls. `make help` lists it.

# Compiled code outlives a clean checkout: RocksDB alone takes many minutes. One profile serves run and test, so that
# nothing is compiled twice.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rockpool/target
# Where `make run` keeps its data.
DATA ?= data
ROCKPOOL := $(CARGO_TARGET_DIR)/release/rockpool

.PHONY: help run build test lint unit compat differential fuzz configuration clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

run: build ## build and start a server: RESP 6379, HTTP 12345, the book's TCP 12346, on loopback (ARGS="--port 7000 …")
	$(ROCKPOOL) --dir $(DATA) $(ARGS)

build: ## build the server, after installing what the build lacks
	scripts/install build
	cargo build --release --locked

test: ## the whole test-suite, under half an hour
	scripts/test

lint: ## formatting and clippy, warnings denied
	scripts/install build
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings

unit: ## Rust tests alone
	scripts/install build test
	cargo test --release --locked

compat: build ## Redis's own test-suite and real clients, complete
	scripts/install test
	compat-tests/run --binary $(ROCKPOOL)

differential: ## 20,000 random command sequences, compared with redis-server
	scripts/install build test
	ROCKPOOL_DIFFERENTIAL_SEQUENCES=20000 cargo test --release --locked --test differential

fuzz: ## a minute of fuzzing for each parser
	scripts/install build fuzz
	fuzz/run 60

configuration: ## write docs/configuration.md from the table of parameters
	UPDATE_REFERENCE=1 cargo test --release --locked --lib config::reference

clean: ## forget everything compiled
	cargo clean
