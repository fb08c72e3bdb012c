# home.sh FOLDER CGROUP: becomes the process whose mount -n namespace the engine lives in, with a /run of its own, so that
# the engine meets no other engine's sockets and leaves no mount. Runs in that namespace and in the network's.
set -e
folder=$1 cgroup=$2
echo $$ >"$cgroup/cgroup.procs"
mkdir "$folder/run"
mount -n -t tmpfs -o mode=755 finderscope "$folder/run"
# (-n: mount would write to the /run that it covers.) The resolver's configuration is often a link into /run.
for kept in /run/systemd/resolve /run/resolvconf /run/NetworkManager; do
    [ -d "$kept" ] || continue
    mkdir -p "$folder$kept"
    mount -n --bind "$kept" "$folder$kept"
done
mount -n --move "$folder/run" /run
touch "$folder/home"
exec sleep infinity
