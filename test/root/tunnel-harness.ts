/**
 * Two hosts and what is between them: a namespace for each host's underlay, joined by a veth pair, and for each host a
 * namespace of a node, whose interface `tap0` is the TAP of the engine's tunnel.
 *
 *     node a [tap0] ~~ engine a ~~ underlay a ==== underlay b ~~ engine b ~~ [tap0] node b
 */
import { Engine } from "../../daemon/datapath/engine.ts"
import type { LinkProfile } from "../../daemon/datapath/profile.ts"
import type { TunnelEnd } from "../../daemon/datapath/tunnel.ts"
import { openTap } from "../../daemon/linux/tap.ts"
import * as Ip from "../../daemon/wire/ip.ts"
import { ipBatch, type Namespace, World } from "./harness.ts"

export interface Tunnel {
  readonly encapsulation: TunnelEnd["encapsulation"]
  readonly family: 4 | 6
  readonly port: number
  readonly vni: number
  readonly profile?: LinkProfile
  /** Geneve's, in hexadecimal. */
  readonly options?: string
}

export const defaultPort = { vxlan: 14789, geneve: 6081, gre: 0 } as const

/** Of the hosts; the third is nobody's tunnel end. */
export const underlay = {
  4: ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
  6: ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
} as const
export const inner = ["10.95.0.1", "10.95.0.2"] as const
export const id = "tunnel"

export interface Host {
  readonly underlay: Namespace
  readonly node: Namespace
}

export class Hosts {
  readonly world: World
  readonly a: Host
  readonly b: Host
  private readonly engines: Engine[] = []

  constructor(label: string, options: { readonly mtu?: number } = {}) {
    this.world = new World(label)
    const host = (name: string): Host => ({
      underlay: this.world.namespace(`${name}-underlay`, { ipv6: true }),
      node: this.world.namespace(`${name}-node`)
    })
    this.a = host("a")
    this.b = host("b")
    const mtu = options.mtu ?? 1500
    ipBatch(this.a.underlay, [`link add u0 mtu ${mtu} type veth peer name u0 mtu ${mtu} netns ${this.b.underlay.name}`])
    for (const [i, { underlay: namespace }] of [this.a, this.b].entries()) {
      ipBatch(namespace, ["link set u0 up", `addr add ${underlay[4][i]}/24 dev u0`, `addr add ${underlay[6][i]}/64 dev u0 nodad`])
    }
    ipBatch(this.b.underlay, [`addr add ${underlay[4][2]}/24 dev u0`, `addr add ${underlay[6][2]}/64 dev u0 nodad`])
  }

  /** Starts an engine on a host and gives its node the TAP of a tunnel to the other one. */
  async start(host: Host, tunnel: Tunnel, mtu = 1450): Promise<Engine> {
    const engine = await Engine.start({ underlay: host.underlay.fd })
    this.engines.push(engine)
    await this.connect(engine, host, tunnel, { mtu })
    return engine
  }

  /** Adds the tunnel, whose remote end is the other host. */
  async connect(engine: Engine, host: Host, tunnel: Tunnel, options: { mtu?: number; name?: string; id?: string } = {}): Promise<void> {
    const { name = "tap0", mtu = 1450 } = options
    const side = host === this.a ? 0 : 1
    const tap = openTap(host.node.fd, name, { mtu })
    const addresses = underlay[tunnel.family]
    const octets = (text: string) => Ip.parse(text)!
    await engine.addTunnel(options.id ?? id, tap.fd, {
      encapsulation: tunnel.encapsulation,
      port: tunnel.port,
      vni: tunnel.vni,
      remote: octets(addresses[1 - side]!),
      local: octets(addresses[side]!),
      profile: tunnel.profile ?? {},
      options: new Uint8Array(Buffer.from(tunnel.options ?? "", "hex")),
      seed: 7
    })
    ipBatch(host.node, [`link set ${name} address 02:00:00:00:95:0${side + 1}`, `addr replace ${inner[side]}/24 dev ${name}`])
  }

  async close(): Promise<void> {
    for (const engine of this.engines) await engine.close()
    this.world.close()
  }
}
