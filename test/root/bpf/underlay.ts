/** One host whose program has tunnels, and a far end that is not weft: a kernel's VXLAN device, or packets made by scapy. */
import { addon } from "../../../daemon/native/index.ts"
import { Tunnels } from "../../../daemon/resources/tunnel.ts"
import { ipBatch, type Namespace } from "../harness.ts"
import { type Fixture, makeFixture } from "./frames.ts"

export const near = { ipv4: "10.88.0.1", ipv6: "fd88::1" } as const
export const far = { ipv4: "10.88.0.2", ipv6: "fd88::2" } as const
/** Another address of the far end, that no tunnel leads to. */
export const stranger = { ipv4: "10.88.0.3", ipv6: "fd88::3" } as const

export interface TunnelFixture extends Fixture {
  readonly underlay: Namespace
  readonly farEnd: Namespace
  readonly tunnels: Tunnels
}

/** The fixture of `makeFixture`, with a wire `u0` from its underlay to the far end. */
export const makeTunnelFixture = (label: string, count: number, options: { readonly mtu?: number } = {}): TunnelFixture => {
  const fixture = makeFixture(label, count, options)
  const { fabric, program, world } = fixture
  const [underlay, farEnd] = [world.namespace("near", { ipv6: true }), world.namespace("far", { ipv6: true })] as const
  ipBatch(underlay, [`link add u0 type veth peer name u0 netns ${farEnd.name}`])
  for (const [namespace, addresses] of [[underlay, [near]], [farEnd, [far, stranger]]] as const) {
    const lines = addresses.flatMap(({ ipv4, ipv6 }) => [`address add ${ipv4}/24 dev u0`, `address add ${ipv6}/64 dev u0 nodad`])
    ipBatch(namespace, ["link set u0 up", ...lines])
    // Other interfaces say nothing by themselves.
    addon.writeFiles(namespace.fd, ["/proc/sys/net/ipv6/conf/default/disable_ipv6"], ["1"])
  }
  const parts = { fabric: { ...fabric, inode: 0 }, program, underlay: { ...underlay, inode: 0 }, tell: () => {} }
  return { ...fixture, underlay, farEnd, tunnels: new Tunnels(parts) }
}
