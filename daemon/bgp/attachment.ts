/**
 * Where a neighbour next door is: the interface of ours that is in its network. Such a neighbour exists only as long as that
 * interface is up with carrier and has the address. Its address may well be reached by other ways then, for hosts answer to all
 * of their addresses on every interface, but those lead around the link that the session is there to watch.
 */
import type { BgpNeighborSpec } from "../plan/bgp.ts"
import type { LinkState, MonitorApi, Scope } from "./fib/api.ts"
import { isInPrefix } from "./link-addresses.ts"

export interface Attachment {
  readonly ifindex: number
  readonly ifname: string
  /** Ours in the neighbour's network; absent where the neighbour's is link-local. */
  readonly address?: string
}

/** What must be on a link of ours: external and one hop away, unnumbered, or watched by BFD of one hop. */
export const isNextDoor = ({ bfd, multihop, remote, remoteAs, ttlSecurity }: BgpNeighborSpec, localAs: number): boolean => {
  if (remote.kind === "interface") return true
  if (bfd !== undefined && !bfd.multihop) return true
  const isInternal = remoteAs === "internal" || remoteAs === localAs
  return !isInternal && multihop <= 1 && (ttlSecurity ?? 1) <= 1
}

export interface Sought {
  /** Unknown at first of an unnumbered neighbour, which has an interface then. */
  readonly address: string | undefined
  readonly ifname: string | undefined
}

const isLinkLocal = (address: string): boolean => /^fe[89ab]/i.test(address)

/** The interface in `scope` that the neighbour is on, that of the longest prefix; or why there is none, in words. */
export const attachmentOf = (monitor: MonitorApi, scope: Scope, { address, ifname }: Sought): Attachment | string => {
  if (address === undefined || isLinkLocal(address)) return onInterface(monitor, address, ifname)
  let best: Found | undefined
  let unusable: string | undefined
  for (const link of monitor.links()) {
    const found = ifname === undefined || link.name === ifname ? onLink(monitor, scope, address, link) : undefined
    if (found === undefined) continue
    if (!link.isUsable) unusable = link.name
    else if (best === undefined || found.length > best.length) best = found
  }
  if (best !== undefined) return best.attachment
  const why = unusable === undefined ? "no interface has an address in its network" : `${unusable} is down or has no carrier`
  return `no connected route to ${address}: ${why}`
}

/** Whether a link has to do with the neighbour: looked at alone, so that a change of one costs nothing where there are many. */
export const concerns = (monitor: MonitorApi, scope: Scope, { address, ifname }: Sought, index: number): boolean => {
  const link = monitor.link(index)
  if (link === undefined || (ifname !== undefined && link.name !== ifname)) return false
  return address === undefined || isLinkLocal(address) || onLink(monitor, scope, address, link) !== undefined
}

interface Found {
  readonly attachment: Attachment
  readonly length: number
}

const onLink = (monitor: MonitorApi, scope: Scope, address: string, { index, name }: LinkState): Found | undefined => {
  let best: Found | undefined
  for (const prefix of monitor.addresses(index)) {
    const [own, length] = [prefix.slice(0, prefix.indexOf("/")), Number(prefix.slice(prefix.indexOf("/") + 1))]
    if (length <= (best?.length ?? -1) || own === address || !isInPrefix(address, prefix)) continue
    best = { attachment: { ifindex: index, ifname: name, address: own }, length }
  }
  return best !== undefined && monitor.belongs(scope, name) ? best : undefined
}

const onInterface = (monitor: MonitorApi, address: string | undefined, ifname: string | undefined): Attachment | string => {
  const what = address === undefined ? "no neighbor" : `no connected route to ${address}`
  if (ifname === undefined) return `${what}: a link-local address needs an interface`
  const link = monitor.linkByName(ifname)
  if (link === undefined) return `${what}: there is no interface ${ifname}`
  return link.isUsable ? { ifindex: link.index, ifname } : `${what}: ${ifname} is down or has no carrier`
}
