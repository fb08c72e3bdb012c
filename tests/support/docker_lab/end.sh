# end.sh CGROUP FOLDER: waits until its stdin ends, which is when the test drops the lab or is gone, and then takes the
# lab away: every process in or below a cgroup of that name, or of that name with `-engine` behind it; these cgroups;
# the folder. Mounts and networks go with the last process in their namespaces.
cat >/dev/null
name=$1 folder=$2
below() {
    folders=$(find /sys/fs/cgroup -maxdepth 2 -type d \( -name "$name" -o -name "$name-engine" \))
    [ -z "$folders" ] || find $folders "$@" 2>/dev/null
}
for try in $(seq 400); do
    # Frozen processes of cgroup v1 die only when they are thawed.
    for state in $(below -name freezer.state); do echo THAWED >"$state"; done
    processes=$(below -name cgroup.procs -exec cat {} +)
    [ -n "$processes" ] || break
    kill -KILL $processes 2>/dev/null
    sleep 0.02
done
# The kernel takes a moment to see that a cgroup is empty.
for try in $(seq 100); do
    [ -n "$(below -type d -print -quit)" ] || break
    below -depth -type d -exec rmdir {} + 2>/dev/null
    sleep 0.02
done
rm -rf --one-file-system "$folder"
