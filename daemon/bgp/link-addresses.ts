/** The addresses of an interface that a session uses, by what they are good for as next hops. */
import { familyOf, parse, parsePrefix } from "../wire/ip.ts"
import type { MonitorApi } from "./fib/api.ts"

export interface LinkAddresses {
  readonly ifname: string
  /** The first of each sort. */
  readonly ipv4: string | undefined
  readonly ipv6: string | undefined
  readonly linkLocal: string | undefined
  /** All, with prefix length. */
  readonly prefixes: ReadonlyArray<string>
}

const isLinkLocal = (address: string): boolean => /^fe[89ab]/.test(address)
const isLoopback = (address: string): boolean => address === "::1" || address.startsWith("127.")
const bare = (prefix: string): string => prefix.slice(0, prefix.indexOf("/"))

/** The interface that has the address; of a link-local one `ifname` says which. */
export const linkOf = (monitor: MonitorApi, address: string, ifname?: string): LinkAddresses | undefined => {
  for (const link of monitor.links()) {
    if (ifname !== undefined && ifname !== link.name) continue
    const prefixes = monitor.addresses(link.index)
    const addresses = prefixes.map(bare)
    if (ifname === undefined && !addresses.includes(address)) continue
    const first = (isIt: (address: string) => boolean): string | undefined => addresses.find((one) => !isLoopback(one) && isIt(one))
    return {
      ifname: link.name,
      ipv4: first((one) => !one.includes(":")),
      ipv6: first((one) => one.includes(":") && !isLinkLocal(one)),
      linkLocal: first(isLinkLocal),
      prefixes
    }
  }
  return undefined
}

/** Whether the network of an address with prefix length, such as `10.0.0.1/24`, has `address`. */
export const isInPrefix = (address: string, prefix: string): boolean => {
  if (familyOf(address) !== familyOf(prefix)) return false
  const [octets, network] = [parse(address), parsePrefix(prefix)]
  if (octets === undefined || network === undefined) return false
  const whole = network.length >> 3
  for (let at = 0; at < whole; at++) if (octets[at] !== network.address[at]) return false
  const rest = network.length & 7
  return rest === 0 || ((octets[whole]! ^ network.address[whole]!) & (0xff00 >> rest) & 0xff) === 0
}

/** Whether a link with these addresses has room for more than the two ends of a session. Link-local addresses do not count. */
export const hasRoomForOthers = (prefixes: ReadonlyArray<string>): boolean =>
  prefixes.some((prefix) => !isLinkLocal(prefix) && Number(prefix.slice(prefix.indexOf("/") + 1)) < (prefix.includes(":") ? 127 : 31))
