import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import * as Bpf from "../../../daemon/linux/bpf.ts"
import * as Layout from "../../../daemon/linux/bpf-layout.ts"
import { addon } from "../../../daemon/native/index.ts"
import { attach, attachedProgram, checkout, descriptorCount, needsRoot, until } from "../harness.ts"
import { connect, frame, macOf, makeFixture, network, objectPath, Wire } from "./frames.ts"

/** Compiles an eBPF source that stands in the test; returns the object's path. */
const compileBpf = (directory: string, name: string, source: string): string => {
  const from = join(directory, `${name}.bpf.c`)
  const to = join(directory, `${name}.bpf.o`)
  writeFileSync(from, source)
  const include = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`
  execFileSync("clang", ["-O2", "-g", "-target", "bpf", "-I", join(checkout, "bpf"), "-isystem", include, "-c", from, "-o", to])
  return to
}

t.test("a program is found again by its id", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("adopt", 4)
  const { program, ports, nodes, world, fabric } = fixture
  t.teardown(() => world.close())
  connect(fixture, 0, 1)
  network(fixture, 5, [2, 3], 60)
  program.setVisible(ports[3]!, true)
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  await wire.exchange(2, frame({ to: macOf(3), from: macOf(2) }), 1)
  const before = { ports: new Map(program.ports()), segments: program.segments(), counters: program.countersAll() }
  program.close()

  await wire.exchange(0, frame({ to: macOf(1), from: macOf(0) }), 1)
  t.pass("the lab forwards while nobody holds a descriptor")

  const open = descriptorCount()
  const id = attachedProgram(fabric, ports[0]!)!
  const adopted = Bpf.adopt(id)!
  t.equal(adopted.programId, id)
  t.strictSame(adopted.ports(), before.ports)
  t.strictSame(adopted.segments(), before.segments)
  t.strictSame(adopted.counters(ports[2]!), before.counters.get(ports[2]!))
  t.strictSame(adopted.fdb(5).map(({ mac, ifindex }) => [mac, ifindex]), [[macOf(2), ports[2]]])

  const fresh = Bpf.load(objectPath, adopted)
  t.equal(fresh.tag, adopted.tag, "the same object has the same tag")
  t.not(fresh.programId, adopted.programId)
  t.strictSame(fresh.ports(), before.ports, "on the same maps")
  attach(fabric, fresh.programFd, ports)
  adopted.close()
  await until("the program that no filter uses is gone", () => {
    const left = Bpf.adopt(id)
    left?.close()
    return left === undefined
  })
  await wire.exchange(3, frame({ to: macOf(2), from: macOf(3) }), 1)
  t.equal(fresh.counters(ports[3]!)!.from.packets, 1, "filters can be replaced on a running lab")

  fresh.setPort(ports[0]!, { kind: "network", segment: 5, mac: macOf(0) })
  t.strictSame(fresh.segments().get(5)!.ports.toSorted(), [ports[0]!, ports[2]!, ports[3]!])
  fresh.close()
  t.equal(descriptorCount(), open, "no descriptor is left open")
})

/** A program as weft 0.1 had it: the maps of layout 1, and links. */
const layout1 = `
  #include "lib/maps.h"
  struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, __u32); } unrelated SEC(".maps");
  SEC("tc") int weft_port_1(struct __sk_buff *skb) {
    __u32 index = skb->ifindex, zero = 0;
    struct member_key member = {};
    struct station_key station = {};
    const struct port *port = bpf_map_lookup_elem(&ports, &index);
    struct counters *counted;
    if (bpf_map_lookup_elem(&segments, &index) || bpf_map_lookup_elem(&members, &member) || bpf_map_lookup_elem(&fdb, &station))
      return 2;
    if (!port || !bpf_map_lookup_elem(&learning, &zero) || bpf_map_lookup_elem(&unrelated, &zero))
      return 2;
    counted = bpf_map_lookup_elem(&counters, &port->own.slot);
    if (counted)
      counted->from_packets++;
    return bpf_redirect_peer(port->target, 0);
  }
  char LICENSE[] SEC("license") = "GPL";`

t.test("a lab of layout 1 is taken over without a moment in which it does not forward", { skip: needsRoot }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "weft-test-bpf-"))
  const { world, fabric, nodes, ports, program: unused } = makeFixture("former", 2)
  t.teardown(() => {
    world.close()
    rmSync(directory, { recursive: true })
  })
  unused.close()
  const old = addon.bpfLoad(compileBpf(directory, "former", layout1), "weft_port_1", [], new Int32Array())
  const { id, mapIds } = addon.bpfProgramInfo(old)
  const maps = mapIds.map((map) => addon.bpfMapOpen(map))
  const portsMap = maps.find((map) => addon.bpfMapInfo(map).name === "ports")!
  const entry = (number: number) =>
    ({ port: { kind: "p2p", peer: ports[1 - number]!, mac: macOf(number) }, visible: false, slot: 7 + number, serial: 99 }) as const
  for (const i of [0, 1]) addon.bpfUpdate(portsMap, Layout.keys32(ports[i]!), Layout.encodePort(entry(i), entry(1 - i)), 1)
  attach(fabric, old, ports)
  for (const fd of [old, ...maps]) addon.close(fd)
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  const crosses = async (): Promise<void> => {
    for (const i of [0, 1]) await wire.exchange(i, frame({ to: macOf(1 - i), from: macOf(i) }), 1)
  }
  await crosses()

  const open = descriptorCount()
  const program = Bpf.takeOver(objectPath, [id])
  t.strictSame(program.ports(), new Map(ports.map((index, i) => [index, entry(i)])), "what is known of the ports is the same")
  await crosses()
  for (const index of ports) {
    attach(fabric, program.programFd, [index])
    await crosses()
  }
  t.equal(program.counters(ports[0]!)!.from.packets, 4, "and its counters went on")
  const way = program.addTunnelEnd({ device: ports[1]!, vni: 5, remote: "192.0.2.1" })
  t.strictSame([...program.tunnelEnds()], [[way, { device: ports[1]!, vni: 5, remote: "192.0.2.1" }]], "tunnels are there")
  program.close()
  t.equal(descriptorCount(), open, "no descriptor is left open")
})

t.test("what is not ours is not adopted", { skip: needsRoot }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "weft-test-bpf-"))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const open = descriptorCount()
  t.equal(Bpf.adopt(0x7fff_fff0), undefined, "no such program")

  // The same name, but `ports` has another size: as left by a version that forgot to count its layout up.
  const other = compileBpf(
    directory,
    "other",
    `#include <linux/bpf.h>
     #include <bpf/bpf_helpers.h>
     struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, __u32); } ports SEC(".maps");
     SEC("tc") int weft_port_5(struct __sk_buff *skb) { __u32 key = 1; return bpf_map_lookup_elem(&ports, &key) ? 1 : 0; }
     char LICENSE[] SEC("license") = "GPL";`
  )
  const fd = addon.bpfLoad(other, "weft_port_5", [], new Int32Array())
  t.equal(Bpf.adopt(addon.bpfProgramInfo(fd).id), undefined)
  addon.close(fd)
  t.equal(descriptorCount(), open, "no descriptor is left open")
})

t.test("a program that the verifier refuses", { skip: needsRoot }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "weft-test-bpf-"))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const bad = compileBpf(
    directory,
    "bad",
    `#include <linux/bpf.h>
     #include <bpf/bpf_helpers.h>
     SEC("tc") int weft_port_5(struct __sk_buff *skb) { return *(char *)(long)skb->data; }
     char LICENSE[] SEC("license") = "GPL";`
  )
  try {
    Bpf.load(bad)
    t.fail("loaded")
  } catch (error) {
    t.type(error, Bpf.LoadError)
    const { message, log } = error as Bpf.LoadError
    t.match(message, `Cannot load eBPF object "${bad}": EACCES (R1 offset is outside of the packet`)
    t.notMatch(message, "\n")
    t.match(log, "BEGIN PROG LOAD LOG")
  }
})
