#!/usr/bin/env bash
# Zero-copy AF_XDP, for real: the collector runs in an emulated guest whose network card, virtio-net, lends its frames,
# which no virtual interface of the host does. A simulated fabric sends; shown are the line in which the collector says
# what it reached, and that it counts what was sent.
#
#   zerocopy.sh                 builds the collector, fetches what the guest needs, runs it
#   FINDERSCOPE=PROGRAM         the collector to run, instead of building one
#   FINDERSCOPE_ZEROCOPY=DIR    where packages are kept [default: finderscope/zerocopy of the user's cache]
#   FINDERSCOPE_DEBIAN=URL      a Debian mirror [default: the one that apt uses]
#
# Needs Debian or Ubuntu on x86-64 and no privileges. Packages are unpacked into the folder, never installed: a
# kernel (7.0 or later, from the backports of Debian 13), busybox, and QEMU where there is none: 38 to 55 MB.
#
# Exit codes: 0 zero-copy was bound and each datagram was decoded; 1 it was not, and the guest's console says why;
# 2 the command line is wrong; 77 something could not be had, and nothing was shown.
set -euo pipefail

readonly release=trixie-backports kernel=linux-image-cloud-amd64 oldest_kernel=7.0
readonly datagrams_per_s=1000 duration_s=5
# Fields of the frames: addresses of Ethernet and IP.
readonly guest_mac=52:54:00:00:00:02 guest_ip=192.0.2.2 sender_ip=192.0.2.1
# The slowest start that is waited for, and the slowest end after it, seconds.
readonly patience_s=120

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${FINDERSCOPE_ZEROCOPY:-${XDG_CACHE_HOME:-$HOME/.cache}/finderscope/zerocopy}

say() { echo "zerocopy.sh: $*"; }
unavailable() {
    echo "zerocopy.sh: $*; zero-copy was not tested" >&2
    exit 77
}
failed() {
    echo "zerocopy.sh: $*" >&2
    [ ! -s "${console:-}" ] || { echo "zerocopy.sh: the guest's console:" >&2 && tr -d '\r' <"$console" >&2; }
    exit 1
}

# --- packages -----------------------------------------------------------------------------------------------------

# The Debian mirror of apt's own configuration.
mirror() {
    [ -z "${FINDERSCOPE_DEBIAN:-}" ] || { echo "$FINDERSCOPE_DEBIAN"; return; }
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian \(.*\)/\1/p' | head -n 1
}

# apt with lists, cache and sources of the folder, and no package installed.
backports() { # backports PROGRAM ARGUMENT...
    local program=$1
    shift
    "$program" -qq -o Dir::State="$cache/apt/state" -o Dir::Cache="$cache/apt/cache" -o Dir::State::status="$cache/apt/status" \
        -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User= \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 "$@"
}

