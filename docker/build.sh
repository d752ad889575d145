#!/bin/sh
# Makes small images for container nodes from the packages of this machine's own Debian or Ubuntu mirror. No image registry
# is asked, nothing is installed on the machine, and no package's script runs: packages are fetched and checked by apt, then
# unpacked into a folder, which becomes the image.
#
#   docker/build.sh [frr|bird2|nginx|iperf3]...     all of them unless named; weft/NAME each
#   docker/build.sh weftd                           a host, for docker/compose.yaml
#
# Packages are kept in .weft/docker, so the next image takes seconds. DOCKER_HOST is heeded.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
docker=${WEFT_DOCKER:-$(command -v /usr/bin/docker || command -v docker || true)}

say() { printf 'docker/build.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

for program in apt-get dpkg-deb tar ldconfig flock; do
  command -v "$program" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null ||
    fail "needs $program: build on Debian or Ubuntu, then docker save weft/frr | ssh HOST docker load"
done
[ -n "$docker" ] || fail "needs the program docker: apt-get install docker.io"
"$docker" version >/dev/null 2>&1 || fail "no Docker engine answers: start it, or set DOCKER_HOST"
PATH=$PATH:/usr/sbin:/sbin

# What people expect in any of them.
base="bash coreutils grep sed gawk procps hostname iproute2 iputils-ping base-files base-passwd netbase"

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
cache=$root/.weft/docker
mkdir -p "$cache/archives/partial" "$work/empty/partial"
# One build at a time: they share the packages.
exec 9>"$cache/lock"
flock 9
: >"$work/status"

# apt as on an empty machine: every dependency is to be fetched. The machine's lists of packages serve.
apt() {
  apt-get -qq -y --no-install-recommends -o Dir::State::status="$work/status" -o Dir::Cache::archives="$cache/archives/" \
    -o Dir::Etc::preferencesparts="$work/empty" -o APT::Sandbox::User=root -o Debug::NoLocking=1 \
    -o Dpkg::Use-Pty=0 "$@"
}

# unpack PACKAGE...: them and all they depend on, into $work/image.
unpack() {
  image=$work/image
  rm -rf "$image"
  mkdir -p "$image/usr/bin" "$image/usr/sbin" "$image/usr/lib" "$image/usr/lib64"
  for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$image/$folder"; done
  # Without the cache: apt lists only what it does not have.
  uris=$(apt --print-uris install "$@" -o Dir::Cache::archives="$work/empty/" 2>"$work/log") ||
    { cat "$work/log" >&2; fail "apt does not know these packages: apt-get update"; }
  apt --download-only install "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "cannot fetch the packages"; }
  # 'URI' NAME SIZE HASH
  printf '%s\n' "$uris" | while read -r _ name _; do
    case $name in *.deb) ;; *) continue ;; esac
    dpkg-deb --fsys-tarfile "$cache/archives/$name" |
      tar -x --keep-directory-symlink -C "$image" --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
        --exclude='./usr/share/locale/*' --exclude='./usr/share/info/*' --exclude='./usr/share/perl/*'
  done
  mkdir -p "$image/proc" "$image/sys" "$image/dev" "$image/run" "$image/root" "$image/etc"
  mkdir -p -m 1777 "$image/tmp" "$image/var/tmp"
  rm -rf "$image/var/run"
  ln -s /run "$image/var/run"
  cp "$image/usr/share/base-passwd/passwd.master" "$image/etc/passwd"
  cp "$image/usr/share/base-passwd/group.master" "$image/etc/group"
  [ -e "$image/usr/bin/sh" ] || ln -s bash "$image/usr/bin/sh"
  [ -e "$image/usr/bin/awk" ] || ln -s gawk "$image/usr/bin/awk"
  ldconfig -r "$image"
}

# user NAME ID [GROUP]: as the package's own script makes it, with a number of ours.
user() {
  printf '%s:x:%s:%s::/nonexistent:/usr/sbin/nologin\n' "$1" "$2" "$2" >>"$work/image/etc/passwd"
  printf '%s:x:%s:\n' "$1" "$2" >>"$work/image/etc/group"
}

# publish NAME CHANGE...: the folder becomes weft/NAME.
publish() {
  name=$1
  shift
  set -- "$@" "LABEL io.weft.image=$name" "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  options=$(for change in "$@"; do printf -- "--change\n%s\n" "$change"; done)
  old_ifs=$IFS
  IFS='
'
  # shellcheck disable=SC2086
  tar -c --numeric-owner -C "$work/image" . | "$docker" import $options - "weft/$name" >"$work/log" ||
    { IFS=$old_ifs; fail "cannot import weft/$name"; }
  IFS=$old_ifs
  say "weft/$name ($(du -sm "$work/image" | cut -f 1) MiB)"
}

