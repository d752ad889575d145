/** What the eBPF sources and their mirror in TypeScript must agree on. Needs no privilege: nothing is loaded. */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import t from "tap"
import * as Layout from "../../daemon/linux/bpf-layout.ts"
import { describe, DropReason, dropReasons, dropReasonsMax } from "../../daemon/linux/drop-reasons.ts"

const bpf = resolve(import.meta.dirname, "../../bpf")
const read = (name: string): string => readFileSync(join(bpf, name), "utf8")

t.test("DropReason mirrors drop_reasons.h", async (t) => {
  const header = read("lib/drop_reasons.h")
  const camel = (name: string) => name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
  const entries = Array.from(header.matchAll(/^\s*REASON\((\w+), (\d+)\)/gm), ([, name, number]) => [camel(name!), Number(number)])
  t.ok(entries.length > 0)
  t.strictSame(Object.fromEntries(entries), { ...DropReason })
  t.equal(new Set(Object.values(DropReason)).size, dropReasons.length, "numbers are unique")
  t.match(header, new RegExp(`#define DROP_REASONS_MAX ${dropReasonsMax}$`, "m"))
  t.ok(dropReasons.every((reason) => DropReason[reason] < dropReasonsMax && describe(reason).length > 0))
})

t.test("bpf-layout.ts has the sizes and offsets of layout.h", async (t) => {
  const expected: ReadonlyArray<readonly [expression: string, value: number]> = [
    ["sizeof(struct port)", Layout.sizes.ports.value],
    ["offsetof(struct port, target)", 4],
    ["offsetof(struct port, serial)", 8],
    ["offsetof(struct port, own.slot)", 12],
    ["offsetof(struct port, own.mac)", 16],
    ["offsetof(struct port, own.flags)", 22],
    ["offsetof(struct port, peer)", 24],
    ["sizeof(struct segment)", Layout.sizes.segments.value],
    ["offsetof(struct segment, size)", 8],
    ["sizeof(struct member_key)", Layout.sizes.members.key],
    ["sizeof(struct station_key)", Layout.sizes.fdb.key],
    ["offsetof(struct station_key, mac)", 4],
    ["sizeof(struct station)", Layout.sizes.fdb.value],
    ["offsetof(struct station, serial)", 4],
    ["offsetof(struct station, seen_ns)", 8],
    ["sizeof(struct counters)", Layout.sizes.counters.value],
    ["offsetof(struct counters, to_packets)", 16],
    ["offsetof(struct counters, unlearnt)", 32],
    ["offsetof(struct counters, drops)", 40],
    ["sizeof(struct learning)", Layout.sizes.learning.value],
    ["sizeof(struct tunnel)", Layout.sizes.tunnels.value],
    ["offsetof(struct tunnel, key.remote_ipv4)", 4],
    ["offsetof(struct tunnel, key.tunnel_ttl)", 21],
    ["offsetof(struct tunnel, key.local_ipv4)", 28],
    ["offsetof(struct tunnel, flags)", 44],
    ["offsetof(struct tunnel, device)", 48],
    ["BPF_F_TUNINFO_IPV6", 1],
    ["BPF_F_ZERO_CSUM_TX", 2],
    ["sizeof(struct origin)", Layout.sizes.origins.key],
    ["offsetof(struct origin, vni)", 4],
    ["offsetof(struct origin, remote)", 8],
    ["FIRST_TUNNEL", Layout.firstTunnel]
  ]
  const source = [
    "#include <stddef.h>",
    '#include "lib/layout.h"',
    ...expected.map(([expression, value]) => `_Static_assert(${expression} == ${value}, "${expression}");`)
  ].join("\n")
  const include = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`
  execFileSync("clang", ["-target", "bpf", "-I", bpf, "-isystem", include, "-fsyntax-only", "-x", "c", "-"], {
    input: `${source}\n`,
    stdio: ["pipe", "inherit", "inherit"]
  })
  t.match(read("port.bpf.c"), `int ${Layout.programName}(struct __sk_buff *skb)`, "the program has the name that adopt looks for")
  t.ok(Layout.programName.length < 16, "which the kernel does not cut short")
})

t.test("encodePort and decodePort are inverse", async (t) => {
  const entries: ReadonlyArray<Layout.PortEntry> = [
    { port: { kind: "p2p", peer: 0x0102_0304, mac: "02:11:22:33:44:55" }, visible: true, slot: 9, serial: 0xfedc_ba98 },
    { port: { kind: "network", segment: 0xffff_fff0, mac: "02:00:00:00:00:01" }, visible: false, slot: 16383, serial: 0 },
    { port: { kind: "p2p", peer: 0x8000_0001, mac: Layout.noMac, tunnel: true }, visible: true, slot: 1, serial: 1 },
    { port: { kind: "tunnels", udpPort: 65535 }, visible: false, slot: 2, serial: 2 }
  ]
  for (const entry of entries) {
    const octets = Layout.concat([Uint8Array.of(1, 2, 3), Layout.encodePort(entry, entries[1])])
    t.strictSame(Layout.decodePort(octets, 3), entry)
  }
  t.throws(() => Layout.encodePort({ ...entries[0]!, port: { kind: "p2p", peer: 1, mac: "02:11" } }, undefined), /not a MAC address/)
})

t.test("decodeCounters adds up all CPUs", async (t) => {
  const cpus = 3
  const values = new BigUint64Array((cpus * Layout.sizes.counters.value) / 8).map((_, i) => BigInt(i % (Layout.sizes.counters.value / 8)))
  const counters = Layout.decodeCounters(new Uint8Array(values.buffer), 0, cpus)
  t.strictSame(counters.from, { packets: 0, octets: 3 })
  t.strictSame(counters.to, { packets: 6, octets: 9 })
  t.match(counters, { unlearnt: 12, drops: { noPort: 15, undeliverable: 33 } })
})

t.test("encodeSegment and decodeSegment are inverse", async (t) => {
  t.strictSame(Layout.decodeSegment(Layout.encodeSegment({ ageingS: 1.5, size: 70000 }), 0), { ageingS: 1.5, size: 70000 })
})

t.test("encodeTunnel and decodeTunnel are inverse", async (t) => {
  const ends: ReadonlyArray<Layout.TunnelEnd> = [
    { device: 7, vni: 0xffffff, remote: "192.0.2.1", local: "198.51.100.200" },
    { device: 7, vni: 1, remote: "203.0.113.255", via: 9 },
    { device: 0xffff_fff, vni: 42, remote: "2001:db8::1", local: "2001:db8::ffff" },
    { device: 1, vni: 42, remote: "fe80::1" }
  ]
  for (const end of ends) {
    const octets = Layout.concat([Uint8Array.of(1, 2, 3), Layout.encodeTunnel(end)])
    t.strictSame(Layout.decodeTunnel(octets, 3, end.device), end)
  }
  const hex = (origin: Parameters<typeof Layout.encodeOrigin>[0]) => Buffer.from(Layout.encodeOrigin(origin)).toString("hex")
  t.equal(hex({ device: 2, vni: 3, remote: "192.0.2.1" }), `0200000003000000${"0".repeat(20)}ffffc0000201`)
  t.equal(hex({ device: 2, vni: 3, remote: "2001:db8::1" }), "020000000300000020010db8000000000000000000000001")
  t.equal(hex({ device: 2, vni: 3 }), `0200000003000000${"0".repeat(32)}`)
  t.throws(() => Layout.encodeTunnel({ device: 1, vni: 1, remote: "h2" }), /not an IP address/)
})

t.test("every eBPF source carries the dual licence", async (t) => {
  const headers = ["count", "deliver", "drop_reasons", "layout", "maps", "network", "p2p", "tunnel"].map((name) => `lib/${name}.h`)
  for (const name of ["port.bpf.c", ...headers]) {
    t.match(read(name).split("\n")[0], "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */", name)
  }
  t.match(read("port.bpf.c"), 'SEC("license") = "Dual BSD/GPL"')
})
