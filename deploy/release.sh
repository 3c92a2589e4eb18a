#!/usr/bin/env bash
# Builds what is released into dist/: static binaries for amd64 and arm64 in archives, their SBOMs, and checksums. The same
# commit makes the same bytes, wherever it lies. ARCHES and DIST may say otherwise, and SIGNING_KEY signs (checksums.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
dist=${DIST:-dist}
arches=${ARCHES:-amd64 arm64}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$(sed -n 's/^const release = "\(.*\)"$/\1/p' wnode/node/version.go)
[ -n "$version" ] || { echo "wnode/node/version.go has no release" >&2; exit 1; }

mkdir -p "$dist"
for arch in $arches; do
	name=whisperpush_${version}_linux_$arch
	mkdir -p "$dist/$name"
	# Without cgo the binary needs no library; -trimpath and an empty build id leave nothing of this computer in it.
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=true -ldflags='-s -w -buildid=' -o "$dist/$name/wnode" ./cmd/wnode
	cp README.md CHANGELOG.md LICENSE deploy/node.toml deploy/systemd/whisperpush.service deploy/prometheus/rules.yml "$dist/$name/"
	tar -C "$dist" --sort=name --owner=0 --group=0 --numeric-owner --mode=u+w,go=rX --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -n9 >"$dist/$name.tar.gz"
	if [ "${SBOM:-yes}" = yes ]; then
		go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -noserial -output "$dist/$name.cdx.json" "$dist/$name/wnode"
	fi
done
deploy/checksums.sh "$dist"
echo "whisperpush $version in $dist"
