#!/usr/bin/env bash
# `make bench`: measures everything and writes benches/results.md, or BENCH_TO. BENCH_PARTS names some of "rows counts peers
# taps agent". A part that fails is said to have failed, and the end is then 1.
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/machine.sh

cargo=${CARGO:-cargo}
to=${BENCH_TO:-benches/results.md}
parts=" ${BENCH_PARTS:-rows counts peers taps agent} "
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

part() { # part NAME TITLE PACKAGE BENCH: the table that it prints goes below its title
    local name=$1 title=$2
    shift 2
    case $parts in *" $name "*) ;; *) return 0 ;; esac
    echo "bench: $title" >&2
    printf '\n## %s\n\n' "$title" >>"$work/page"
    if "$cargo" bench --locked "$@" >"$work/$name"; then
        # Criterion tells its times on standard output too: they are for who looks on.
        if [ -e "$work/$name.md" ]; then cat "$work/$name.md"; else sed '/./,$!d' "$work/$name"; fi >>"$work/page"
    else
        status=1
        sed '/./,$!d' "$work/$name" >>"$work/page"
        printf '\n**It failed.**\n' >>"$work/page"
    fi
}

# Read whole before it begins: it takes long enough to edit this file meanwhile.
measure() {
    about=$(machine bench)
    began=$(load)
    : >"$work/page"
    part rows "Rows" --bench rows -- --write "$work/rows.md"
    part counts "Instructions" --package engine --bench counts
    part peers "Against another collector" --bench peers
    part taps "Sampled interfaces" --package ingest --bench taps
    part agent "The agent on a Docker engine" --package agent --bench agent
    {
        echo "# Measured"
        echo
        echo "Written by \`make bench\`; [README.md](README.md) says how each row is measured, and what a and b are."
        echo
        echo "$about"
        echo "- load of the machine at the start: $began"
        echo "- load of the machine at the end: $(load)"
        cat "$work/page"
    } >"$work/whole"
    cat "$work/whole"
    mv "$work/whole" "$to"
    exit "$status"
}

measure
