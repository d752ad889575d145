"""Renews tunnels.json: headers of tunnels as scapy builds them. Run with Debian's python3 and python3-scapy.

    /usr/bin/python3 test/vectors/tunnels.py > test/vectors/tunnels.json
"""
import json
import logging

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import GRE, IP, UDP, Ether, Raw  # noqa: E402
from scapy.contrib.geneve import GENEVE, GeneveOptions  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402
import scapy  # noqa: E402

inner = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(b"weft!")
source = "built by scapy " + scapy.VERSION


def option(cls, kind, critical, data):
    return {"optionClass": cls, "type": kind, "critical": critical, "data": data.hex()}, GeneveOptions(
        classid=cls, type=kind | (0x80 if critical else 0), length=len(data) // 4, data=data
    )


def vector(kind, name, packet, header):
    return {"name": name, "source": source, "kind": kind, "bytes": bytes(packet).hex(), "frame": bytes(inner).hex(), "header": header}


plain, built = zip(*[option(0x0102, 5, False, b"\x01\x02\x03\x04"), option(0xFFFF, 0x7F, False, b"")])
critical, builtCritical = zip(option(0x0103, 9, True, b"\x00" * 8))
vectors = [
    vector("vxlan", "VXLAN", VXLAN(flags=8, vni=0x123456) / inner, {"vni": 0x123456}),
    vector("geneve", "Geneve", GENEVE(vni=0xABCDEF) / inner, {"vni": 0xABCDEF, "options": []}),
    vector("geneve", "Geneve with options", GENEVE(vni=42, options=list(built)) / inner, {"vni": 42, "options": plain}),
    vector("geneve", "Geneve with a critical option",
           GENEVE(vni=42, critical=1, options=list(builtCritical)) / inner, {"vni": 42, "options": critical}),
    vector("gre", "GRE with key", GRE(key_present=1, key=77, proto=0x6558) / inner, {"key": 77, "checksum": False}),
    vector("gre", "GRE with checksum, key and sequence number",
           GRE(chksum_present=1, key_present=1, key=0xFFFFFFFF, seqnum_present=1, sequence_number=9, proto=0x6558) / inner,
           {"key": 0xFFFFFFFF, "checksum": True, "sequence": 9}),
]
print(json.dumps(vectors, indent=2))
