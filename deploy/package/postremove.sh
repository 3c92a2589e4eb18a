#!/bin/sh
# The data directory stays: in it are keys without which no device finds the server again.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = purge ]; then
	rm -rf /etc/whisperpush
fi
if { [ "$1" = purge ] || [ "$1" = 0 ]; } && [ -d /var/lib/private/whisperpush ]; then
	echo "whisperpush: keys, mail and registrations are still in /var/lib/private/whisperpush; remove it when nobody needs them"
fi
