# home.sh FOLDER CGROUP [VERSION]: becomes the process whose mount namespace the engine lives in, with a /run of its own, so
# that the engine meets no other engine's sockets and leaves no mount. Runs in that namespace and in the network's. With
# version 2 there are no other control groups in it.
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
if [ "$3" = 2 ] && [ ! -e /sys/fs/cgroup/cgroup.procs ]; then
    umount -n -l /sys/fs/cgroup
    mount -n -t cgroup2 finderscope /sys/fs/cgroup
fi
touch "$folder/home"
exec sleep infinity
