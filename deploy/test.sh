#!/usr/bin/env bash
# Tries what is in deploy: builds the release twice and compares, builds packages, installs, upgrades and purges them, has
# systemd and Prometheus check their files. It installs the tools that it needs with apt-get, and needs root for packages,
# which it installs into a copy of this system (an overlay) or, if WHISPERPUSH_TEST_HERE is set, into the system itself.
set -euo pipefail
cd "$(dirname "$0")/.."
need() { # need COMMAND DEBIAN-PACKAGE
	command -v "$1" >/dev/null && return
	echo "installing $2"
	apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends "$2" >/dev/null
}
say() { echo "== $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

arch=$(dpkg --print-architecture)
export ARCHES=${ARCHES:-$arch} # of which packages are installed here; make release builds all

need systemd-analyze systemd
need promtool prometheus
need rpm rpm
need shellcheck shellcheck
need ssh-keygen openssh-client
need zsh zsh
need fish fish
need ansible-playbook ansible-core
need ansible-lint ansible-lint
need podman podman
need crun crun

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SBOM=${SBOM:-no} # which downloads much; make release makes one

say "shell scripts"
shellcheck -S warning deploy/*.sh deploy/package/*.sh deploy/ansible/*.sh

say "alert rules"
promtool check rules deploy/prometheus/rules.yml
promtool test rules deploy/prometheus/rules_test.yml
promtool check config --syntax-only deploy/monitoring/prometheus.yml

say "the release, twice, from two places"
if [ -z "$(git status --porcelain)" ]; then
	for place in one two; do
		git clone -q . "$work/clone $place"
		git -C "$work/clone $place" checkout -q "$(git rev-parse HEAD)"
		(cd "$work/clone $place" && DIST=$work/$place deploy/release.sh)
	done
	diff "$work/one/SHA256SUMS" "$work/two/SHA256SUMS" || fail "two builds differ"
	rm -rf "$work/two"
else
	echo "the tree has changes, of which a clone knows nothing: built once"
	DIST=$work/one deploy/release.sh
fi
(cd "$work/one" && sha256sum -c --quiet SHA256SUMS)
binary=$(echo "$work"/one/whisperpush_*_linux_"$arch"/wnode)
! ldd "$binary" >/dev/null 2>&1 || fail "$binary is not static"
"$binary" version

say "completions, in their shells"
"$binary" completion zsh >"$work/_wnode"
# compsys hands over words and CURRENT and shows what _describe is given: here it is printed.
zsh -f -c '_describe() { print -rl -- ${(P)2}; }; _files() { :; }; words=(wnode device inb) CURRENT=3; source "$1"' zsh "$work/_wnode" |
	grep '^inbox:be an app' >/dev/null || fail "zsh completes nothing"
"$binary" completion fish >"$work/wnode.fish"
(PATH=$(dirname "$binary"):$PATH fish -c "source '$work/wnode.fish'; complete -C 'wnode device inb'; complete -C 'wnode --datad'") >"$work/fish"
grep '^inbox' "$work/fish" >/dev/null && grep -e '^--datadir' "$work/fish" >/dev/null || fail "fish completes $(cat "$work/fish")"

say "the Ansible role"
deploy/ansible/test.sh "$binary"

# booted PLACE COMMAND… boots systemd in a copy of this system, in which PLACE is /packages; where that cannot be, it says so.
booted() {
	local code=0
	cp -r deploy "$1/deploy"
	deploy/system.sh "$@" || code=$?
	[ $code = 77 ] || return $code
	[ -z "${WHISPERPUSH_TEST_BOOT:-}" ] || return $code # whoever knows that it can be says so
}

say "the Ansible role, with the service under systemd"
mkdir "$work/service"
cp "$binary" "$work/service/wnode"
booted "$work/service" /packages/deploy/ansible/service.sh

say "the container image's root file system, its entry point and health check"
mkdir -p "$work/container" "$work/out"
(eval "$(sed -n "s|^RUN \(go build .*\)|\1|p" deploy/Containerfile | sed "s|/out|$work/out|g")")
deploy/rootfs.sh "$work/out" "$work/container/image"
booted "$work/container" /packages/deploy/container.sh

say "the releaser's signature"
ssh-keygen -q -t ed25519 -N '' -C releases@example.org -f "$work/releaser"
echo "releases@example.org $(cat "$work/releaser.pub")" >"$work/allowed_signers"
signed() { ssh-keygen -q -Y verify -f "$work/allowed_signers" -I releases@example.org -n whisperpush-release -s "$work/one/SHA256SUMS.sig" <"$work/one/SHA256SUMS"; }
SIGNING_KEY=$work/releaser deploy/checksums.sh "$work/one"
signed || fail "the signature of the checksums is not good"
echo >>"$work/one/SHA256SUMS"
! signed 2>/dev/null || fail "the signature of other checksums is good"
deploy/checksums.sh "$work/one"
[ ! -e "$work/one/SHA256SUMS.sig" ] || fail "there is a signature of former checksums"

say "packages"
DIST=$work/one deploy/packages.sh
DIST=$work/one PACKAGE_VERSION=99.0.0 deploy/packages.sh # an upgrade
(cd "$work/one" && sha256sum -c --quiet SHA256SUMS)
debs=("$work"/one/whisperpush_*_"$arch".deb)
[ "${#debs[@]}" = 2 ] || fail "there are ${#debs[@]} packages for $arch"
old=$(printf '%s\n' "${debs[@]}" | grep -v 99.0.0)
new=$(printf '%s\n' "${debs[@]}" | grep 99.0.0)

# inside runs its standard input as a script in a copy of this system.
inside() {
	if [ -n "${WHISPERPUSH_TEST_HERE:-}" ]; then
		bash -Eeuo pipefail -s -- "$@"
		return
	fi
	mkdir -p "$work/system" "$work/changes"
	unshare -m bash -c '
		set -e
		mount -t tmpfs tmpfs "$1/changes"
		mkdir "$1/changes/upper" "$1/changes/work"
		mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changes/upper,workdir=$1/changes/work" "$1/system"
		mount -t proc proc "$1/system/proc" 2>/dev/null || true
		mkdir -p "$1/system/packages"
		mount --bind "$1/one" "$1/system/packages"
		shift
		exec chroot "$0/system" bash -Eeuo pipefail -s -- "$@"
	' "$work" "$work" "${@/#$work\/one/\/packages}"
}

say "dpkg and the unit: install, systemd-analyze, upgrade with changed settings, remove, purge"
inside "$old" "$new" <<'SCRIPT'
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
old=$1 new=$2
dpkg -i "$old" | grep 'systemctl enable --now whisperpush' >/dev/null
/usr/bin/wnode check-config --config /etc/whisperpush/node.toml
test "$(stat -c %a /etc/whisperpush/node.toml)" = 644
grep -q 'ExecStart=/usr/bin/wnode ' /usr/lib/systemd/system/whisperpush.service
systemd-analyze verify --man=no /usr/lib/systemd/system/whisperpush.service >/tmp/verify 2>&1 || { cat /tmp/verify; exit 1; }
! grep 'whisperpush' /tmp/verify
exposure=$(systemd-analyze security --offline=yes --no-pager /usr/lib/systemd/system/whisperpush.service | sed -n 's/.*exposure level for whisperpush.service: \([0-9.]*\) .*/\1/p')
echo "the unit's exposure is $exposure of 10"
awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 2.0) }'
zcat /usr/share/man/man1/wnode.1.gz | grep 'wnode backup' >/dev/null
bash -c 'source /usr/share/bash-completion/completions/wnode; complete -p wnode' >/dev/null
echo '# mine' >>/etc/whisperpush/node.toml
dpkg -i "$new" >/dev/null
dpkg -s whisperpush | grep '^Version: 99.0.0' >/dev/null
grep -q '^# mine' /etc/whisperpush/node.toml
mkdir -p /var/lib/private/whisperpush
touch /var/lib/private/whisperpush/pushkey
dpkg -r whisperpush >/dev/null
test ! -e /usr/bin/wnode
grep -q '^# mine' /etc/whisperpush/node.toml
dpkg -P whisperpush | grep 'are still in /var/lib/private/whisperpush' >/dev/null
test ! -e /etc/whisperpush
test -e /var/lib/private/whisperpush/pushkey
rm -r /var/lib/private/whisperpush
! dpkg -s whisperpush >/dev/null 2>&1
SCRIPT

