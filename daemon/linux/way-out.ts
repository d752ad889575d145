/** By which interface packets leave, from the namespace that weftd itself is in: the way to other hosts. */
import { addon } from "../native/index.ts"
import * as Ip from "../wire/ip.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import { findRoute, wayOut } from "../wire/rtnetlink/route.ts"
import { dump } from "./rtnetlink.ts"

/** weftd's own namespace. */
export const ownNamespacePath = "/proc/self/ns/net"

/** The name of the interface by which packets to `address` leave. Throws KernelError: ENETUNREACH when there is no way. */
export const interfaceTowards = (address: string): string => {
  const netns = addon.netnsOpen(ownNamespacePath)
  try {
    const index = Array.from(dump(netns, (out) => findRoute(out, Ip.parse(address)!)), ({ body }) => wayOut(body))[0]
    const link = Array.from(dump(netns, Link.dumpLinks), ({ body }) => Link.decode(body)).find((each) => each.index === index)
    if (link === undefined) throw new Error(`No interface leads to ${address}`)
    return link.name
  } finally {
    addon.close(netns)
  }
}
