#!/usr/bin/env bash
# Builds packages for Debian and RPM into dist/ of what deploy/release.sh has built.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=${DIST:-dist}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
nfpm=${NFPM:-go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2}
export ARCH ROOT VERSION
for dir in "$dist"/whisperpush_*_linux_*/; do
	ROOT=$(mktemp -d)
	name=$(basename "$dir")
	ARCH=${name##*_}
	VERSION=${name#whisperpush_}
	VERSION=${PACKAGE_VERSION:-${VERSION%%_*}}
	cp "$dir/wnode" "$ROOT/"
	sed 's#/usr/local/bin/wnode#/usr/bin/wnode#; s#^\# Installed by hand.*Settings are#\# Settings are#' deploy/systemd/whisperpush.service >"$ROOT/whisperpush.service"
	go run ./cmd/wnode man "$ROOT"
	gzip -n9 "$ROOT"/man/*
	for packager in deb rpm; do
		$nfpm package --config deploy/package/nfpm.yaml --packager "$packager" --target "$dist/"
	done
	rm -r "$ROOT"
done
deploy/checksums.sh "$dist"
