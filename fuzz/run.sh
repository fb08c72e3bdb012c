#!/usr/bin/env bash
# run.sh [SECONDS [TARGET...]]: runs each fuzz target, or those named, for a time (default 60 s) from its kept corpus.
# Stable Rust is enough.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
if ! command -v cargo-fuzz >/dev/null 2>&1; then
    echo "fuzz: cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2
    exit 1
fi
if ! command -v "${CXX:-c++}" >/dev/null 2>&1; then
    echo "fuzz: a C++ compiler is missing (libFuzzer is C++): apt-get install g++" >&2
    exit 1
fi
# cargo-fuzz asks for flags that rustc keeps for its nightly channel.
export RUSTC_BOOTSTRAP=1
shift || true
[ $# -gt 0 ] || mapfile -t all < <(cargo fuzz list)
for target in "${@:-${all[@]}}"; do
    echo "fuzz: $target, $seconds s"
    mkdir -p "fuzz/corpus/$target"
    cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time="$seconds" -max_len=4096 -print_final_stats=0
done
