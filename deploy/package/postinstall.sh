#!/bin/sh
# Nothing is started at the first installation: settings come first. An upgrade restarts what runs.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart whisperpush.service
fi
# "configure" without an older version is dpkg's first installation, "1" is rpm's.
if { [ "$1" = configure ] && [ -z "$2" ]; } || [ "$1" = 1 ]; then
	echo "whisperpush: put your settings into /etc/whisperpush/node.toml, check them with"
	echo "  wnode check-config --config /etc/whisperpush/node.toml"
	echo "and start the node with"
	echo "  systemctl enable --now whisperpush"
fi
