/**
 * What resource handlers work with while one lab is being converged: names, open namespaces, interface indexes.
 *
 * It starts from a snapshot and follows what the handlers make and remove, so that nothing has to be looked up twice.
 */
import type { Routing } from "../bgp/routing.ts"
import type { Containers } from "../containers/containers.ts"
import { KernelError } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import type { PortProgram } from "../linux/bpf.ts"
import type { Kind, NodeSpec, Remembered, Resource, ResourceOf } from "../plan/resource.ts"
import type { BfdRoutes } from "./bfd-routes.ts"
import type { BfdSessions } from "./bfd-sessions.ts"
import type { EngineLinks } from "./engine-link.ts"
import type { ForeignVteps } from "./foreign-vteps.ts"
import type { Relays } from "./relays.ts"
import type { Snapshot } from "./snapshot.ts"
import type { Tunnels } from "./tunnel.ts"

/** One daemon's share of the machine. */
export interface Daemon {
  readonly instance: string
  readonly fabric: Netns.Netns
  readonly program: PortProgram
  readonly links: EngineLinks
  readonly containers: Containers
  readonly relays: Relays
  readonly tunnels: Tunnels
  readonly foreign: ForeignVteps
  readonly routing: Routing
  readonly bfd: BfdSessions
  readonly bfdRoutes: BfdRoutes
  /** `/run/weft/<instance>`: what must be gone after a reboot. */
  readonly runDirectory: string
}

/** Holds a folder for each lab. */
export const labsDirectory = (daemon: Daemon): string => `${daemon.runDirectory}/labs`

export interface LabInit {
  readonly name: string
  readonly daemon: Daemon
  readonly snapshot: Snapshot
  /** What the lab should be, by id. */
  readonly desired: ReadonlyMap<string, Resource>
  /**
   * What it should have been before, oldest first, an id once for each change that was not finished: where the kernel
   * keeps no mark of ours, this says what to look for.
   */
  readonly previous: ReadonlyArray<Resource>
  readonly records: Iterable<readonly [string, Remembered]>
  /** Stores what is in `records`. */
  readonly save: (records: ReadonlyMap<string, Remembered>) => Promise<void>
}

export class Lab {
  readonly name: string
  readonly daemon: Daemon
  readonly snapshot: Snapshot
  readonly desired: ReadonlyMap<string, Resource>
  /** By id, the latest. */
  readonly previous: ReadonlyMap<string, Resource>
  /** `desired` and `previous` together; where both have an id, the desired one. */
  readonly known: ReadonlyMap<string, Resource>
  /** Handlers change it, and call `save` when it must not be forgotten, whatever happens next. */
  readonly records: Map<string, Remembered>
  private readonly saveRecords: LabInit["save"]
  /** A save that has not begun: it will hold what is recorded until then. */
  private saving: Promise<void> | undefined
  private lastSave: Promise<void> = Promise.resolve()
  private readonly open = new Map<string, Netns.Netns>()
  private readonly owned = new Set<string>()
  private readonly indexes = new Map<string, number>()
  private readonly highest = new Map<string, number>()
  private readonly fabricIndexes = new Map<string, number>()
  private readonly sysctls = new Map<string, Set<string>>()

  constructor(init: LabInit) {
    this.name = init.name
    this.daemon = init.daemon
    this.snapshot = init.snapshot
    this.desired = init.desired
    this.previous = new Map(init.previous.map((resource) => [resource.id, resource]))
    this.known = new Map([...this.previous, ...init.desired])
    this.records = new Map(init.records)
    this.saveRecords = init.save
    for (const [node, { netns, links }] of init.snapshot.nodes) {
      this.open.set(node, netns)
      for (const link of links.values()) this.setIndex(node, link.name, link.index)
    }
    for (const [port, { link }] of init.snapshot.fabricPorts) this.fabricIndexes.set(port, link.index)
    for (const resource of init.previous) if (resource.kind === "node") this.rememberSysctls(resource.spec)
  }