build_frr() {
  # shellcheck disable=SC2086
  unpack $base frr libpam-modules
  user frr 101
  printf 'frrvty:x:102:frr\n' >>"$work/image/etc/group"
  install -D -m 755 docker/frr-start "$work/image/usr/lib/weft/frr-start"
  mkdir -p "$work/image/etc/frr" "$work/image/var/log/frr" "$work/image/var/lib/frr"
  sed -i -e 's/^\(bgpd\|ospfd\|ospf6d\)=no/\1=yes/' "$work/image/etc/frr/daemons"
  printf 'auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n' >"$work/image/etc/pam.d/frr"
  printf 'auth required pam_deny.so\naccount required pam_deny.so\n' >"$work/image/etc/pam.d/other"
  printf 'service integrated-vtysh-config\n' >"$work/image/etc/frr/vtysh.conf"
  chown -R 101:101 "$work/image/etc/frr" "$work/image/var/log/frr" "$work/image/var/lib/frr"
  publish frr 'ENTRYPOINT ["/usr/lib/weft/frr-start"]' \
    'HEALTHCHECK --interval=1s --timeout=5s --retries=30 CMD vtysh -c "show version"'
}

build_bird2() {
  # shellcheck disable=SC2086
  unpack $base bird2
  user bird 101
  mkdir -p "$work/image/run/bird"
  publish bird2 'ENTRYPOINT ["/usr/sbin/bird", "-f"]' 'CMD ["-c", "/etc/bird/bird.conf"]' \
    'HEALTHCHECK --interval=1s --timeout=5s --retries=30 CMD birdc show status'
}

build_nginx() {
  # shellcheck disable=SC2086
  unpack $base nginx-light curl
  mkdir -p "$work/image/var/log/nginx" "$work/image/var/lib/nginx/body" "$work/image/var/www/html"
  ln -sf /dev/stdout "$work/image/var/log/nginx/access.log"
  ln -sf /dev/stderr "$work/image/var/log/nginx/error.log"
  printf 'nginx in a node of weft\n' >"$work/image/var/www/html/index.html"
  ln -sf /etc/nginx/sites-available/default "$work/image/etc/nginx/sites-enabled/default"
  publish nginx 'CMD ["nginx", "-g", "daemon off;"]' \
    'HEALTHCHECK --interval=1s --timeout=5s --retries=30 CMD curl -fsS -o /dev/null http://127.0.0.1/'
}

build_iperf3() {
  # shellcheck disable=SC2086
  unpack $base iperf3 curl tcpdump mtr-tiny netcat-openbsd bind9-dnsutils
  publish iperf3 'CMD ["iperf3", "-s"]'
}

# weft itself, as the set-up has made it here, for docker/compose.yaml; docker/weftd/Dockerfile is for those who have a registry.
build_weftd() {
  scripts/setup.sh
  # shellcheck disable=SC2086
  unpack $base etcd-client etcd-server iputils-ping libbpf1 libpcap0.8 nftables openssl libstdc++6 traceroute tcpdump
  mkdir -p "$work/image/opt/weft" "$work/image/usr/local/bin" "$work/image/etc/weft/pki" "$work/image/var/lib/weft"
  tar -c --exclude=./.git --exclude=./.tap --exclude=./.weft/build --exclude=./.weft/cache --exclude=./.weft/docker --exclude=./.weft/tools \
    --exclude=./.weft/compile-cache . | tar -x -C "$work/image/opt/weft"
  # Compilers, tests and type checkers stay behind.
  (cd "$work/image/opt/weft" && npm prune --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error) >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "cannot leave out the modules of development"; }
  touch "$work/image/opt/weft/.weft/stamp"
  ln -s /opt/weft/bin/weft /opt/weft/bin/weftd "$work/image/usr/local/bin/"
  publish weftd 'ENTRYPOINT ["weftd"]'
}

[ $# -gt 0 ] || set -- frr bird2 nginx iperf3
for name in "$@"; do
  case $name in
    frr | bird2 | nginx | iperf3 | weftd) "build_$name" ;;
    *) fail "there is no recipe for \"$name\": frr, bird2, nginx, iperf3, weftd" ;;
  esac
done
