/** Where on its way a packet stops: what a traceroute says, and the route of the last node that answered. */
import { type Lab, named, ownerOf, type RouteSeen, type Trace } from "./lab.ts"

const traceMs = 700

/** `default via 10.0.0.1 dev eth0` */
export const routeText = ({ prefix, type, ways }: RouteSeen): string => {
  const used = ways.filter(({ backup }) => !backup)
  const way = used.map(({ down, gateway, ifname }) => `${gateway === "" ? "" : `via ${gateway} `}dev ${ifname}${down ? " (down)" : ""}`)
  return [prefix, ...(type === "unicast" ? [] : [type]), way.join(" and ")].filter((word) => word !== "").join(" ")
}

/** What the routing table of a node says about an address. */
const lookUp = async (lab: Lab, node: string, address: string): Promise<string> => {
  const routes = await lab.ask(node, "routes", { prefix: address, table: "main" }).catch(() => undefined)
  if (routes === undefined) return ""
  const route = routes.find(({ selected }) => selected) ?? routes[0]
  if (route === undefined) return `${node} has no route to ${address}`
  return route.type === "unicast" ? `its route is ${routeText(route)}` : `${node} discards it by its route ${routeText(route)}`
}

/** The nodes of a trace, by name where they are the lab's: `pc1 > fw > ? > db`. */
export const wayOf = (lab: Lab, from: string, { hops }: Trace): string =>
  [from, ...hops.map(({ address }) => (address === undefined ? "?" : ownerOf(lab, address) ?? address))].join(" > ")

/** One line about how far packets from a node to an address get. Never rejects. */
export const explain = async (lab: Lab, from: string, address: string): Promise<string> => {
  try {
    const trace = await lab.ask(from, "trace", { address, timeoutMs: traceMs })
    const way = wayOf(lab, from, trace)
    if (trace.arrived) return `the way is whole (${way}): a filter or the service itself`
    const last = trace.hops.at(-1)
    if (last?.address === undefined) {
      const route = await lookUp(lab, from, address)
      const nobody = trace.error === undefined ? "nobody after it answers" : trace.error
      return `stopped in ${from} or right after it: ${nobody}${route === "" ? "" : `; ${route}`}`
    }
    const who = named(lab, last.address)
    const node = ownerOf(lab, last.address)
    const route = node === undefined ? "" : await lookUp(lab, node, address)
    const said = last.outcome === "refused" ? `${who} says ${last.reason}` : `${who} is the last to answer`
    return `${way}: ${said}${route === "" ? "" : `; ${route}`}`
  } catch (error) {
    return `no traceroute: ${error instanceof Error ? error.message : String(error)}`
  }
}
