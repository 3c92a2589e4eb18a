#!/usr/bin/env bash
# Tries the role on this computer, under a directory in place of /: lint, a first installation, the same again, an upgrade, going back,
# settings that the version refuses. test.sh BINARY
set -euo pipefail
binary=$(realpath "$1")
cd "$(dirname "$0")/../.."
fail() { echo "FAILED: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ANSIBLE_ROLES_PATH=$PWD/deploy/ansible/roles ANSIBLE_NOCOLOR=1 ANSIBLE_HOME=$work/home ANSIBLE_LOCALHOST_WARNING=false

ansible-lint --nocolor --offline --profile production deploy/ansible/site.yml deploy/ansible/roles
ansible-playbook -i deploy/ansible/inventory.example.yml --syntax-check deploy/ansible/site.yml >/dev/null

cat >"$work/settings.yml" <<'END'
whisperpush_service: false
whisperpush_secrets:
  - name: secret.key
    content: "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA=="
whisperpush_settings: |
  [Mailserver]
  Enabled = true
  PasswordFile = "/run/credentials/whisperpush.service/secret.key"
END
cat >"$work/site.yml" <<'END'
- hosts: all
  gather_facts: false
  roles: [whisperpush]
END
# play VERSION VARIABLES… installs a version, and leaves what was printed in $work/out.
play() {
	local version=$1
	shift
	ansible-playbook -i "target," -c local -e ansible_python_interpreter=/usr/bin/python3 -e "@$work/settings.yml" -e "whisperpush_root=$work/root" \
		-e "whisperpush_version=$version" "$@" "$work/site.yml" >"$work/out" 2>&1
}
changed() { sed -n 's/.*changed=\([0-9]*\) .*/\1/p' "$work/out"; }
runs() { readlink "$work/root/usr/local/bin/wnode"; }

play 1.0.0 -e "whisperpush_binary=$binary" || { cat "$work/out"; fail "the installation"; }
[ "$(changed)" -gt 5 ] || fail "the installation changed $(changed) things"
[ "$(runs)" = /opt/whisperpush/1.0.0/wnode ] || fail "it runs $(runs)"
[ "$(stat -c %a "$work/root/etc/whisperpush/secret.key")" = 600 ] || fail "the secret's mode"
grep -q '^LoadCredential=secret.key:' "$work/root/etc/systemd/system/whisperpush.service.d/secrets.conf" || fail "the unit does not hand over the secret"
! grep -q c2VjcmV0 "$work/out" || fail "the secret is in the output"

play 1.0.0 -e "whisperpush_binary=$binary" || { cat "$work/out"; fail "the second run"; }
[ "$(changed)" = 0 ] || { cat "$work/out"; fail "the second run changed $(changed) things"; }

play 1.1.0 -e "whisperpush_binary=$binary" || { cat "$work/out"; fail "the upgrade"; }
[ "$(runs)" = /opt/whisperpush/1.1.0/wnode ] || fail "it runs $(runs) after the upgrade"
play 1.0.0 || { cat "$work/out"; fail "going back"; }
[ "$(runs)" = /opt/whisperpush/1.0.0/wnode ] || fail "it runs $(runs) after going back"

! play 2.0.0 || fail "a version that is nowhere was installed"
! play 1.1.0 -e 'whisperpush_settings="[Nodes]"' || fail "wrong settings were taken"
grep -q 'did you mean' "$work/out" || { cat "$work/out"; fail "nobody says what is wrong with the settings"; }
grep -q Mailserver "$work/root/etc/whisperpush/node.toml" || fail "the settings are gone"
[ "$(runs)" = /opt/whisperpush/1.0.0/wnode ] || fail "it runs $(runs) with settings that were refused"
echo "the role installs, changes nothing twice, upgrades and goes back"
