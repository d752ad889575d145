#!/bin/sh
# An authority and certificates for the hosts of docker/compose.yaml, unless they are there: pki.sh NAME=ADDRESS...
set -eu
umask 077
# A new volume is open to all.
chmod 700 /etc/weft/pki
[ -f /etc/weft/pki/ca.pem ] || weft pki init
for host; do
  name=${host%%=*}
  [ -d "/etc/weft/pki/$name" ] && continue
  weft pki issue "$name" --role daemon --host "${host#*=}" --host "$name"
done
[ -d /etc/weft/pki/operator ] || weft pki issue operator --role operator
