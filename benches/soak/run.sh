#!/usr/bin/env bash
# `make soak`: the threads of an engine under ThreadSanitizer for SOAK_THREADS_S seconds (60), then the collector for
# SOAK_S seconds (600) at SOAK_RATE datagrams a second (2000) while everything about it comes and goes. Writes what came of
# it to benches/soak.md, or to SOAK_TO; ends with 1 when something does not hold.
set -euo pipefail
cd "$(dirname "$0")/../.."
source benches/machine.sh

# Read whole before it begins: an hour is long enough to edit this file.
soak() {
    cargo=${CARGO:-cargo}
    to=${SOAK_TO:-benches/soak.md}
    threads_s=${SOAK_THREADS_S:-60}
    export SOAK_S=${SOAK_S:-600} SOAK_RATE=${SOAK_RATE:-2000}
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    holds=0

    "$cargo" bench --locked --profile quick --bench soak --no-run
    about=$(machine quick)
    began=$(load)
    benches/soak/threads.sh "$threads_s" >"$work/threads" || holds=1
    "$cargo" bench --locked --profile quick --bench soak >"$work/churn" || holds=1

    {
        echo "# Soak"
        echo
        echo "Written by \`make soak\`; [README.md](README.md) says what is run. This run: \`make soak SOAK_S=$SOAK_S" \
            "SOAK_RATE=$SOAK_RATE SOAK_THREADS_S=$threads_s\`."
        echo
        echo "$about"
        echo "- load of the machine at the start: $began"
        echo "- load of the machine at the end: $(load)"
        echo
        echo "## The collector while everything comes and goes"
        cat "$work/churn"
        echo
        echo "## Threads of an engine under ThreadSanitizer"
        echo
        cat "$work/threads"
        echo
        if [ "$holds" = 0 ]; then
            echo "All of it held."
        else
            echo "**Not all of it held.**"
        fi
    } >"$work/page"
    cat "$work/page"
    mv "$work/page" "$to"
    exit "$holds"
}

soak
