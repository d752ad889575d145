/**
 * One of many hosts, put together:
 *
 *     store (etcd) --> mirror --> follower --> local reconciler
 *                        |  `---> fleet, hosts: what people ask
 *                        `------> peer clients, tunnels' far ends: who has which address
 *
 * It starts without etcd, too: labs are the local reconciler's to recover, and what needs the shared state says that it
 * cannot be reached.
 */
import { release } from "node:os"
import type { EventLog } from "../observe/events.ts"
import type { TunnelSpec } from "../plan/resource.ts"
import type { Reconciler } from "../reconciler/reconciler.ts"
import type { FleetStore, HostRecord } from "../store/fleet.ts"
import type { Store } from "../store/store.ts"
import { Fleet, type Peers } from "./fleet.ts"
import type { FleetSettings } from "./flags.ts"
import { FleetFaults } from "./faults.ts"
import { Follower } from "./follower.ts"
import { FleetHosts } from "./hosts.ts"
import { Mirror } from "./mirror.ts"
import { PeerClients } from "./peer-clients.ts"
import type { Material } from "./peer-failure.ts"
import { eventsOfOthers, type HostEvent, peersOver } from "./peer-requests.ts"
import { VtepWatch } from "./vtep-watch.ts"

export interface FleetParts {
  /** Name of this host. */
  readonly host: string
  readonly instance: string
  readonly version: string
  readonly settings: FleetSettings
  readonly shared: FleetStore
  readonly store: Store
  readonly reconciler: Reconciler
  readonly events: EventLog
  /** What `--listen` shows and believes; undefined: other daemons can neither be asked nor ask. */
  readonly material: Material | undefined
  /** How a tunnel is carried where its `datapath` is `auto`. */
  readonly datapathOf: (tunnel: TunnelSpec) => string
  /** Whether the kernel's device of this UDP port is there and works. */
  readonly isWhole: (port: number) => boolean
}

export interface RunningFleet {
  readonly fleet: Fleet
  readonly hosts: FleetHosts
  readonly faults: FleetFaults
  readonly mirror: Mirror
  /** Undefined without `--listen`. */
  readonly peers: PeerClients | undefined
  readonly eventsOfOthers: (
    request: { readonly lab: string; readonly follow: boolean },
    listener: (event: HostEvent) => void
  ) => { readonly past: Promise<ReadonlyArray<HostEvent>>; readonly stop: () => void }
  /**
   * Tells the others who and where we are, and goes on trying by itself; follows as long as that is settled. `endpoint`: where
   * we listen; empty: nowhere.
   * @throws Error when another living host has the name or the underlay address
   */
  readonly register: (endpoint: string) => Promise<void>
  readonly close: () => Promise<void>
}

const noPeers: Peers = {
  planPart: (host) => Promise.reject(cannotAsk(host)),
  inspectPart: (host) => Promise.reject(cannotAsk(host))
}

const cannotAsk = (host: string): Error =>
  new Error(`Host "${host}" cannot be asked: this weftd was started without --listen ADDR:PORT and certificates`)

export const startFleet = (parts: FleetParts): RunningFleet => {
  const { events, host, material, reconciler, settings, shared, store } = parts
  const mirror = new Mirror(shared)
  const stopTelling = tellOfConnection(mirror, events)
  const follower = new Follower({ host, store, shared, mirror, reconciler, events })
  const nameOf = (address: string): string => mirror.hosts.find(({ underlay }) => underlay === address)?.name ?? address
  const { datapathOf, isWhole } = parts
  const tunnels = new VtepWatch({ host, underlay: settings.underlay, store, events, nameOf, datapathOf, isWhole })
  const clients = material === undefined ? undefined : new PeerClients({ hosts: () => mirror.hosts, material, self: host })
  const peers = clients === undefined ? noPeers : peersOver(clients)
  let refusal = ""
  const fleet = new Fleet({ host, shared, mirror, reconciler, follower, peers, tunnels, refusal: () => refusal })
  /** Nobody else is this host, or somebody is, as `reason` says. */
  const settle = (registered: boolean, reason: string): void => {
    const before = refusal
    refusal = reason
    if (registered) follower.begin()
    else follower.pause()
    if (before === reason) return
    const message = registered ? `host ${host} is registered again` : `${reason}. Meanwhile this weftd leaves its labs as they are`
    events.emit({ lab: "", type: registered ? "host.registered" : "host.refused", subject: host, message })
  }
  const record: Omit<HostRecord, "endpoint"> = {
    name: host,
    underlay: settings.underlay,
    capacity: settings.capacity,
    labels: settings.labels,
    instance: parts.instance,
    version: parts.version,
    kernel: release()
  }
  return {
    fleet,
    hosts: new FleetHosts({ host, shared, mirror, fleet }),
    faults: new FleetFaults({ host, mirror, fleet }),
    mirror,
    peers: clients,
    eventsOfOthers: (request, listener) =>
      clients === undefined
        ? { past: Promise.resolve([]), stop: () => {} }
        : eventsOfOthers({ clients, mirror, host }, request, listener),
    register: async (endpoint) => {
      try {
        await shared.register({ ...record, endpoint }, settle)
      } catch (error) {
        // Everything else passes, and the store goes on trying.
        if ((error as Error).name === "NameTaken") throw error
      }
    },
    close: async () => {
      stopTelling()
      await follower.close()
      await tunnels.close()
      clients?.close()
      mirror.close()
    }
  }
}

/** Once for each loss, and once for its end. */
const tellOfConnection = (mirror: Mirror, events: EventLog): (() => void) => {
  let told: boolean | undefined
  return mirror.listen(({ kind }) => {
    if (kind !== "connection") return
    const { connected, reason } = mirror.connection
    if (told === connected) return
    const isFirst = told === undefined
    told = connected
    if (connected) {
      if (!isFirst) events.emit({ lab: "", type: "etcd.connected", subject: "etcd", message: "etcd answers again" })
      return
    }
    const message = `etcd cannot be reached: ${reason}; labs go on, nothing can be deployed or destroyed`
    events.emit({ lab: "", type: "etcd.lost", subject: "etcd", message })
  })
}
