#!/usr/bin/env bash
# Makes the root file system of the image that the Containerfile describes, out of what its build stage made: rootfs.sh BUILT TARGET.
# The image that it begins with cannot be had everywhere, so what that brings (the C library, certificates, the user) is this
# system's here.
set -euo pipefail
built=$1 target=$2
mkdir -p "$target"/{etc/ssl/certs,proc,sys,dev,run,usr/local/bin}
mkdir -m 1777 "$target/tmp"
cp /etc/ssl/certs/ca-certificates.crt "$target/etc/ssl/certs/"
echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$target/etc/passwd"
echo 'nonroot:x:65532:' >"$target/etc/group"
ldd "$built/wnode" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$target$(dirname "$library")"
	cp -L "$library" "$target$library"
done
grep '^COPY --from=build ' deploy/Containerfile | sed 's/--chown=[^ ]* //' | while read -r _ _ from to; do
	mkdir -p "$target$(dirname "$to")"
	cp -a "$built/${from#/out/}" "$target$to"
done
grep '^COPY --from=build --chown=' deploy/Containerfile | sed 's/.*--chown=\([^ ]*\) \([^ ]*\) \([^ ]*\)/\1 \3/' | while read -r owner to; do
	chown -R "$owner" "$target$to"
done
