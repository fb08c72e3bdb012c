#!/usr/bin/env bash
# The packaged units, for real: a Debian with systemd as its first process and a Docker engine of its own runs in
# namespaces and control groups of its own. The manual's lines of installation are run in it as they are written, and
# each unit is started, looked at, told to reload, killed and stopped.
#
#   systemd.sh                  with the programs of target/release, which `make build` makes
#   systemd.sh FOLDER           with those of this folder
#   FINDERSCOPE_SYSTEMD=DIR     where the Debian is kept [default: finderscope/systemd of the user's cache]
#   FINDERSCOPE_DEBIAN=URL      a Debian mirror [default: the one that apt uses]
#   FINDERSCOPE_RELEASE=NAME    which Debian [default: bookworm]
#
# Needs root, debootstrap and systemd-nspawn (package systemd-container); nothing else on the system changes. The first
# time some 250 MB are fetched. It was run with control groups of version 1, of bookworm (systemd 252, Docker 20.10) and
# trixie (257, 26.1).
#
# Exit codes: 0 each check holds; 1 one does not; 77 something could not be had, and nothing was shown.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
programs=$(cd "${1:-$root/target/release}" && pwd)
cache=${FINDERSCOPE_SYSTEMD:-${XDG_CACHE_HOME:-$HOME/.cache}/finderscope/systemd}
release=${FINDERSCOPE_RELEASE:-bookworm}
name=finderscope-systemd-$$
failures=0

packages=systemd,systemd-sysv,dbus,docker.io,iptables,iproute2,curl,openssl,man-db,bash-completion,procps,busybox-static

say() { echo "systemd.sh: $*"; }
unavailable() {
    echo "systemd.sh: $*; the units were not tested" >&2
    exit 77
}

# --- the machine ----------------------------------------------------------------------------------------------------

mirror() {
    [ -z "${FINDERSCOPE_DEBIAN:-}" ] || { echo "$FINDERSCOPE_DEBIAN"; return; }
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian \(.*\)/\1/p' | head -n 1
}

fetch() {
    local tree=$cache/$release from
    [ ! -e "$tree/complete" ] || return 0
    from=$(mirror)
    [ -n "$from" ] || unavailable "apt names no Debian mirror; FINDERSCOPE_DEBIAN=URL does"
    mkdir -p "$cache"
    rm -rf "$tree"
    say "fetching $release into $tree"
    # Later ones have the engine's client in a package of its own.
    [ "$release" = bookworm ] || packages+=,docker-cli
    debootstrap --variant=minbase --include="$packages" "$release" "$tree" "$from" >"$cache/debootstrap.log" 2>&1 ||
        unavailable "$release could not be fetched: $cache/debootstrap.log says why"
    touch "$tree/complete"
}

