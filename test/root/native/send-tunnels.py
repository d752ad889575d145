"""Sends packets of tunnels, made by scapy, from the namespace it runs in.

    send-tunnels.py KIND REMOTE PORT VNI OTHER-SOURCE

Prints one line for each: what it is, and what should become of it: "delivered" or the reason why it is refused.
"""
import logging
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import GRE, IP, UDP, Dot1Q, Ether, IPOption_NOP, Raw, fragment, send  # noqa: E402
from scapy.contrib.geneve import GENEVE, GeneveOptions  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402

kind, remote, port, vni, other = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
mac = {"dst": "02:00:00:00:95:01", "src": "02:00:00:00:95:02"}
frame = Ether(**mac) / IP(src="10.95.0.2", dst="10.95.0.1") / UDP(sport=7, dport=9) / Raw(b"weft" * 10)
tagged = Ether(**mac) / Dot1Q(vlan=5) / IP(src="10.95.0.2", dst="10.95.0.1") / UDP(sport=7, dport=9)
jumbo = Ether(**mac) / IP(src="10.95.0.2", dst="10.95.0.1") / UDP(sport=7, dport=9) / Raw(b"j" * 4000)
runt = Raw(bytes(frame)[:13])


def outer(**more):
    return IP(dst=remote, proto=47, **more) if kind == "gre" else IP(dst=remote, **more) / UDP(sport=55555, dport=port)


def option(critical, words=1, number=7):
    return GeneveOptions(classid=0x102, type=(0x80 if critical else 0) | number, length=words, data=b"\0" * 4 * words)


def gre(**more):
    return GRE(**{"key_present": 1, "key": vni, "proto": 0x6558, **more})


good = {"vxlan": VXLAN(flags=8, vni=vni), "geneve": GENEVE(vni=vni, proto=0x6558), "gre": gre()}[kind]
unknown = {"vxlan": VXLAN(flags=8, vni=vni + 1), "geneve": GENEVE(vni=vni + 1), "gre": gre(key=vni + 1)}[kind]
# Of the receiving tunnel: 1 and 2; here the other one is the critical one.
known = [option(False, 0, 1), option(True, 2, 2)]
cases = [
    ("a frame", "delivered", outer() / good / frame),
    ("a frame with a VLAN tag", "delivered", outer() / good / tagged),
    ("IP options outside", "delivered", outer(options=[IPOption_NOP()] * 4) / good / frame),
    ("in fragments", "delivered", fragment(outer() / good / jumbo, 1400)),
    ("another VNI or key", "unknownVni", outer() / unknown / frame),
    ("from another host", "source", outer(src=other) / good / frame),
    ("a runt inside", "truncated", outer() / good / runt),
    ("nothing inside", "truncated", outer() / good),
    ("half a header", "truncated", outer() / Raw(bytes(good)[:3])),
    ("nothing at all", "truncated", outer()),
]
if kind == "vxlan":
    cases += [
        ("no I flag", "flags", outer() / VXLAN(flags=0, vni=vni) / frame),
        ("reserved bits", "delivered", outer() / Raw(bytes([0xFF]) + bytes(good)[1:]) / frame),
    ]
if kind == "geneve":
    cases += [
        ("an option", "delivered", outer() / GENEVE(vni=vni, options=[option(False)]) / frame),
        ("a critical option", "options", outer() / GENEVE(vni=vni, critical=1, options=[option(False), option(True, 3)]) / frame),
        ("a critical option without the C bit", "options", outer() / GENEVE(vni=vni, options=[option(True)]) / frame),
        ("known options, one of them critical", "delivered", outer() / GENEVE(vni=vni, options=known) / frame),
        ("a known and an unknown critical option", "options", outer() / GENEVE(vni=vni, options=[*known, option(True)]) / frame),
        ("a critical option of nobody's", "unknownVni", outer() / GENEVE(vni=vni + 1, critical=1, options=[option(True)]) / frame),
        ("options that overrun", "options", outer() / Raw(b"\x01\0\x65\x58" + bytes(good)[4:8] + b"\1\2\7\x05") / frame),
        ("a control packet", "flags", outer() / GENEVE(vni=vni, oam=1) / frame),
        ("version 1", "flags", outer() / Raw(bytes([0x40]) + bytes(good)[1:]) / frame),
        ("IPv4 inside", "protocol", outer() / GENEVE(vni=vni, proto=0x800) / frame),
    ]
if kind == "gre":
    cases += [
        ("checksum and sequence number", "delivered", outer() / gre(chksum_present=1, seqnum_present=1, sequence_number=5) / frame),
        ("a wrong checksum", "checksum", outer() / gre(chksum_present=1, chksum=1) / frame),
        ("no key", "flags", outer() / GRE(proto=0x6558) / frame),
        ("routing", "flags", outer() / Raw(bytes([0x60]) + bytes(good)[1:]) / frame),
        ("version 1", "flags", outer() / Raw(bytes(good)[:1] + b"\1" + bytes(good)[2:]) / frame),
        ("IPv4 inside", "protocol", outer() / gre(proto=0x800) / frame),
    ]
for name, verdict, packet in cases:
    send(packet, verbose=False)
    print(f"{verdict} {name}")
