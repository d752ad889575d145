"""Renews bgp.json: messages of FRR, BIRD, GoBGP and ExaBGP, recorded by a listener that says what they say.

    unshare --net sh -c 'ip link set lo up && /usr/bin/python3 test/vectors/bgp.py' > test/vectors/bgp.json

Each is told to announce the same routes; "says" is what it was told. Needs Debian's frr, bird2, gobgpd and exabgp.
"""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

PORT = 1790
PREFIXES = {"ipv4": ["10.1.0.0/16", "10.2.3.0/25", "0.0.0.0/0"], "ipv6": ["2001:db8:1::/48", "2001:db8::1/128"]}
COMMON = {"med": 70, "communities": [65001 * 65536 + 7, 0xFFFFFF01], "largeCommunities": [(65001, 1, 2)],
          "extendedCommunities": [0x0002FDE900000064], "origin": 0}


def message(kind, body):
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def answer(open_body):
    """The peer's own OPEN with another AS number: 65000, in the field and in the capability."""
    body = bytearray(open_body)
    body[1:3] = struct.pack("!H", 65000)
    body[5:9] = bytes([192, 0, 2, 99])
    at = bytes(body).find(b"\x41\x04", 10)
    if at > 0:
        body[at + 2:at + 6] = struct.pack("!I", 65000)
    return bytes(body)


def record(seconds=6):
    """All messages of the one peer that connects."""
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", PORT))
    server.listen()
    server.settimeout(40)
    peer, _ = server.accept()
    peer.settimeout(1)
    server.close()
    pending, messages, until = b"", [], time.time() + seconds
    while time.time() < until:
        try:
            chunk = peer.recv(65536)
            if not chunk:
                break
            pending += chunk
        except TimeoutError:
            continue
        while len(pending) >= 19 and len(pending) >= struct.unpack("!H", pending[16:18])[0]:
            length = struct.unpack("!H", pending[16:18])[0]
            messages.append(pending[:length])
            if pending[18] == 1:
                peer.sendall(message(1, answer(pending[19:length])) + message(4, b""))
            pending = pending[length:]
    peer.close()
    return messages


BIRD = """
router id 192.0.2.1;
protocol device {}
protocol static s4 { ipv4; %s }
protocol static s6 { ipv6; %s }
filter marked { bgp_med = 70; bgp_community.add((65001, 7)); bgp_community.add((65535, 65281)); bgp_large_community.add((65001, 1, 2));
  bgp_ext_community.add((rt, 65001, 100)); bgp_origin = ORIGIN_IGP; accept; }
protocol bgp peer { local 127.0.0.1 port 1791 as 65001; neighbor 127.0.0.1 port 1790 as 65000; multihop; long lived graceful restart on;
  ipv4 { import none; export filter marked; next hop address 192.0.2.1; };
  ipv6 { import none; export filter marked; next hop address 2001:db8::99; }; enable extended messages on; }
"""

FRR = """
frr defaults traditional
hostname frr
router bgp 65001
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 127.0.0.1 remote-as 65000
 neighbor 127.0.0.1 port 1790
 neighbor 127.0.0.1 ebgp-multihop 5
 neighbor 127.0.0.1 timers connect 1
 address-family ipv4 unicast
%s
  neighbor 127.0.0.1 route-map marked out
 exit-address-family
 address-family ipv6 unicast
%s
  neighbor 127.0.0.1 activate
  neighbor 127.0.0.1 route-map marked out
 exit-address-family
exit
route-map marked permit 10
 set metric 70
 set community 65001:7 no-export
 set large-community 65001:1:2
 set extcommunity rt 65001:100
 set ip next-hop 192.0.2.1
 set ipv6 next-hop global 2001:db8::99
exit
"""

GOBGP = """
[global.config]
  as = 65001
  router-id = "192.0.2.1"
  port = -1
[[neighbors]]
  [neighbors.config]
    neighbor-address = "127.0.0.1"
    peer-as = 65000
  [neighbors.transport.config]
    remote-port = 1790
  [neighbors.graceful-restart.config]
    enabled = true
    notification-enabled = true
    restart-time = 120
  [neighbors.ebgp-multihop.config]
    enabled = true
    multihop-ttl = 10
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
"""

