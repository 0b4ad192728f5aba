# Everything a person or CI calls. `make help` lists it.

# Compiled code outlives a clean checkout: RocksDB alone takes many minutes. One profile serves run and test, so that
# nothing is compiled twice. `sudo make install` installs what its caller has built.
CALLER_HOME := $(or $(if $(SUDO_USER),$(shell getent passwd $(SUDO_USER) | cut -d: -f6)),$(HOME))
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(CALLER_HOME)/.cache)/rockpool/target
# Where `make install` puts the programs; DESTDIR goes before it, for packages.
PREFIX ?= /usr/local
# Where `make run` keeps its data.
DATA ?= data
# What `make compare` writes, below benches/reports.
REPORT ?= compare
ROCKPOOL := $(CARGO_TARGET_DIR)/release/rockpool
BENCH := $(CARGO_TARGET_DIR)/release/rockpool-bench

.PHONY: help run build install test lint unit compat differential crash power-cut fuzz compare chapters bench-restart \
        bench-larger bench-micro bench-check bench-profile configuration clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

run: build ## build and start a server: RESP 6379, HTTP 12345, the book's TCP 12346, on loopback (ARGS="--port 7000 …")
	@mkdir -p $(DATA)
	@# The server itself says why it has not started; make's own line after it would say nothing.
	@$(ROCKPOOL) --dir $(DATA) $(ARGS) || true

build: ## build the server and rockpool-bench, after installing what the build lacks
	@scripts/install build
	@[ -e $(ROCKPOOL) ] || echo "The first build compiles RocksDB and 250 libraries, once: about" \
	  "$$((60 / $$(nproc) + 1)) minutes on the $$(nproc) processors here. Later ones take minutes, or a second where nothing changed."
	@cargo build --release --locked
	@echo "$(ROCKPOOL) is the server, rockpool-bench is beside it; make install PREFIX=$(PREFIX) puts both into $(PREFIX)/bin"

install: $(if $(SUDO_USER),,build) ## install both programs, a unit for systemd and an example of a configuration (PREFIX=/usr/local)
	@[ -x $(ROCKPOOL) ] || { echo "nothing is built yet: make build" >&2; exit 1; }
	@install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/rockpool
	@install -m 755 $(ROCKPOOL) $(BENCH) $(DESTDIR)$(PREFIX)/bin
	@install -m 644 packaging/rockpool.toml $(DESTDIR)$(PREFIX)/share/rockpool
	@sed 's|@BIN@|$(PREFIX)/bin|' packaging/rockpool.service > $(DESTDIR)$(PREFIX)/share/rockpool/rockpool.service
	@echo "installed: rockpool and rockpool-bench in $(DESTDIR)$(PREFIX)/bin; rockpool.service and rockpool.toml in" \
	  "$(DESTDIR)$(PREFIX)/share/rockpool"

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

crash: ## 2,000 kills at random moments under concurrent writers, over the four settings of the journal
	scripts/install build test
	ROCKPOOL_CRASH_ROUNDS=2000 cargo test --release --locked --test crash

power-cut: ## 200 power cuts with appendfsync always, and as many with everysec
	scripts/install build test
	ROCKPOOL_POWER_CUTS=200 cargo test --release --locked --test power_cut

fuzz: ## a minute of fuzzing for each parser
	scripts/install build fuzz
	fuzz/run 60

compare: build ## side by side with redis-server, in under 10 minutes; writes benches/reports (ARGS="--quick", REPORT=name)
	scripts/install test
	$(BENCH) compare --out benches/reports/$(REPORT) $(ARGS)

chapters: build ## the experiments of the book's chapters, under 10 minutes; writes benches/reports (ARGS="--rounds 3 --seconds 0.8")
	scripts/install test
	for chapter in 1 2 3 4 5 6 7 8 9; do \
	  $(BENCH) compare --preset chapter$$chapter --out benches/reports/chapter$$chapter $(ARGS) > /dev/null || exit; \
	done

bench-restart: build ## from the start of the process to the first answer, 10 million keys; writes benches/reports
	scripts/install test
	benches/restart.py --binary $(ROCKPOOL) $(ARGS)

bench-larger: build ## five times as much data as memory, every value checked; writes benches/reports
	scripts/install test
	benches/larger_than_memory.py --binary $(ROCKPOOL) $(ARGS)

bench-micro: ## how long the parts of the hot path take (criterion); wants an idle machine
	scripts/install build
	cargo bench --locked --bench micro

bench-check: ## instructions a command, counted by valgrind: fails if a path has grown by 5% (UPDATE=1 writes the figures)
	scripts/install build bench
	cargo bench --locked --bench instructions $(if $(UPDATE),-- --update)

bench-profile: ## which functions a path's instructions are in (WAY=memory/get/p16)
	scripts/install build bench
	cargo bench --locked --bench instructions -- --profile $(or $(WAY),memory/get/p16)

configuration: ## write docs/configuration.md from the table of parameters
	UPDATE_REFERENCE=1 cargo test --release --locked --lib config::reference

clean: ## forget everything compiled
	cargo clean
