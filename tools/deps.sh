#!/usr/bin/env bash
# Installs what is missing on Debian or Ubuntu: `deps.sh build` for building, `deps.sh test` for every test,
# `deps.sh bench` for every bench.
# Quiet when everything is there; says what it installs. Uses sudo when not root.
# No service of what it installs is started, now or at the next boot: the tests run the programs themselves.
set -euo pipefail

for_what=${1:-build}
packages=()

# Debian keeps daemons where a user's PATH may not look.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

need() { # need COMMAND PACKAGE...
    local command=$1
    shift
    command -v "$command" >/dev/null 2>&1 || packages+=("$@")
}

need cc gcc libc6-dev
need make make
# AF_XDP: the program that steers is compiled by clang, and libxdp by cc; bindings are made by clang's library.
need clang clang
need pkg-config pkg-config
need m4 m4
has_header() { [ -e "/usr/include/$1" ]; }
has_header libelf.h || packages+=(libelf-dev)
has_header zlib.h || packages+=(zlib1g-dev)
# Instructions are counted by valgrind.
[ "$for_what" != bench ] || need valgrind valgrind
if [ "$for_what" = test ] || [ "$for_what" = bench ]; then
    need gzip gzip
    # The tests of ports of DPDK.
    has_header dpdk/rte_ethdev.h || packages+=(libdpdk-dev)
    # The network namespaces of the live tests.
    need ip iproute2
    need ethtool ethtool
    # A terminal for `top`.
    need script bsdutils
    # How far the agent's unit is exposed.
    need systemd-analyze systemd
    # A sender of sFlow, and two collectors that are not ours.
    need ovs-vswitchd openvswitch-switch
    need nfdump nfdump
    need sfcapd nfdump-sflow
    need sfacctd pmacct
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

# Debian asks /usr/sbin/policy-rc.d before a package starts its service; 101 forbids it. One that is there
# already is the administrator's and stays.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours=no status=0
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null || status=$?
    if [ "$ours" = yes ]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
    return "$status"
}

# Takes the services of packages just installed out of the next boot.
disable_units() {
    local unit
    command -v systemctl >/dev/null 2>&1 || return 0
    for unit in $(dpkg -L "$@" 2>/dev/null | sed -n 's|^\(/usr\)\?/lib/systemd/system/\([^/@]*\.service\)$|\2|p' | sort -u); do
        as_root systemctl disable --quiet "$unit" >/dev/null 2>&1 || true
    done
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
    install_packages "${packages[@]}"
    disable_units "${packages[@]}"
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
# A Docker engine for the tests is unpacked beside the system, not installed.
if [ "$for_what" = test ] || [ "$for_what" = bench ]; then
    "$(dirname "$0")/docker-engine.sh" fetch
fi

for tool in cargo-fmt cargo-clippy; do
    command -v "$tool" >/dev/null 2>&1 || { echo "deps.sh: $tool is missing: rustup component add rustfmt clippy" >&2; exit 1; }
done
