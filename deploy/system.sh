#!/usr/bin/env bash
# Boots systemd in a copy of this system and runs a script there: system.sh DIRECTORY COMMAND [ARGUMENTS…]. DIRECTORY is empty, and
# is /packages in the copy. The copy is an overlay: what happens there changes nothing here. It has a network of its own with
# nothing but the loopback, and processes and control groups of its own; systemd starts its journal, D-Bus and what the command
# asks for, and nothing that would change the kernel. Needs root. Exits with 77, after a line that says why, where systemd cannot run so.
set -euo pipefail
dir=$(realpath "$1")
shift
why() { echo "systemd cannot be booted here: $*"; exit 77; }
[ "$(id -u)" = 0 ] || why "it needs root"
[ -x /lib/systemd/systemd ] || why "there is no systemd"
unshare --mount --pid --fork --uts --ipc --net --cgroup true 2>/dev/null || why "this kernel or container gives no namespaces"

mkdir -p "$dir/changes" "$dir/system"
cat >"$dir/init" <<'END'
set -eu
dir=$1
root=$dir/system
mount --make-rprivate /
mount -t tmpfs tmpfs "$dir/changes"
mkdir "$dir/changes/upper" "$dir/changes/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/changes/upper,workdir=$dir/changes/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in run dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
for device in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do # of its own: who owns them is changed by container runtimes
	mknod -m 666 "$root/dev/${device% *}" c 1 "${device#* }"
done
mknod -m 666 "$root/dev/tty" c 5 0
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mkdir -p "$root/packages"
mount --bind "$dir" "$root/packages"
hostname target
ip link set lo up
# What belongs to a computer's start is left out, as the kernel is not the copy's.
find "$root/etc/systemd/system" "$root/usr/lib/systemd/system" "$root/lib/systemd/system" -name '*.wants' -prune -exec rm -rf {} +
rm -f "$root/etc/machine-id"
touch "$root/etc/machine-id"
export container=test
# Not chroot: in one, the kernel gives no user namespaces, which PrivateUsers= needs.
mkdir -p "$root/mnt/before"
cd "$root"
pivot_root . mnt/before
umount -l /mnt/before
mount --make-rshared / # as a container manager does; credentials are handed over so
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=0
END
unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup bash "$dir/init" "$dir" >"$dir/boot" 2>&1 &
outer=$!
trap 'kill -9 "$outer" 2>/dev/null; wait "$outer" 2>/dev/null || true' EXIT
pid=
for _ in $(seq 150); do
	sleep 0.2
	kill -0 "$outer" 2>/dev/null || why "$(tail -n 1 "$dir/boot")"
	pid=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null | tr -d ' ')
	[ -n "$pid" ] || continue
	state=$(nsenter -t "$pid" -a -r -w systemctl is-system-running 2>/dev/null || true)
	case $state in running | degraded) break ;; esac
	state=
done
[ -n "${state:-}" ] || why "it does not come up within 30 s"
nsenter -t "$pid" -a -r -w "$@"
