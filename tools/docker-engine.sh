#!/usr/bin/env bash
# Gets a Docker engine for the tests: Debian's or Ubuntu's packages, unpacked into a folder and never installed, so
# that no service starts and nothing on the system changes. `docker-engine.sh fetch` does it once; `docker-engine.sh
# where` says which folder it is: $FINDERSCOPE_DOCKER_ENGINE, or finderscope/docker-engine in the user's cache.
# tests/support/docker_lab.rs starts and ends the engine.
set -euo pipefail

folder=${FINDERSCOPE_DOCKER_ENGINE:-${XDG_CACHE_HOME:-$HOME/.cache}/finderscope/docker-engine}

# What an engine with a bridge network needs beside what every system has. Debian 13 has the client in a package of
# its own, Debian 12 and Ubuntu have not.
needed=(docker.io containerd runc iptables busybox-static)
libraries=(libdevmapper1.02.1 libseccomp2 libsystemd0 libip4tc2 libip6tc2 libxtables12 libnfnetlink0
    libnetfilter-conntrack3 libnftnl11)
perhaps=(docker-cli tini)
programs=(dockerd docker containerd containerd-shim-runc-v2 runc iptables busybox)

fail() {
    echo "docker-engine.sh: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "root is needed for: $*"
    fi
}

known() { # known PACKAGE: whether apt can get it
    local policy
    policy=$(LC_ALL=C apt-cache policy "$1" 2>/dev/null)
    [[ $policy =~ Candidate:\ [0-9] ]]
}

# Runs a program of the unpacked tree with its libraries.
inside() { # inside TREE PROGRAM ARGUMENT...
    local tree=$1 libraries
    shift
    libraries=$(echo "$tree"/usr/lib/*-linux-gnu* "$tree"/lib/*-linux-gnu* | tr ' ' :)
    PATH="$tree/usr/sbin:$tree/usr/bin:$tree/sbin:$tree/bin:$PATH" LD_LIBRARY_PATH=$libraries "$@"
}

fetch() {
    mkdir -p "$folder"
    # Two checkouts may come at once; the lock goes with this process.
    exec 9>"$folder/lock"
    flock 9
    [ ! -e "$folder/tree/complete" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
        fail "this is not Debian or Ubuntu; please unpack ${programs[*]} below $folder/tree/usr/bin, and make the" \
            "empty file $folder/tree/complete"
    fi
    local package wanted=() new=$folder/new
    for package in "${needed[@]}"; do
        known "$package" || { as_root apt-get update -qq; break; }
    done
    for package in "${needed[@]}"; do
        known "$package" || fail "apt has no package $package; is the archive's main (on Ubuntu: universe) part enabled?"
    done
    for package in "${needed[@]}" "${libraries[@]}" "${perhaps[@]}"; do
        if known "$package"; then wanted+=("$package"); fi
    done
    echo "docker-engine.sh: unpacking ${wanted[*]} into $folder (never installed)"
    rm -rf "$new" "$folder/tree"
    mkdir -p "$new/packages" "$new/tree"
    # As root, apt would download as a user of its own, who cannot write here.
    (cd "$new/packages" && apt-get download -qq -o APT::Sandbox::User=root "${wanted[@]}") ||
        { as_root apt-get update -qq && (cd "$new/packages" && apt-get download -qq -o APT::Sandbox::User=root "${wanted[@]}"); } ||
        fail "the packages could not be downloaded"
    for package in "$new"/packages/*.deb; do
        dpkg-deb -x "$package" "$new/tree"
    done
    rm -rf "$new/packages" "$new/tree/usr/share"
    tools_of_iptables "$new/tree"
    check "$new/tree"
    touch "$new/tree/complete"
    mv "$new/tree" "$folder/tree"
    rm -rf "$new"
}

# The names under which the engine calls iptables are links that an installation makes.
tools_of_iptables() { # tools_of_iptables TREE
    local tree=$1 multi name
    multi=$(find "$tree" -name xtables-nft-multi -print -quit)
    [ -n "$multi" ] || fail "the package iptables has no xtables-nft-multi"
    for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -sf "$(basename "$multi")" "$(dirname "$multi")/$name"
    done
}

check() { # check TREE: every program is there with every library
    local tree=$1 program file missing
    for program in "${programs[@]}"; do
        file=$(find "$tree" -name "$program" -path '*bin/*' -print -quit)
        [ -n "$file" ] || fail "no package has the program $program; this release may have it in another one"
        missing=$(inside "$tree" ldd "$(readlink -f "$file")" 2>/dev/null | awk '/not found/ {print $1}') || true
        [ -z "$missing" ] || fail "$program needs $(echo $missing), which no package here has"
    done
}

case ${1:-} in
fetch) fetch ;;
where) echo "$folder" ;;
*)
    echo "usage: docker-engine.sh fetch|where" >&2
    exit 2
    ;;
esac
