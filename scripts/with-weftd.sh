#!/bin/sh
# Runs a command while a weftd of its own serves, and ends that weftd with it: for CI jobs and scripts, which have no service manager.
#
#   sudo scripts/with-weftd.sh bin/weft check hybrid.check.yaml --junit report.xml
#
# The exit status is the command's own; 3 when weftd does not come up. WEFT_DAEMON tells the command where it serves; its log is in
# weftd.log, or where WEFTD_LOG says, and its last lines are shown when it does not come up. State and labs are kept apart from those of
# other daemons of this machine.
set -eu
if [ $# -eq 0 ]; then
  echo "usage: with-weftd.sh COMMAND [WORD]..." >&2
  exit 2
fi
root=$(readlink -f -- "$0")
root=${root%/*/*}
instance=ci-$$
log=${WEFTD_LOG:-weftd.log}
state=$(mktemp -d "${TMPDIR:-/tmp}/weftd.XXXXXX")

daemon=
end() {
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$state"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

"$root/bin/weftd" --instance "$instance" --state "$state" >"$log" 2>&1 </dev/null &
daemon=$!
WEFT_DAEMON=unix:/run/weft/$instance/weftd.sock
export WEFT_DAEMON
# The first start on a new machine sets weft up, which takes minutes.
tries=0
until [ -S "${WEFT_DAEMON#unix:}" ]; do
  tries=$((tries + 1))
  if ! kill -0 "$daemon" 2>/dev/null || [ "$tries" -gt 3000 ]; then
    echo "with-weftd: weftd did not come up; the end of $log:" >&2
    tail -n 20 "$log" >&2
    exit 3
  fi
  sleep 0.2
done
"$@"
