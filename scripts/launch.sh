# shellcheck shell=sh disable=SC2154
# Read by bin/weft and bin/weftd after they have set `root`: starts Node 24 with an entry file, and runs the set-up
# first when there has been none, or when something that it compiles or installs has changed since.
#
# The check has to cost next to nothing because it stands before every command: one `find` that stops at the first
# input newer than the stamp. The set-up gives the stamp the time of its own start, so that a file saved while it
# was running counts as newer. Folders are looked at too: their time changes when a file goes away.

set_up_is_valid() {
  [ -x "$root/.weft/bin/node" ] && [ -f "$root/.weft/stamp" ] || return 1
  newer=$(PATH=$PATH:/usr/bin:/bin find \
    "$root/package-lock.json" "$root/Makefile" "$root/scripts/setup.sh" "$root/daemon/native/src" "$root/bpf" \
    -newer "$root/.weft/stamp" -print -quit 2>/dev/null)
  [ -z "$newer" ]
}

# launch ENTRY NODE_FLAGS [ARGUMENT...]: never returns. NODE_FLAGS is split at spaces, the arguments are left alone.
launch() {
  entry=$1
  flags=$2
  shift 2
  set_up_is_valid || "$root/scripts/setup.sh" || exit 1
  # shellcheck disable=SC2086
  exec "$root/.weft/bin/node" --disable-warning=ExperimentalWarning --import "$root/scripts/compile-cache.ts" $flags \
    "$root/$entry" "$@"
}
