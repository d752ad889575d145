/** Frames for tests of the data path: building them, sending them into nodes, seeing what arrives where. */
import { createInterface } from "node:readline"
import type { ChildProcess } from "node:child_process"
import * as Bpf from "../../../daemon/linux/bpf.ts"
import { join } from "node:path"
import { attach, checkout, compile, until, World, type Namespace } from "../harness.ts"

export const objectPath = join(checkout, ".weft/bpf/port.bpf.o")
export const broadcast = "ff:ff:ff:ff:ff:ff"
export const macOf = (number: number): string => `02:00:00:00:${hex16(number).slice(0, 2)}:${hex16(number).slice(2)}`

const hex16 = (value: number): string => value.toString(16).padStart(4, "0")

/** A frame as octets. `type` is the EtherType; 0x88b5 is the one for experiments (IEEE 802, 9.2.3). */
export const frame = (spec: { to: string; from: string; type?: number; vlan?: number; payload?: string; length?: number }): Uint8Array => {
  const tag = spec.vlan === undefined ? "" : `8100${hex16(spec.vlan)}`
  const header = spec.to.replaceAll(":", "") + spec.from.replaceAll(":", "") + tag + hex16(spec.type ?? 0x88b5)
  const octets = Buffer.concat([Buffer.from(header, "hex"), Buffer.from(spec.payload ?? "")])
  return Buffer.concat([octets, Buffer.alloc(Math.max(0, (spec.length ?? 60) - octets.length))])
}

/** A frame that a node's interface received. `type`: 0 to this host, 1 broadcast, 2 multicast, 3 to another host. */
export interface Arrival {
  readonly port: number
  readonly type: number
  readonly frame: string
}

/** The program `frames` on a list of interfaces. */
export class Wire {
  readonly arrivals: Arrival[] = []
  private readonly child: ChildProcess
  private synced = -1
  private nextSync = 0
  private isReady = false

  constructor(world: World, ports: ReadonlyArray<{ readonly node: Namespace; readonly name: string }>) {
    this.child = world.spawn([compile("test/root/native/frames.cc"), ...ports.map(({ node, name }) => `${node.path}:${name}`)])
    this.child.stderr!.pipe(process.stderr)
    createInterface({ input: this.child.stdout! }).on("line", (line) => this.take(line))
  }

  ready(): Promise<void> {
    return until("the frame tool is ready", () => this.isReady)
  }

  send(port: number, octets: Uint8Array): void {
    this.child.stdin!.write(`${port} ${Buffer.from(octets).toString("hex")}\n`)
  }

  /** Everything that was sent is in the kernel and what the kernel has delivered is in `arrivals`. */
  async sync(): Promise<void> {
    const number = this.nextSync++
    this.child.stdin!.write(`sync ${number}\n`)
    await until("the frame tool has caught up", () => this.synced >= number)
  }

  /** Sends, waits for `expected` arrivals, and returns what came, sorted by port. Late extras are found by the next call. */
  async exchange(port: number, octets: Uint8Array, expected: number): Promise<ReadonlyArray<Arrival>> {
    this.send(port, octets)
    await this.sync()
    await until(`${expected} frames have arrived (${this.arrivals.length} have)`, () => this.arrivals.length >= expected)
    await this.sync()
    return this.arrivals.splice(0).sort((a, b) => a.port - b.port)
  }

  private take(line: string): void {
    const [first, second, third] = line.split(" ")
    if (first === "ready") this.isReady = true
    else if (first === "end") this.synced = Number(second)
    else this.arrivals.push({ port: Number(first), type: Number(second), frame: third! })
  }
}

export const hex = (octets: Uint8Array): string => Buffer.from(octets).toString("hex")

export interface Fixture {
  readonly world: World
  readonly program: Bpf.PortProgram
  readonly fabric: Namespace
  readonly nodes: ReadonlyArray<Namespace>
  /** ifindex of each node's port in the fabric. The node's side is eth0 with the address `macOf(i)`. */
  readonly ports: ReadonlyArray<number>
}

/** A fabric and `count` nodes with one port each, the program attached, no entries yet. */
export const makeFixture = (label: string, count: number, options: { readonly mtu?: number } = {}): Fixture => {
  const world = new World(label)
  const fabric = world.namespace("fabric")
  const nodes = Array.from({ length: count }, (_, i) => world.namespace(`n${i}`))
  const ports = world.veths(fabric, nodes.map((node, i) => ({ node, name: "eth0", mac: macOf(i), ...options })))
  const program = Bpf.load(objectPath)
  attach(fabric, program.programFd, ports)
  return { world, program, fabric, nodes, ports }
}

/** Joins two of the fixture's ports by a link. */
export const connect = ({ program, ports }: Fixture, a: number, b: number): void =>
  program.setPorts([
    [ports[a]!, { kind: "p2p", peer: ports[b]!, mac: macOf(a) }],
    [ports[b]!, { kind: "p2p", peer: ports[a]!, mac: macOf(b) }]
  ])

/** Makes ports of the fixture the members of a network. */
export const network = ({ program, ports }: Fixture, segment: number, numbers: ReadonlyArray<number>, ageingS = 300): void => {
  program.setSegment(segment, numbers.map((number) => ports[number]!), { ageingS })
  program.setPorts(numbers.map((number) => [ports[number]!, { kind: "network", segment, mac: macOf(number) }] as const))
}
