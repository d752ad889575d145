/** What the machine's own network has to say about carrying tunnels. */
import { dump } from "./rtnetlink.ts"
import * as Address from "../wire/rtnetlink/address.ts"
import * as Link from "../wire/rtnetlink/link.ts"

/** Octets that a tunnel adds to the layer 3 packet of a lab: outer IP, UDP, VXLAN, inner Ethernet (RFC 7348, 5). */
export const vxlanOverhead = { ipv4: 20 + 8 + 8 + 14, ipv6: 40 + 8 + 8 + 14 } as const

/** The interface that has `address` (canonical text) in the namespace; undefined: none has. `netns`: -1 is our own. */
export const interfaceOf = (netns: number, address: string): Link.Link | undefined => {
  const found = Array.from(dump(netns, Address.dumpAddresses), ({ body }) => Address.decode(body)).find(
    (one) => one.address.slice(0, one.address.lastIndexOf("/")) === address
  )
  if (found === undefined) return undefined
  return Array.from(dump(netns, Link.dumpLinks), ({ body }) => Link.decode(body)).find((link) => link.index === found.index)
}
