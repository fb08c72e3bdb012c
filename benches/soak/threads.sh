#!/usr/bin/env bash
# Builds benches/soak/threads.rs with ThreadSanitizer and runs it: threads.sh SECONDS. Prints what was done and how many
# reports there were; ends with 1 when there was one, and leaves it in target/tsan/reports.
#
# The standard library of the installed compiler is used as it is, without the sanitizer: mutex.c says what a lock of it
# does, and std.supp what else of it is in order.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
cargo=${CARGO:-cargo}
host=$(rustc -vV | sed -n 's/^host: //p')
library=$(rustc --print sysroot)/lib/rustlib/$host/lib
folder=target/tsan
case $host in
*-linux-gnu) ;;
*) echo "threads.sh: ThreadSanitizer is not tried on $host, only on Linux with glibc" >&2 && exit 1 ;;
esac
mkdir -p "$folder/reports"
rm -f "$folder"/reports/*

contended=$(cat "$library"/libstd-*.rlib |
    grep -a -o -E '_RNv[A-Za-z0-9_]*Mutex14lock_contended|_ZN3std[A-Za-z0-9_]*Mutex14lock_contended17h[0-9a-f]*E' |
    sed 's/.*_RNv/_RNv/' | sort -u)
if [ "$(echo "$contended" | wc -w)" != 1 ]; then
    echo "threads.sh: $(rustc --version) has no function of its library by which a Mutex waits: mutex.c needs its new name" >&2
    exit 1
fi
cc -O1 -c -DCONTENDED="$contended" -o "$folder/mutex.o" benches/soak/mutex.c

# Options of the compiler that are not stable; code of one's own and of all packages is built with the sanitizer.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
    -Clink-arg=$PWD/$folder/mutex.o -Clink-arg=-Wl,--wrap=$contended"
built=$("$cargo" build --locked --package engine --no-default-features --bench threads --target "$host" \
    --target-dir "$folder" --message-format json | sed -n 's/.*"executable":"\([^"]*threads[^"]*\)".*/\1/p')

status=0
TSAN_OPTIONS="log_path=$PWD/$folder/reports/report suppressions=$PWD/benches/soak/std.supp" \
    "$built" "$seconds" || status=$?
reports=$(cat "$folder"/reports/* 2>/dev/null | grep -c '^SUMMARY: ' || true)
echo "| reports of ThreadSanitizer | $reports |"
if [ "$reports" != 0 ]; then
    cat "$folder"/reports/* | grep '^SUMMARY: ' | sort | uniq -c >&2
    echo "threads.sh: whole reports are in $folder/reports" >&2
fi
[ "$status" = 0 ] && [ "$reports" = 0 ]