# The folders of the machine's control groups, one a hierarchy.
groups() {
    if [ -e /sys/fs/cgroup/cgroup.procs ]; then
        echo "/sys/fs/cgroup/$name"
        return
    fi
    local kinds path
    while IFS=: read -r _ kinds path; do
        kinds=${kinds#name=}
        [ -d "/sys/fs/cgroup/${kinds:=unified}" ] && echo "/sys/fs/cgroup/$kinds${path%/}/$name"
    done </proc/self/cgroup
}

# Becomes systemd in the control groups.
boot() {
    local group above
    for group in $(groups); do
        above=${group%/*}
        mkdir "$group"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$above/$file" ] || cat "$above/$file" >"$group/$file"
        done
        echo "$BASHPID" >"$group/cgroup.procs"
    done
    exec systemd-nspawn --quiet --register=no --keep-unit --directory="$machine" --machine="$name" \
        --network-namespace-path="/run/netns/$name" --capability=all --system-call-filter='bpf @keyring @privileged' \
        --resolv-conf=off --bind-ro="$root/packaging:/checkout/packaging" --bind-ro="$programs:/checkout/target/release" \
        --boot --console=pipe SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 </dev/null >"$machine.log" 2>&1
}

# Runs a command in the machine.
inside() {
    timeout 60 nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd env -i \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root SYSTEMD_PAGER= SYSTEMD_COLORS=0 "$@"
}
shell() { inside sh -c "$1"; }

start() {
    machine=$cache/$name
    cp -a "$cache/$release" "$machine"
    # The engine is started when there is all that it needs.
    rm -f "$machine"/etc/systemd/system/*.wants/{docker,containerd}.*
    ip netns add "$name"
    ip netns exec "$name" ip link set lo up
    boot &
    local deadline=$((SECONDS + 60))
    until leader=$(pgrep -P "$!" 2>/dev/null) && shell 'systemctl is-system-running | grep -Eq "running|degraded"' 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || unavailable "systemd does not start: $(cat "$machine.log"; shell 'systemctl list-jobs' 2>&1)"
        sleep 0.2
    done
    # A container's manager may change neither; an engine has to.
    # shellcheck disable=SC2016
    shell 'for mount in /sys /sys/fs/cgroup /sys/fs/cgroup/* /proc/sys; do
            [ ! -d $mount ] || mount -o remount,bind,rw $mount 2>/dev/null || true; done
        systemctl start docker' || unavailable "no engine starts: $(shell 'journalctl -u docker -n 5 -o cat')"
    sh "$root/tests/support/docker_lab/image.sh" "$machine/bin/busybox" "$machine/root" | inside docker import - lab:1 >/dev/null
}

end() {
    local group
    trap - EXIT
    [ -z "${leader:-}" ] || kill -KILL "$leader" 2>/dev/null || true
    wait 2>/dev/null || true
    for group in $(groups); do
        for _ in $(seq 50); do
            [ -d "$group" ] || break
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
        done
    done
    ip netns del "$name" 2>/dev/null || true
    rm -rf --one-file-system "${machine:?}" "$machine.log"
}

# --- what is looked at ----------------------------------------------------------------------------------------------

# check WHAT COMMAND...: waits until the command succeeds in the machine.
check() {
    local what=$1 deadline=$((SECONDS + 15)) said
    shift
    until said=$(shell "$*" 2>&1); do
        if [ $SECONDS -ge $deadline ]; then
            echo "FAILED  $what: $* $said"
            failures=$((failures + 1))
            return
        fi
        sleep 0.2
    done
    echo "ok      $what"
}

# The lines of installation of a page of the manual, but for the build.
lines() { # lines PAGE
    sed -n '/^## Install/,/^As a container\|^It runs as\|^The unit runs\|^Name the/p' "$root/manual/$1" |
        sed -n 's/^    //p' | grep -v '^cargo build\|^docker '
}

pid() { echo "\$(systemctl show -p MainPID --value $1)"; }
status() { echo "grep -q '^$2:[[:space:]]*$3' /proc/$(pid "$1")/status"; }

# What holds for each unit.
unit() { # unit NAME
    check "$1 starts" "systemctl is-active $1"
    check "$1 gains no right" "$(status "$1" NoNewPrivs 1)"
    check "$1 has its manual page" "man --warnings=w $1 2>&1 | grep -q SYNOPSIS"
    check "$1 reloads" "systemctl reload $1 && sleep 0.3 && systemctl is-active $1"
    check "$1 comes back when it is killed" "kill -KILL $(pid "$1"); sleep 3; systemctl is-active $1 && [ \$(systemctl show -p NRestarts --value $1) -ge 1 ]"
}

ends() { # ends NAME
    check "$1 stops in two seconds, without a failure" \
        "timeout 2 systemctl stop $1 && systemctl show -p Result --value $1 | grep -q success"
}

collector() {
    lines configuration.md | inside sh -e -c 'cd /checkout && exec sh -e' 2>/dev/null
    unit finderscope
    check "finderscope has no capability" "$(status finderscope CapPrm 0000000000000000)"
    check "finderscope is a user of its own" "! $(status finderscope Uid 0)"
    check "what REST defines is kept over a restart" \
        "curl -sf -X PUT -H 'Content-Type: application/json' -d '{\"keys\":\"ipsource\",\"value\":\"bytes\"}' \
            http://127.0.0.1:8008/flow/kept/json && systemctl restart finderscope && sleep 1 &&
            curl -sf http://127.0.0.1:8008/flow/kept/json | grep -q ipsource"
}

agent() {
    lines agent.md | inside sh -e -c 'cd /checkout && exec sh -e' 2>/dev/null
    shell 'systemctl enable --now finderscope-agent' 2>/dev/null
    unit finderscope-agent
    check "finderscope-agent is a user of its own" "! $(status finderscope-agent Uid 0)"
    check "finderscope-agent gives up what it does not need" "$(status finderscope-agent CapPrm 0000000000000000)"
    check "a container is told, and its end" "docker run --rm --name short lab:1 sh -c 'burn 0.5; true' >/dev/null 2>&1; sleep 0.5
        curl -sf 'http://127.0.0.1:8008/metric/ALL/vir_cpu_state/json?vir_host_name=short' | grep -q shutoff"
    check "what is wrong in a reload changes nothing" "cp /etc/finderscope-agent.toml /srv/ && echo bogus = 1 >/etc/finderscope-agent.toml
        systemctl reload finderscope-agent; sleep 0.5; mv /srv/finderscope-agent.toml /etc/; systemctl is-active finderscope-agent &&
            journalctl -u finderscope-agent -o cat | grep -q 'was not taken.*bogus'"
    shell "printf '[[pcap]]\ndevice = \"docker0\"\nsampling = 1\n' >>/etc/finderscope-agent.toml; systemctl restart finderscope-agent"
    check "finderscope-agent keeps CAP_NET_RAW where it samples" "$(status finderscope-agent CapPrm 0000000000002000)"
    check "the engine is followed again when it was restarted" "systemctl restart docker && sleep 3 &&
        docker run --rm --name later lab:1 true && sleep 0.5 &&
        curl -sf 'http://127.0.0.1:8008/metric/ALL/vir_cpu_state/json?vir_host_name=later' | grep -q shutoff"
    # The manual's drop-in.
    sed -n '/^    \[Service\]/,/^$/s/^    //p' "$root/manual/agent.md" |
        inside sh -c 'mkdir -p /etc/systemd/system/finderscope-agent.service.d && cat >/etc/systemd/system/finderscope-agent.service.d/override.conf'
    shell 'systemctl daemon-reload && systemctl restart finderscope-agent'
    check "with the manual's drop-in it keeps three capabilities" "$(status finderscope-agent CapPrm 0000000000282000)"
    check "and enters namespaces" "docker run --rm lab:1 true; systemctl is-active finderscope-agent &&
        ! journalctl -u finderscope-agent _PID=$(pid finderscope-agent) -o cat | grep -q CAP_SYS_ADMIN"
    ends finderscope-agent
    ends finderscope
}

switch() {
    shell 'mkdir -p /srv/switch /etc/cumulus/acl/policy.d /usr/cumulus/bin && cd /srv/switch &&
        ln -s /checkout/packaging . && ln -s /checkout/target/release/finderscope-acl . &&
        printf "#!/bin/sh\niptables -L -n >/etc/cumulus/acl/taken\n" >/usr/cumulus/bin/cl-acltool && chmod 755 /usr/cumulus/bin/cl-acltool'
    lines acl.md | inside sh -e -c 'cd /srv/switch && exec sh -e' 2>/dev/null
    unit finderscope-acl
    check "a rule is written, and the switch takes it over" "curl -sf -X PUT -H \"Authorization: Bearer \$(cat /etc/finderscope-acl.token)\" \
        -H 'Content-Type: application/json' -d '[\"[iptables]\",\"-A FORWARD --in-interface swp+ -s 20.0.0.2 -d 20.0.1.2 -j ERSPAN --src-ip 90.0.0.1 --dst-ip 20.0.2.2\"]' \
        http://127.0.0.1:8080/acl/capture1 && sleep 1 && grep -q FORWARD /etc/cumulus/acl/taken"
    ends finderscope-acl
}

[ "$(id -u)" = 0 ] || unavailable "root is needed"
for program in debootstrap systemd-nspawn nsenter ip; do
    command -v "$program" >/dev/null || unavailable "$program is missing (packages debootstrap, systemd-container, util-linux, iproute2)"
done
for program in finderscope finderscope-agent finderscope-acl; do
    [ -x "$programs/$program" ] || unavailable "$programs has no $program; \`make build\` makes it"
done
fetch
trap end EXIT
trap 'exit 1' INT TERM
start
collector
agent
switch
end
[ $failures = 0 ] || { say "$failures checks failed"; exit 1; }