unpack() { # unpack TREE: the packages in this folder
    local package
    for package in ./*.deb; do
        dpkg-deb -x "$package" "$1"
    done
}

# The kernel that the release's package of this name depends on, in as many packages as it comes in.
fetch_kernel() {
    [ ! -e "$cache/kernel/complete" ] || return 0
    local url version names
    url=$(mirror)
    [ -n "$url" ] || unavailable "apt has no Debian mirror (set FINDERSCOPE_DEBIAN)"
    rm -rf "$cache/apt" "$cache/kernel"
    mkdir -p "$cache/apt/state/lists/partial" "$cache/apt/cache/archives/partial" "$cache/kernel/packages"
    : >"$cache/apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $url $release main" >"$cache/apt/sources.list"
    backports apt-get update -o APT::Update::Error-Mode=any || unavailable "$url has no list of $release that can be trusted"
    version=$(backports apt-cache show "$kernel" | sed -n 's/^Version: //p' | head -n 1) || true
    [ -n "$version" ] || unavailable "$release has no $kernel"
    dpkg --compare-versions "$version" ge "$oldest_kernel" ||
        unavailable "$release has Linux $version; zero-copy of virtio-net needs $oldest_kernel or later"
    names=$(backports apt-cache depends --recurse --no-recommends --no-suggests --no-breaks --no-conflicts \
        --no-replaces --no-enhances "$kernel" | grep -E '^linux-[a-z]+-[0-9]' | sort -u)
    say "fetching Linux $version into $cache"
    # shellcheck disable=SC2086
    (cd "$cache/kernel/packages" && backports apt-get download $names && unpack ..) ||
        unavailable "the packages of Linux $version cannot be fetched"
    rm -rf "$cache/kernel/packages"
    [ -n "$(find "$cache/kernel" -name 'vmlinuz*' -print -quit)" ] || unavailable "no package of Linux $version has it"
    touch "$cache/kernel/complete"
}

# busybox for the guest; QEMU with the libraries that this system lacks, where there is none.
fetch_tools() {
    [ ! -e "$cache/tools/complete" ] || return 0
    local names=(busybox-static)
    if ! command -v qemu-system-x86_64 >/dev/null 2>&1; then
        mapfile -t -O 1 names < <(apt-get install -qq --print-uris -y --no-install-recommends qemu-system-x86 2>/dev/null |
            sed -n "s/^'.*' \([^_ ]*\)_.*/\1/p")
        [ ${#names[@]} -gt 1 ] || unavailable "apt has no qemu-system-x86 (apt-get update?)"
    fi
    say "fetching ${names[*]} into $cache"
    rm -rf "$cache/tools"
    mkdir -p "$cache/tools/packages"
    (cd "$cache/tools/packages" && apt-get download -qq -o APT::Sandbox::User= "${names[@]}" && unpack ..) ||
        unavailable "the packages cannot be fetched (apt-get update?)"
    rm -rf "$cache/tools/packages"
    touch "$cache/tools/complete"
}

qemu() {
    if command -v qemu-system-x86_64 >/dev/null 2>&1; then
        exec qemu-system-x86_64 "$@"
    fi
    local share="$cache/tools/usr/share"
    LD_LIBRARY_PATH=$(echo "$cache"/tools/usr/lib/*-linux-gnu* "$cache"/tools/lib/*-linux-gnu* | tr ' ' :) \
        exec "$cache/tools/usr/bin/qemu-system-x86_64" -L "$share/qemu" -L "$share/seabios" "$@"
}

# --- the guest ----------------------------------------------------------------------------------------------------

# The file of a module and those of all that it needs, these first.
modules() { # modules NAME
    local file needs need
    file=$(find "$cache/kernel" -name "$1.ko*" -print -quit)
    # What is no module is built in.
    [ -n "$file" ] || return 0
    needs=$(plain "$file" | tr '\0' '\n' | sed -n 's/^depends=//p' | tr ',' ' ')
    for need in $needs; do
        modules "$need"
    done
    echo "$file"
}

plain() { # plain FILE: its bytes without the compression
    case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -dcq "$1" ;;
    *) cat "$1" ;;
    esac
}

# A file system in memory: busybox, the modules of the network card, the collector and its libraries, and what is run.
initial_file_system() { # initial_file_system TREE
    local tree=$1 library file number=0
    mkdir -p "$tree"/{bin,dev,proc,sys,tmp,modules}
    install -m 755 "$(find "$cache/tools" -name busybox -path '*bin/*' -print -quit)" "$tree/bin/busybox"
    for file in $(modules virtio_net); do
        number=$((number + 1))
        plain "$file" >"$tree/modules/$number.ko"
    done
    strip -o "$tree/bin/finderscope" "$program" 2>/dev/null || cp "$program" "$tree/bin/finderscope"
    for library in $(ldd "$program" | sed -n 's/^[^/]*\(\/[^ ]*\) (.*/\1/p'); do
        install -D "$library" "$tree$library"
    done
    guest_script >"$tree/init"
    chmod 755 "$tree/init"
    (cd "$tree" && find . | "$tree/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$tree.gz"
}

# What the guest runs: it says when frames may come, and at the end of the wait what has been counted.
guest_script() {
    cat <<GUEST
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 1 >/proc/sys/kernel/printk
for module in /modules/*.ko; do insmod \$module; done
ip link set lo up
ip link set eth0 up
ip addr add $guest_ip/24 dev eth0
finderscope run --state-dir none --workers 1 --ingest xdp --interface eth0 2>&1 &
while ! wget -q -O /tmp/answer http://127.0.0.1:8008/analyzer/json 2>/dev/null; do
    kill -0 \$! 2>/dev/null || poweroff -f
    sleep 1
done
echo "guest: Linux \$(uname -r), ready"
read count
echo "guest: \$count datagrams were sent"
wait_s=0
while [ \$wait_s -lt 30 ]; do
    wget -q -O /tmp/answer http://127.0.0.1:8008/analyzer/json
    decoded=\$(sed -n 's/.*"sFlowDatagramsReceived":\([0-9]*\).*/\1/p' /tmp/answer)
    [ "\$decoded" != "\$count" ] || break
    sleep 1
    wait_s=\$((wait_s + 1))
done
cat /tmp/answer
echo
echo "guest: decoded \$decoded"
poweroff -f
GUEST
}

# --- the sender ---------------------------------------------------------------------------------------------------

# Puts each datagram that comes to a port of the host's into a frame, and gives it to the guest's network card.
# perl, because Debian always has it; it counts what it has passed on, and ends when it is told to.
relay() { # relay FROM-PORT TO-PORT
    exec perl -e '
        use strict; use Socket;
        my ($from, $to, $mac, $source, $destination) = @ARGV;
        my ($in, $out);
        socket($_, PF_INET, SOCK_DGRAM, 17) or die "$!\n" for $in, $out;
        setsockopt($in, SOL_SOCKET, SO_RCVBUF, pack("i", 8 << 20));
        bind($in, sockaddr_in($from, INADDR_LOOPBACK)) or die "UDP $from: $!\n";
        my $card = sockaddr_in($to, INADDR_LOOPBACK);
        my $ethernet = pack("H12H12n", $mac =~ tr/://dr, "020000000001", 0x0800);
        my $addresses = inet_aton($source) . inet_aton($destination);
        sub checksum { my $sum = unpack("%32n*", $_[0] . "\0" x (length($_[0]) & 1));
            $sum = ($sum >> 16) + ($sum & 0xffff) for 1, 2; return ~$sum & 0xffff }
        my $passed = 0;
        my $ended = 0;
        $SIG{TERM} = sub { $ended = 1 };
        until ($ended) {
            my $ready = ""; vec($ready, fileno($in), 1) = 1;
            select($ready, undef, undef, 0.1) > 0 or next;
            defined recv($in, my $payload, 65535, 0) or next;
            my $udp = pack("nnnn", 40000, 6343, 8 + length $payload, 0) . $payload;
            substr($udp, 6, 2) = pack("n", checksum($addresses . pack("nn", 17, length $udp) . $udp) || 0xffff);
            my $ip = pack("CCnnnCCn", 0x45, 0, 20 + length $udp, ++$passed & 0xffff, 0x4000, 64, 17, 0) . $addresses;
            substr($ip, 10, 2) = pack("n", checksum($ip));
            defined send($out, $ethernet . $ip . $udp, 0, $card) or die "the guest takes no frames: $!\n";
        }
        print "$passed\n";' "$1" "$2" "$guest_mac" "$sender_ip" "$guest_ip"
}

# Ports of loopback that nobody has at the moment: the kernel chooses.
free_ports() { # free_ports COUNT
    perl -e 'use strict; use Socket; my @kept;
        for (1 .. $ARGV[0]) { socket(my $s, PF_INET, SOCK_DGRAM, 17); bind($s, sockaddr_in(0, INADDR_LOOPBACK)) or die;
            push @kept, $s; print +(sockaddr_in(getsockname $s))[0], " " }' "$1"
}

# --- the run ------------------------------------------------------------------------------------------------------

await() { # await SECONDS PATTERN: whether the console shows it in time
    local end=$((SECONDS + $1))
    until grep -q -a -e "$2" "$console"; do
        [ $SECONDS -lt $end ] && kill -0 "$guest" 2>/dev/null || return 1
        sleep 0.2
    done
}

end_all() {
    local process
    for process in ${relaying:-} ${guest:-}; do
        kill "$process" 2>/dev/null || true
    done
    rm -rf "${scratch:-}"
}

run() {
    scratch=$(mktemp -d)
    trap end_all EXIT
    console=$scratch/console
    local sflow_port card_port other_port sent counted claim
    read -r sflow_port card_port other_port <<<"$(free_ports 3)"
    initial_file_system "$scratch/guest"
    mkfifo "$scratch/keyboard"
    exec 3<>"$scratch/keyboard"
    : >"$console"
    qemu -M q35 -accel tcg -cpu max -m 768 -smp 1 -display none -no-reboot -nodefaults -serial stdio \
        -kernel "$(find "$cache/kernel" -name 'vmlinuz*' -print -quit)" -initrd "$scratch/guest.gz" \
        -append "console=ttyS0 quiet panic=-1" \
        -netdev "dgram,id=wire,local.type=inet,local.host=127.0.0.1,local.port=$card_port,remote.type=inet,remote.host=127.0.0.1,remote.port=$other_port" \
        -device "virtio-net-pci,netdev=wire,mac=$guest_mac,iommu_platform=on,disable-legacy=on,romfile=" \
        <&3 >"$console" 2>&1 &
    guest=$!
    say "booting the guest"
    await $patience_s '^guest: .* ready' || failed "the collector does not answer in the guest"
    relay "$sflow_port" "$card_port" >"$scratch/passed" &
    relaying=$!
    say "sending $datagrams_per_s datagrams/s for $duration_s s"
    "$program" simulate --to "127.0.0.1:$sflow_port" --rate $datagrams_per_s --duration $duration_s >"$scratch/simulated" 2>&1 ||
        failed "the simulated fabric: $(cat "$scratch/simulated")"
    sleep 1
    kill "$relaying"
    wait "$relaying" || failed "the relay failed"
    relaying=
    sent=$(cat "$scratch/passed")
    echo "$sent" >&3
    await $patience_s '^guest: decoded' || failed "the guest does not answer any more"
    wait "$guest" || true
    guest=
    tr -d '\r' <"$console" >"$scratch/said"
    grep -a -e '^guest: ' -e 'AF_XDP' -e '^{' "$scratch/said" || true
    for claim in 'Receiving by AF_XDP from eth0.* zero-copy' '"mode":"zero-copy"'; do
        grep -q -a "$claim" "$scratch/said" || failed "the collector does not say that zero-copy was bound"
    done
    counted=$(sed -n 's/^guest: decoded //p' "$scratch/said")
    if [ "$sent" = 0 ] || [ "$counted" != "$sent" ]; then
        failed "$sent datagrams were sent and $counted decoded"
    fi
    grep -q -a "\"steered\":${sent}[,}]" "$scratch/said" || failed "not all of $sent datagrams came by AF_XDP"
    say "zero-copy was bound, and all of $sent datagrams were decoded"
}

[ $# = 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ "$(uname -m)" = x86_64 ] || unavailable "the guest is of x86-64"
for command in apt-get apt-cache dpkg-deb perl gzip xz ldd; do
    command -v $command >/dev/null 2>&1 || unavailable "$command is missing"
done
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
fetch_tools
(qemu -netdev help) | grep -q '^dgram$' || unavailable "QEMU 7.2 or later is needed"
fetch_kernel
if [ -n "${FINDERSCOPE:-}" ]; then
    program=$FINDERSCOPE
else
    (cd "$root" && cargo build --locked --quiet --bin finderscope) || failed "the collector does not build"
    program=$root/target/debug/finderscope
fi
run
