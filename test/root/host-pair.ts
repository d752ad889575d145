/**
 * Two hosts in one process: each with an underlay namespace, a fabric, the real program and a reconciler of its own, and a
 * wire between their underlays. What a fleet does above that (etcd, daemons that ask each other) is left out: each host is
 * given its part of the lab.
 *
 *   nodes == fabric 1 == vxlan == underlay 1 ----veth u0---- underlay 2 == vxlan == fabric 2 == nodes
 *
 *   const pair = await HostPair.make("p2p")
 *   await pair.deploy({ name: pair.lab, nodes: { a: { host: "h1" }, b: { host: "h2" } }, ... })
 *   t.teardown(() => pair.close())                 destroys the lab, throws when something is left
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { load } from "../../daemon/compiler/load.ts"
import { Containers } from "../../daemon/containers/containers.ts"
import { connectTo } from "../../daemon/containers/engine.ts"
import { Engine } from "../../daemon/datapath/engine.ts"
import * as Bpf from "../../daemon/linux/bpf.ts"
import * as Fabric from "../../daemon/linux/fabric.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { EventLog } from "../../daemon/observe/events.ts"
import type { Step } from "../../daemon/plan/diff.ts"
import { partOf } from "../../daemon/plan/part.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { watchFabric } from "../../daemon/reconciler/fabric-watch.ts"
import { Routing } from "../../daemon/bgp/routing.ts"
import { Reconciler, type Outcome } from "../../daemon/reconciler/reconciler.ts"
import { BfdRoutes } from "../../daemon/resources/bfd-routes.ts"
import { BfdSessions } from "../../daemon/resources/bfd-sessions.ts"
import { EngineLinks } from "../../daemon/resources/engine-link.ts"
import type { Daemon } from "../../daemon/resources/lab.ts"
import { Relays } from "../../daemon/resources/relays.ts"
import { ForeignVteps } from "../../daemon/resources/foreign-vteps.ts"
import { Tunnels } from "../../daemon/resources/tunnel.ts"
import * as LevelStore from "../../daemon/store/level.ts"
import type { Store } from "../../daemon/store/store.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { objectPath } from "./bpf/frames.ts"
import { ipBatch, until, World, type Namespace, type Output } from "./harness.ts"

export type Family = "ipv4" | "ipv6"

export interface PairOptions {
  /** Default: ipv4 */
  readonly underlay?: Family
  /** Of the wire between the hosts; default: 1500 */
  readonly mtu?: number
}

export interface Host {
  readonly name: string
  readonly underlay: Namespace
  readonly address: string
  readonly daemon: Daemon
  readonly reconciler: Reconciler
  readonly store: Store
  /** What the daemon said. */
  readonly told: ReadonlyArray<string>
  readonly close: () => Promise<void>
}

const addresses = { ipv4: ["10.88.0.1", "10.88.0.2"], ipv6: ["fd88::1", "fd88::2"] } as const

const makeHost = async (label: string, name: string, underlay: Namespace, address: string): Promise<Host> => {
  const directory = mkdtempSync(join(tmpdir(), `weft-test-${label}-`))
  const instance = `test-${label}-${process.pid}-${name}`
  const fabric = Fabric.open(instance)
  const program = Bpf.load(objectPath)
  const told: string[] = []
  const tell = (message: string): void => void told.push(message)
  const links = new EngineLinks({ fabric, program, start: () => Engine.start({ underlay: underlay.fd }), tell })
  const tunnels = new Tunnels({ fabric, program, address, underlay: { ...underlay, inode: 0 }, tell })
  // No lab here has containers, so no engine is asked for any.
  const containers = new Containers(connectTo("/nonexistent", instance, name), ({ message }) => tell(message))
  const relays = new Relays()
  const routing = new Routing({ tell: ({ message }) => tell(message), log: tell })
  const foreign = new ForeignVteps(program, tunnels)
  const own = { instance, runDirectory: join(directory, "run") }
  const bfd = new BfdSessions({ links, tell: ({ message }) => tell(message) })
  const bfdRoutes = new BfdRoutes(bfd, tell)
  const daemon: Daemon = { ...own, fabric, program, links, tunnels, foreign, containers, relays, routing, bfd, bfdRoutes }
  const store = await LevelStore.open(join(directory, "state"))
  const reconciler = new Reconciler({ daemon, store, events: new EventLog() })
  await reconciler.recover()
  const stopWatching = watchFabric(daemon)
  const close = async (): Promise<void> => {
    stopWatching()
    await reconciler.close()
    await routing.close()
    bfd.close()
    await links.close()
    program.close()
    Netns.close(fabric)
    Netns.remove(fabric.name)
    await store.close()
    rmSync(directory, { recursive: true, force: true })
  }
  return { name, underlay, address, daemon, reconciler, store, told, close }
}

export class HostPair {
  readonly world: World
  readonly lab: string
  readonly hosts: readonly [Host, Host]