EXABGP = """
neighbor 127.0.0.1 {
  router-id 192.0.2.1; local-address 127.0.0.1; local-as 65001; peer-as 65000;
  family { ipv4 unicast; ipv6 unicast; }
  static { %s }
}
"""


def run(command, **options):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def bird(folder):
    routes = ["\n".join("route %s blackhole;" % prefix for prefix in PREFIXES[family]) for family in ("ipv4", "ipv6")]
    path = os.path.join(folder, "bird.conf")
    open(path, "w").write(BIRD % tuple(routes))
    return "BIRD " + subprocess.run(["bird", "--version"], capture_output=True, text=True).stderr.split()[-1], run(
        ["bird", "-f", "-c", path, "-s", os.path.join(folder, "bird.ctl"), "-P", os.path.join(folder, "bird.pid")])


def frr(folder):
    path = os.path.join(folder, "bgpd.conf")
    open(path, "w").write(FRR % tuple("\n".join("  network " + prefix for prefix in PREFIXES[family]) for family in ("ipv4", "ipv6")))
    version = subprocess.run(["/usr/lib/frr/bgpd", "--version"], capture_output=True, text=True).stdout.split()[2]
    return "FRR " + version, run(["/usr/lib/frr/bgpd", "-Z", "-S", "-n", "-p", "0", "-P", "0", "-f", path, "-u", "root", "-g", "root",
                                  "-i", os.path.join(folder, "bgpd.pid"), "--vty_socket", folder])


def gobgp(folder):
    path = os.path.join(folder, "gobgp.toml")
    open(path, "w").write(GOBGP)
    version = subprocess.run(["gobgpd", "--version"], capture_output=True, text=True).stdout.split()[-1]
    daemon = run(["gobgpd", "-f", path, "--api-hosts", "127.0.0.1:50099"])
    time.sleep(1)
    for family, hop in (("ipv4", "192.0.2.1"), ("ipv6", "2001:db8::99")):
        for prefix in PREFIXES[family]:
            subprocess.run(["gobgp", "-p", "50099", "global", "rib", "add", prefix, "-a", family, "nexthop", hop, "med", "70", "origin", "igp",
                            "community", "65001:7,no-export", "rt", "65001:100", "large-community", "65001:1:2"], check=True)
    return "GoBGP " + version, daemon


def exabgp(folder):
    attributes = "med 70 community [65001:7 65535:65281] large-community 65001:1:2 extended-community target:65001:100 origin igp;"
    routes = ["route %s next-hop %s %s" % (prefix, hop, attributes)
              for family, hop in (("ipv4", "192.0.2.1"), ("ipv6", "2001:db8::99")) for prefix in PREFIXES[family]]
    path = os.path.join(folder, "exabgp.conf")
    open(path, "w").write(EXABGP % "\n".join(routes))
    version = re.search(r"ExaBGP : (\S+)", subprocess.run(["exabgp", "--version"], capture_output=True, text=True).stdout)[1]
    return "ExaBGP " + version, run(["exabgp", path], env={**os.environ, "exabgp.tcp.port": str(PORT), "exabgp.daemon.user": "root",
                                                         "exabgp.api.cli": "false"})


def vectors():
    for start in (frr, bird, gobgp, exabgp):
        with tempfile.TemporaryDirectory() as folder:
            name, daemon = start(folder)
            try:
                recorded = record()
            finally:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait()
        seen = set()
        for octets in recorded:
            if octets in seen or octets[18] == 4:
                continue
            seen.add(octets)
            kind = {1: "OPEN", 2: "UPDATE", 3: "NOTIFICATION", 5: "ROUTE-REFRESH"}[octets[18]]
            yield {"name": "%s of %s" % (kind, name), "source": "captured from " + name, "asn4": True, "octets": octets.hex(),
                   "says": {"asn": 65001, "bgpIdentifier": "192.0.2.1"} if octets[18] == 1 else {**COMMON, "prefixes": PREFIXES}}


if __name__ == "__main__":
    print(json.dumps(list(vectors()), indent=2))
