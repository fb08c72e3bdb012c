#!/usr/bin/env bash
# Installs what is missing on Debian or Ubuntu: `deps.sh build` for building, `deps.sh test` for every test.
# Quiet when everything is there; says what it installs. Uses sudo when not root.
set -euo pipefail

for_what=${1:-build}
packages=()

need() { # need COMMAND PACKAGE...
    local command=$1
    shift
    command -v "$command" >/dev/null 2>&1 || packages+=("$@")
}

need cc gcc libc6-dev
need make make
if [ "$for_what" = test ]; then
    need gzip gzip
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "deps.sh: root is needed to install: ${packages[*]}" >&2
        exit 1
    fi
}

export PATH="$PATH:$HOME/.cargo/bin"

# Rust of the version that Cargo.toml asks for, or later.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml" | head -n 1)
has_rust() {
    local found
    found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ -n "$found" ] && [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}
if ! has_rust; then
    need curl curl ca-certificates
fi

if [ ${#packages[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "deps.sh: this is not Debian or Ubuntu; please install: ${packages[*]}" >&2
        exit 1
    fi
    echo "deps.sh: installing ${packages[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi

if ! has_rust; then
    if command -v rustup >/dev/null 2>&1; then
        echo "deps.sh: installing Rust by rustup"
        rustup toolchain install stable --profile minimal --component rustfmt --component clippy
        rustup default stable
    else
        echo "deps.sh: installing rustup and Rust into $HOME/.cargo"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --profile minimal --component rustfmt --component clippy
    fi
    has_rust || { echo "deps.sh: Rust $wanted or later is needed and could not be installed" >&2; exit 1; }
fi
for tool in cargo-fmt cargo-clippy; do
    command -v "$tool" >/dev/null 2>&1 || { echo "deps.sh: $tool is missing: rustup component add rustfmt clippy" >&2; exit 1; }
done
