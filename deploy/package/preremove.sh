#!/bin/sh
# At a removal, not before an upgrade: dpkg says "remove", rpm says how many versions are left.
set -e
if { [ "$1" = remove ] || [ "$1" = 0 ]; } && [ -d /run/systemd/system ]; then
	systemctl disable --now whisperpush.service
fi
