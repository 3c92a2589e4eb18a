#!/usr/bin/env bash
# Runs in the copy of a system that deploy/system.sh boots, with deploy and image, the image's root file system, in /packages: what the
# Containerfile says is started as compose.yaml says, is asked by its health check, ends by its signal, and goes on with its volume.
# By podman without its storage (--rootfs) where that runs, else by unshare; it prints which.
# shellcheck disable=SC2154 # what is read from those files
set -Eeuo pipefail
fail() {
	echo "FAILED: $*" >&2
	tail -n 20 /root/log >&2
	exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
: >/root/log
systemctl start systemd-journald.socket systemd-journald.service dbus.socket
python3 - >/root/image <<'END'
import json, re, shlex, yaml
text = open("/packages/deploy/Containerfile").read()
service = yaml.safe_load(open("/packages/deploy/compose.yaml"))["services"]["whisperpush"]
entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.M).group(1))
health = service["healthcheck"]["test"]
assert health[0] == "CMD", health
for name, value in {
    "volume": re.search(r"^VOLUME (.*)$", text, re.M).group(1), "signal": re.search(r"^STOPSIGNAL (.*)$", text, re.M).group(1),
    "owner": re.search(r"--chown=(\S+)", text).group(1), "grace": service["stop_grace_period"].rstrip("s"),
    "read_only": service["read_only"], "cap_drop": ",".join(service["cap_drop"]), "security": ",".join(service["security_opt"]),
}.items():
    print(f"{name}={shlex.quote(str(value))}")
for name, words in {"entry": entry, "command": service["command"], "health": health[1:]}.items():
    print(f"{name}=({' '.join(map(shlex.quote, words))})")
END
# shellcheck disable=SC1091,SC2154
source /root/image
[ "$owner $read_only $cap_drop $security" = "65532:65532 True ALL no-new-privileges:true" ] || fail "the files say other things than this runs: $owner $read_only $cap_drop $security"
printf '\n[Metrics]\nEnabled = true\n' >/root/metrics
grep -q '^\[Metrics\]' /packages/deploy/node.toml && : >/root/metrics
cat /packages/deploy/node.toml /root/metrics >/root/node.toml
chmod 644 /root/node.toml
mkdir /root/volume
cp -a "/packages/image$volume/." /root/volume
chown "$owner" /root/volume
chmod 700 /root/volume

rm -rf /var/lib/containers
podman="podman --runtime crun --storage-driver vfs"
limits="--ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
way=podman
# shellcheck disable=SC2086
if ! said=$($podman run --rm --cgroups=disabled --network host --user "$owner" $limits --rootfs /packages/image "${entry[0]}" version 2>&1); then
	way=unshare
	echo "podman does not run here: $(tail -n 1 <<<"$said")"
fi
start() {
	case $way in
	podman)
		# shellcheck disable=SC2086
		$podman run -d --name whisperpush --cgroups=disabled --network host --user "$owner" $limits --read-only --cap-drop all --security-opt no-new-privileges \
			--stop-signal "$signal" -v "/root/volume:$volume" -v /root/node.toml:/etc/whisperpush/node.toml:ro \
			--rootfs /packages/image "${entry[@]}" "${command[@]}" >/dev/null 2>>/root/log
		;;
	unshare)
		# shellcheck disable=SC2016
		unshare --mount bash -c 'mount --bind /root/volume "/packages/image$0"; mkdir -p /packages/image/etc/whisperpush; touch /packages/image/etc/whisperpush/node.toml
			mount --bind /root/node.toml /packages/image/etc/whisperpush/node.toml
			exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= /packages/image "$@"' "$volume" "${entry[@]}" "${command[@]}" >>/root/log 2>&1 &
		process=$!
		;;
	esac
}
within() { # within COMMAND…: as the image's user in the container
	case $way in
	podman) $podman exec whisperpush "$@" ;;
	unshare) nsenter -t "$process" -m setpriv --no-new-privs chroot --userspec=65532:65532 --groups= /packages/image "$@" ;;
	esac
}
logs() { if [ $way = podman ]; then $podman logs whisperpush 2>&1; else cat /root/log; fi; }
stop() { # and the code that it ended with is in $code
	case $way in
	podman)
		$podman stop -t "$grace" whisperpush >/dev/null
		code=$($podman inspect -f '{{.State.ExitCode}}' whisperpush)
		$podman logs whisperpush >>/root/log 2>&1
		$podman rm whisperpush >/dev/null
		;;
	unshare)
		kill -s "$signal" "$process"
		code=0
		wait "$process" || code=$?
		;;
	esac
}
healthy() {
	for _ in $(seq 60); do
		within "${health[@]}" >/root/health 2>&1 && return
		sleep 0.5
	done
	[ $way != podman ] || logs >>/root/log
	fail "it is not well: $(cat /root/health)"
}
enode() { logs | sed -n 's/.*\(enode:\/\/[0-9a-f]*\)@.*/\1/p' | tail -n 1; }

start
healthy
first=$(enode)
[ -n "$first" ] || fail "it prints no enode URL"
[ "$(stat -c %u /root/volume/nodekey)" = 65532 ] || fail "its files belong to $(stat -c %u /root/volume/nodekey)"
stop
[ "$code" = 0 ] || fail "it ended with $code"
start
healthy
[ "$(enode)" = "$first" ] || fail "it is another node after a restart"
stop
[ "$code" = 0 ] || fail "it ended with $code"
echo "the image's entry point and health check ran by $way"
