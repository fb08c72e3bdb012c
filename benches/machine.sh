# What a page of results says of the machine that made it; for `source`.

machine() { # machine PROFILE: the lines about the machine, and about what was measured
    local model cores commit changed
    model=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
    cores=$(nproc)
    commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
    changed=$(git status --porcelain --untracked-files=no -- . ':!benches/*.md' 2>/dev/null | head -n 1)
    echo "- machine: ${model:-$(uname -m)}, $cores processors, $(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB"
    echo "- kernel: $(uname -sr)"
    echo "- compiler: $(rustc --version), profile \`$1\`"
    echo "- commit: $commit${changed:+, with changes that are not committed}"
}

load() { # the load of the machine now, and the time
    echo "$(cut -d ' ' -f 1-3 /proc/loadavg) ($(date -u '+%Y-%m-%d %H:%M') UTC)"
}