  private constructor(world: World, lab: string, hosts: readonly [Host, Host]) {
    this.world = world
    this.lab = lab
    this.hosts = hosts
  }

  static async make(label: string, { underlay = "ipv4", mtu = 1500 }: PairOptions = {}): Promise<HostPair> {
    const world = new World(label)
    const [one, two] = [world.namespace("u1", { ipv6: true }), world.namespace("u2", { ipv6: true })] as const
    ipBatch(one, [`link add u0 mtu ${mtu} type veth peer name u0 mtu ${mtu} netns ${two.name}`])
    const ends = [one, two] as const
    ends.forEach((end, i) => {
      ipBatch(end, ["link set u0 up", `address add ${addresses.ipv4[i]}/24 dev u0`, `address add ${addresses.ipv6[i]}/64 dev u0 nodad`])
    })
    Netns.prepare()
    const [first, second] = addresses[underlay]
    const hosts = [await makeHost(label, "h1", one, first), await makeHost(label, "h2", two, second)] as const
    return new HostPair(world, `t${process.pid.toString(36)}-${label}`, hosts)
  }

  /** The part of each host. `host:` in the topology says h1 or h2. */
  parts(topology: Readonly<Record<string, unknown>>): readonly [Plan, Plan] {
    const loaded = load({ filename: "test.weft.yaml", content: JSON.stringify({ name: this.lab, ...topology }) })
    if (!loaded.ok) throw new Error(loaded.diagnostics.map(render).join("\n"))
    const vtepOf = (name: string): string | undefined => this.hosts.find((host) => host.name === name)?.address
    const [one, two] = this.hosts.map(({ name }) => partOf(loaded.plan, name, vtepOf))
    return [one!, two!]
  }

  /** Makes both parts; throws when one fails. Returns the steps of both. */
  async deploy(topology: Readonly<Record<string, unknown>>): Promise<ReadonlyArray<Step>> {
    const parts = this.parts(topology)
    const steps: Step[] = []
    // A node that moves leaves its old host first: here both hosts share one /run/netns.
    for (const [i, part] of parts.entries()) steps.push(...(await this.make(this.hosts[i]!, part)))
    return steps
  }

  /** Makes one host's part. */
  async make(host: Host, part: Plan): Promise<ReadonlyArray<Step>> {
    const steps: Step[] = []
    const watch = { planned: (planned: ReadonlyArray<Step>) => void steps.push(...planned), report: () => {}, note: () => {} }
    throwFailures(host, await host.reconciler.deploy(part, { filename: "test.weft.yaml", rollback: false }, watch))
    return steps
  }

  /** What differs on both hosts from what should be, as `host: id`. */
  async drift(): Promise<ReadonlyArray<string>> {
    const found = await Promise.all(this.hosts.map(async ({ name, reconciler }) => {
      const { drift } = await reconciler.inspect(this.lab)
      return drift.map((step) => `${name}: ${step.id} ${step.attributes.map(({ path }) => path).join()}`)
    }))
    return found.flat()
  }

  async destroy(): Promise<void> {
    for (const host of this.hosts) {
      const labs = await host.reconciler.labs()
      const silent = { planned: () => {}, report: () => {}, note: () => {} }
      for (const { name } of labs) throwFailures(host, await host.reconciler.destroy(name, silent))
    }
  }

  /** Runs a command in a node of the lab. */
  run(node: string, ...argv: ReadonlyArray<string>): Promise<Output> {
    const name = Netns.nodeName(this.lab, node)
    return this.world.run({ name, path: Netns.path(name), fd: -1 }, argv)
  }

  /** How a node is given to `Wire` and others. */
  node(node: string): Namespace {
    const name = Netns.nodeName(this.lab, node)
    return { name, path: Netns.path(name), fd: -1 }
  }

  async ping(from: string, to: string, ...options: ReadonlyArray<string>): Promise<boolean> {
    return (await this.run(from, "ping", "-n", "-c", "1", "-W", "1", ...options, to)).code === 0
  }

  /** Destroys the lab and throws when something of it is left. */
  async close(): Promise<void> {
    try {
      await this.destroy()
      for (const { daemon, name } of this.hosts) {
        // A TAP of a link that was released goes a moment later.
        await until(`nothing is left in the fabric of ${name}`, () => Fabric.links(daemon.fabric.fd).length === 1)
        const entries = [...daemon.program.ports().keys(), ...daemon.program.tunnelEnds().keys()]
        if (entries.length > 0) throw new Error(`Entries left in the program of ${name}: ${entries.join(" ")}`)
      }
    } finally {
      for (const host of this.hosts) await host.close()
      this.world.close()
    }
    const left = readdirSync("/run/netns").filter((name) => name.startsWith(`weft.${this.lab}.`))
    if (left.length > 0) throw new Error(`Left behind: ${left.join(" ")}`)
  }
}

const throwFailures = (host: Host, { failures }: Outcome): void => {
  if (failures.length > 0) throw new Error(failures.map(({ error, id }) => `${host.name}: ${id}: ${error.message}`).join("\n"))
}
