#!/usr/bin/env bash
# Writes SHA256SUMS of the files in a directory. With SIGNING_KEY, the file of an SSH key (or of its public half, when an agent
# has it), SHA256SUMS.sig is the releaser's signature of them, which ssh-keygen -Y verify checks.
set -euo pipefail
[ -z "${SIGNING_KEY:-}" ] || SIGNING_KEY=$(realpath "$SIGNING_KEY")
cd "$1"
rm -f SHA256SUMS SHA256SUMS.sig
find . -maxdepth 1 -type f ! -name 'SHA256SUMS*' -printf '%f\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS
if [ -n "${SIGNING_KEY:-}" ]; then
	ssh-keygen -q -Y sign -f "$SIGNING_KEY" -n whisperpush-release SHA256SUMS
fi