case $arch in amd64) rpmarch=x86_64 ;; arm64) rpmarch=aarch64 ;; *) rpmarch=$arch ;; esac
old=$(find "$work/one" -name "whisperpush-*.$rpmarch.rpm" ! -name '*99.0.0*')
new=$(find "$work/one" -name "whisperpush-99.0.0*.$rpmarch.rpm")
say "rpm: install, upgrade, erase"
inside "$old" "$new" <<'SCRIPT'
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
old=$1 new=$2
rpm -q --quiet whisperpush && exit 1
rpm -K --nosignature "$old" >/dev/null
rpm -i --nodeps "$old" | grep 'systemctl enable --now whisperpush' >/dev/null
/usr/bin/wnode check-config --config /etc/whisperpush/node.toml >/dev/null
echo '# mine' >>/etc/whisperpush/node.toml
rpm -U --nodeps "$new"
test "$(rpm -q --qf '%{VERSION}' whisperpush)" = 99.0.0
grep -q '^# mine' /etc/whisperpush/node.toml
rpm -V --nodeps whisperpush | grep -v ' c /etc/whisperpush/node.toml' && exit 1
rpm -e whisperpush
test ! -e /usr/bin/wnode
test -e /etc/whisperpush/node.toml.rpmsave
rm -r /etc/whisperpush
SCRIPT
say "all is well"
