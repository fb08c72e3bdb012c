# Two commands matter to a newcomer: `make run` and `make test`. BUILDING.md says what each target needs.
CARGO ?= cargo
# rustup puts cargo here when tools/deps.sh has just installed it.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: run build test lint bench fuzz deps-build deps-test clean

run: deps-build ## build, then run the collector with a simulated fabric inside
	$(CARGO) build --locked --profile quick --bin finderscope
	target/quick/finderscope run --demo

build: deps-build ## the binary as it is shipped: target/release/finderscope
	$(CARGO) build --locked --release --bin finderscope

test: deps-test lint ## lints and every test
	$(CARGO) test --locked --workspace

lint: deps-build ## formatting and lints; licences and advisories too where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; \
	else echo "lint: cargo-deny is not installed, licences and advisories were not checked"; fi

bench: deps-test ## criterion benches and the ratios of benches/RESULTS.md
	$(CARGO) bench --locked

fuzz: deps-build ## each fuzz target for 60 s, corpora kept
	fuzz/run.sh

deps-build:
	@tools/deps.sh build

deps-test:
	@tools/deps.sh test

clean:
	$(CARGO) clean
