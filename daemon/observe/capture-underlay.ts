/**
 * The tunnel side of a port: what its segment's frames are wrapped in, on the host's interface in the underlay.
 *
 *     node --port-- fabric ==VXLAN== eth0 of the host        captured at eth0: packets of this VNI only
 *
 * VXLAN (RFC 7348 5) and Geneve (RFC 8926 3.4) have the VNI at the same place; GRE has it as its key (RFC 2890 2).
 * Both directions are seen. From whom a packet comes is not asked: one of a foreign host is what people look for.
 *
 * Limits: of a packet that the underlay has cut into fragments only the first has the header by which it is known; an IPv6
 * packet with extension headers is not known at all, because pcap-filter has no loops.
 */
import { interfaceTowards, ownNamespacePath } from "../linux/way-out.ts"
import type { TunnelSpec } from "../plan/resource.ts"
import type { Port } from "./capture.ts"

/** A segment that spans hosts, as this host has it. */
export interface Tunnelled {
  readonly segment: string
  readonly vni: number
  readonly tunnel: TunnelSpec
}

const hex = (value: number): string => `0x${value.toString(16)}`

/**
 * The packets of one segment's tunnels, as an expression of pcap-filter(7).
 *
 * @param more what else they must match, of the outer packet; empty: nothing
 */
export const tunnelFilter = ({ tunnel, vni }: Pick<Tunnelled, "tunnel" | "vni">, more = ""): string => {
  const own = tunnel.encapsulation === "gre" ? greFilter(vni) : udpFilter(tunnel.port, vni)
  return more === "" ? own : `(${own}) and (${more})`
}

/** `udp[...]` is of IPv4 only in libpcap, so IPv6 is counted out by hand: 40 octets of IPv6, 8 of UDP. */
const udpFilter = (port: number, vni: number): string => {
  const isVni = `& 0xffffff00 = ${hex(vni * 256)}`
  return `(udp dst port ${port} and udp[12:4] ${isVni}) or (ip6[6] = 17 and ip6[42:2] = ${port} and ip6[52:4] ${isVni})`
}

/** With a key, without a checksum, not a later fragment: as ours are. */
const greFilter = (vni: number): string => {
  const header = "(ip[0] & 0xf) << 2"
  const v4 = `ip proto 47 and ip[6:2] & 0x1fff = 0 and ip[${header}:2] & 0xa000 = 0x2000 and ip[(${header}) + 4:4] = ${hex(vni)}`
  return `(${v4}) or (ip6[6] = 47 and ip6[40:2] & 0xa000 = 0x2000 and ip6[44:4] = ${hex(vni)})`
}

/**
 * The port as it is captured in the underlay: once for each interface by which the segment's other hosts are reached,
 * which mostly is one. Throws KernelError: ENETUNREACH when there is no way to one of them.
 *
 * @param more the user's filter
 */
export const tunnelSide = (port: Port, tunnelled: Tunnelled, more: string): ReadonlyArray<Port> => {
  const { segment, tunnel, vni } = tunnelled
  const names = [...new Set(tunnel.vteps.map((address) => interfaceTowards(address)))]
  const what = tunnel.encapsulation === "gre" ? "GRE" : `${tunnel.encapsulation} to port ${tunnel.port}`
  return names.map((ifname) => ({
    ...port,
    name: `${port.name}@underlay${names.length === 1 ? "" : `:${ifname}`}`,
    tap: {
      netnsPath: ownNamespacePath,
      ifname,
      filter: tunnelFilter(tunnelled, more),
      description: `${ifname} of the host: segment ${segment} of lab ${port.lab} in ${what}, VNI ${vni}`
    }
  }))
}