  /** Stores `records`. Calls that come while one is under way share the one after it. */
  async save(): Promise<void> {
    if (this.saving === undefined) {
      const before = this.lastSave
      this.saving = before.then(() => {
        this.saving = undefined
        return this.saveRecords(this.records)
      })
      this.lastSave = this.saving.catch(() => {})
    }
    await this.saving
  }

  /** The node's open namespace. Throws when it does not exist: whoever needs it depends on it. */
  netns(node: string): Netns.Netns {
    const netns = this.open.get(node)
    if (netns !== undefined) return netns
    throw new KernelError({ operation: "open network namespace", object: Netns.nodeName(this.name, node), code: "ENOENT" })
  }

  /** Opens a namespace that was just made. */
  adopt(node: string): void {
    const netns = Netns.open(Netns.nodeName(this.name, node))
    if (netns === undefined) throw new KernelError({ operation: "open network namespace", object: node, code: "ENOENT" })
    this.open.set(node, netns)
    this.owned.add(node)
    this.setIndex(node, "lo", 1)
    // The kernel gives inodes out again: what ran in an earlier namespace of this number did not run in this one.
    for (const [resource, record] of this.records) {
      if (record.kind === "exec" && resource.startsWith(`exec/${node}/`)) this.records.delete(resource)
    }
  }

  forget(node: string): void {
    if (this.owned.delete(node)) Netns.close(this.open.get(node)!)
    this.open.delete(node)
    this.highest.delete(node)
  }

  /** Closes what `adopt` opened; the snapshot's namespaces are its own. */
  close(): void {
    for (const node of [...this.owned]) this.forget(node)
  }

  /** ifindex of an interface inside its node. Throws when there is none. */
  index(node: string, ifname: string): number {
    const index = this.indexes.get(`${node}:${ifname}`)
    if (index !== undefined) return index
    throw new KernelError({ operation: "find interface", object: `${node}:${ifname}`, code: "ENODEV" })
  }

  /** The name of the interface with this ifindex in `node`, or undefined. */
  ifname(node: string, index: number): string | undefined {
    for (const link of this.snapshot.nodes.get(node)?.links.values() ?? []) if (link.index === index) return link.name
    return undefined
  }

  setIndex(node: string, ifname: string, index: number): void {
    this.indexes.set(`${node}:${ifname}`, index)
    this.highest.set(node, Math.max(index, this.highest.get(node) ?? 0))
  }

  /** An ifindex that is free in the node: choosing it ourselves saves asking for it. */
  freeIndex(node: string): number {
    return (this.highest.get(node) ?? 1) + 1
  }

  /** ifindex of a port's host side, or undefined. `port` is `node:ifname`. */
  fabricIndex(port: string): number | undefined {
    return this.fabricIndexes.get(port)
  }

  setFabricIndex(port: string, index: number | undefined): void {
    if (index === undefined) this.fabricIndexes.delete(port)
    else this.fabricIndexes.set(port, index)
  }

  /** Names of the sysctls that weft may have set in the node before. */
  formerSysctls(node: string): ReadonlyArray<string> {
    return [...(this.sysctls.get(node) ?? [])]
  }

  private rememberSysctls({ node, sysctls }: NodeSpec): void {
    const names = this.sysctls.get(node) ?? new Set()
    for (const name of Object.keys(sysctls)) names.add(name)
    this.sysctls.set(node, names)
  }

  /** Where this lab keeps its files. */
  get directory(): string {
    return `${labsDirectory(this.daemon)}/${this.name}`
  }

  /** The known resources of one kind. */
  knownOf<K extends Kind>(kind: K): Iterable<ResourceOf<K>> {
    return ofKind(this.known, kind)
  }

  /** The desired resources of one kind. */
  desiredOf<K extends Kind>(kind: K): Iterable<ResourceOf<K>> {
    return ofKind(this.desired, kind)
  }
}

function* ofKind<K extends Kind>(resources: ReadonlyMap<string, Resource>, kind: K): Generator<ResourceOf<K>> {
  for (const resource of resources.values()) if (resource.kind === kind) yield resource as ResourceOf<K>
}
