/** Where on its way a packet stops: what a traceroute says, and the route of the last node that answered. */
import { firewallCounts } from "./firewall-counts.ts"
import { type Lab, named, ownerOf, type RouteSeen, type Trace } from "./lab.ts"

const traceMs = 700

/** `default via 10.0.0.1 dev eth0` */
export const routeText = ({ prefix, type, ways }: RouteSeen): string => {
  const used = ways.filter(({ backup }) => !backup)
  const way = used.map(({ down, gateway, ifname }) => `${gateway === "" ? "" : `via ${gateway} `}dev ${ifname}${down ? " (down)" : ""}`)
  return [prefix, ...(type === "unicast" ? [] : [type]), way.join(" and ")].filter((word) => word !== "").join(" ")
}

/** The route that a node takes to an address; null: it has none, undefined: nobody knows. */
const routeOf = async (lab: Lab, node: string, address: string): Promise<RouteSeen | null | undefined> => {
  const routes = await lab.ask(node, "routes", { prefix: address, table: "main" }).catch(() => undefined)
  if (routes === undefined) return undefined
  return routes.find(({ selected }) => selected) ?? routes[0] ?? null
}

/** Why a node does not pass a packet on, as far as its routes tell. */
const obstacle = (node: string, address: string, route: RouteSeen | null | undefined): string | undefined => {
  if (route === null) return `${node} has no route to ${address}`
  const used = route?.ways.filter(({ backup }) => !backup) ?? []
  if (used.length > 0 && used.every(({ down }) => down)) return `${node} has only a way that is down: ${routeText(route!)}`
  return route === undefined || route.type === "unicast" ? undefined : `${node} discards it by its route ${routeText(route)}`
}

/**
 * What the routing table of a node says about an address, and that of the node after it: one that discards packets does
 * so before it would answer a traceroute.
 */
const lookUp = async (lab: Lab, node: string, address: string): Promise<string> => {
  const route = await routeOf(lab, node, address)
  const blocked = obstacle(node, address, route)
  if (blocked !== undefined || route === undefined || route === null) return blocked ?? ""
  const gateway = route.ways.find(({ backup, down }) => !backup && !down)?.gateway ?? ""
  const next = ownerOf(lab, gateway === "" ? address : gateway)
  const own = `its route is ${routeText(route)}`
  if (next === undefined) return own
  const further = gateway === "" ? undefined : obstacle(next, address, await routeOf(lab, next, address))
  return `${own}, so ${next} is next${further === undefined ? " and does not answer" : `, and ${further}`}`
}

/** The nodes of a trace, by name where they are the lab's: `pc1 > fw > ? > db`. */
export const wayOf = (lab: Lab, from: string, { hops }: Trace): string =>
  [from, ...hops.map(({ address }) => (address === undefined ? "?" : ownerOf(lab, address) ?? address))].join(" > ")

/** One line about how far packets from a node to an address get, and what firewalls on the way have dropped. Never rejects. */
export const explain = async (lab: Lab, from: string, address: string): Promise<string> => {
  const [way, drops] = await Promise.all([explainWay(lab, from, address), firewallsOnWay(lab, from, address)])
  return drops === "" ? way : `${way}; ${drops}`
}

const firewallsOnWay = async (lab: Lab, from: string, address: string): Promise<string> => {
  const { hops } = await lab.ask(from, "trace", { address, timeoutMs: traceMs }).catch((): Trace => ({ hops: [], arrived: false }))
  const passed = [from, ...hops.map((hop) => (hop.address === undefined ? undefined : ownerOf(lab, hop.address)))]
  const last = passed.findLast((node) => node !== undefined)!
  const route = await routeOf(lab, last, address)
  const next = ownerOf(lab, route?.ways.find(({ backup }) => !backup)?.gateway || address)
  return firewallCounts(lab, [...passed, next, ownerOf(lab, address)].filter((node) => node !== undefined))
}

const explainWay = async (lab: Lab, from: string, address: string): Promise<string> => {
  try {
    const trace = await lab.ask(from, "trace", { address, timeoutMs: traceMs })
    const way = wayOf(lab, from, trace)
    if (trace.arrived) return `a traceroute by UDP gets there (${way}), so it is a filter on the way or there, or the service itself`
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
