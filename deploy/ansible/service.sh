#!/usr/bin/env bash
# Runs in the copy of a system that deploy/system.sh boots, with deploy and the binary in /packages: the role brings the service
# up, changes nothing twice, reloads, upgrades while it serves, goes back, and goes back by itself from versions that do not run
# or do not become ready.
set -Eeuo pipefail
fail() {
	echo "FAILED: $*" >&2
	tail -n 40 /root/out >&2
	journalctl --no-pager -n 20 -u whisperpush -o cat >&2
	exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
systemctl start systemd-journald.socket systemd-journald.service dbus.socket
export ANSIBLE_ROLES_PATH=/packages/deploy/ansible/roles ANSIBLE_NOCOLOR=1 ANSIBLE_HOME=/root/ansible ANSIBLE_LOCALHOST_WARNING=false
config=/etc/whisperpush/node.toml

settings() { # settings REQUESTS
	cat >/root/settings.yml <<END
whisperpush_ready_tries: 6
whisperpush_secrets:
  - name: secret.key
    content: "a password of the mailserver"
whisperpush_settings: |
  [Node]
  NoDiscovery = true
  [Mailserver]
  Enabled = true
  PasswordFile = "/run/credentials/whisperpush.service/secret.key"
  RequestsPerMinute = $1
  [Metrics]
  Enabled = true
END
}
cat >/root/site.yml <<'END'
- hosts: all
  gather_facts: false
  roles: [whisperpush]
END
play() { # play VERSION BINARY: what was printed is in /root/out
	ansible-playbook -i "target," -c local -e ansible_python_interpreter=/usr/bin/python3 -e @/root/settings.yml \
		-e "whisperpush_version=$1" -e "whisperpush_binary=$2" /root/site.yml >/root/out 2>&1
}
changed() { sed -n 's/.*changed=\([0-9]*\) .*/\1/p' /root/out; }
pid() { systemctl show -P MainPID whisperpush; }
serves() { # serves VERSION: it runs, is ready, and takes and keeps an envelope
	[ "$(systemctl is-active whisperpush)" = active ] || fail "the service is $(systemctl is-active whisperpush)"
	[ "$(readlink "/proc/$(pid)/exe")" = "/opt/whisperpush/$1/wnode" ] || fail "$(readlink "/proc/$(pid)/exe") runs, not version $1"
	[ "$(stat -c %U "/proc/$(pid)")" = whisperpush ] || fail "it runs as $(stat -c %U "/proc/$(pid)")"
	wnode health --ready --config $config >/dev/null
	sent=$((sent + 1))
	wnode send --server "$enode" --topic test --password test --payload "message $sent" >/dev/null
	for _ in $(seq 50); do
		[ "$(archived)" = "$sent" ] && return
		sleep 0.2
	done
	fail "$(archived) envelopes are archived, not $sent"
}
archived() { wnode archive stats --datadir /var/lib/private/whisperpush | sed -n "s/^envelopes *\([0-9]*\).*/\1/p"; }
sent=0

settings 60
play 1.0.0 /packages/wnode || fail "the installation"
enode=$(journalctl --no-pager -u whisperpush -o cat | sed -n 's/.*\(enode:\/\/[0-9a-f]*\)@.*/\1@127.0.0.1:30303/p' | head -n 1)
serves 1.0.0
[ "$(systemctl is-enabled whisperpush)" = enabled ] || fail "the service is not enabled"
first=$(pid)

play 1.0.0 /packages/wnode || fail "the second run"
[ "$(changed)" = 0 ] || fail "the second run changed $(changed) things"
settings 50
play 1.0.0 /packages/wnode || fail "other settings"
[ "$(pid)" = "$first" ] || fail "the service was restarted for settings that it takes while it runs"
journalctl --no-pager -u whisperpush -o cat | grep -q 'Mailserver.RequestsPerMinute' || fail "the log does not say that the settings were taken"

play 1.1.0 /packages/wnode || fail "the upgrade"
[ "$(pid)" != "$first" ] || fail "the service was not restarted for the upgrade"
serves 1.1.0
play 1.0.0 "" || fail "going back"
serves 1.0.0

cat >/root/broken <<'END'
#!/bin/sh
case $1 in version | check-config | health) exec /opt/whisperpush/1.0.0/wnode "$@" ;; esac
exit 1
END
cat >/root/unready <<'END'
#!/usr/bin/python3
import os, socket, sys, time
if sys.argv[1] in ("version", "check-config"):
    os.execv("/opt/whisperpush/1.0.0/wnode", ["wnode"] + sys.argv[1:])
if sys.argv[1] in ("health", "reload"):
    sys.exit(1)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
notify.send(b"READY=1")
time.sleep(1000)
END
for version in broken unready; do
	if play "$version" "/root/$version"; then fail "version $version was taken"; fi
	grep -q 'did not become ready; the one that ran before runs again' /root/out || fail "nobody says what became of version $version"
	serves 1.0.0
done
systemctl stop whisperpush
[ "$(systemctl show -P Result whisperpush)" = success ] || fail "it ended with $(systemctl show -P Result whisperpush)"
echo "the service ran under systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'): it started, reloaded, was upgraded and set back while it served, and went back by itself from two versions"
