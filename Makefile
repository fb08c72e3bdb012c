# Two commands matter to a newcomer: `make run` and `make test`. BUILDING.md says what each target needs.
CARGO ?= cargo
# rustup puts cargo here when tools/deps.sh has just installed it.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: run build test lint bench bench-check soak fuzz deps-build deps-test deps-bench clean

run: deps-build ## build, then run the collector with a simulated fabric inside
	$(CARGO) build --locked --profile quick --bin finderscope
	target/quick/finderscope run --demo

build: deps-build ## the binaries as they are shipped: finderscope, finderscope-agent and finderscope-acl in target/release
	$(CARGO) build --locked --release --workspace --bins

test: deps-test lint ## lints and every test
	$(CARGO) test --locked --workspace
	$(CARGO) clippy --locked -p ingest -p engine --features ingest/dpdk,engine/dpdk --all-targets -- -D warnings
	$(CARGO) test --locked -p ingest -p engine --features ingest/dpdk,engine/dpdk --test dpdk

lint: deps-build ## formatting and lints; licences and advisories too where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --no-default-features -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; \
	else echo "lint: cargo-deny is not installed, licences and advisories were not checked"; fi

bench: deps-bench ## measures every row and writes benches/results.md; benches/README.md says how
	CARGO=$(CARGO) benches/run.sh

bench-check: deps-bench ## instructions against those of benches/results.md: fails when one has grown by a tenth
	$(CARGO) bench --locked --package engine --bench counts -- --check

soak: deps-build ## threads under ThreadSanitizer, then SOAK_S seconds (600) at SOAK_RATE datagrams/s (2000); writes benches/soak.md
	CARGO=$(CARGO) benches/soak/run.sh

fuzz: deps-build ## each fuzz target for 60 s, corpora kept
	fuzz/run.sh

deps-build:
	@tools/deps.sh build

deps-test:
	@tools/deps.sh test

deps-bench:
	@tools/deps.sh bench

clean:
	$(CARGO) clean
