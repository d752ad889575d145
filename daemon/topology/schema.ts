/**
 * The shape of a topology file, version 1: what editors complete and what every value is checked against.
 *
 * Each part (a node, a network, a link, ...) has its own schema, so that one wrong part does not hide what is wrong with
 * the others. What needs more than one value to judge (references, overlaps) is checked in `resolve.ts` and the compiler.
 */
import { Schema } from "effect"
import { Bfd } from "./bfd-schema.ts"
import { Bgp, BgpOfPort, RouteBfd } from "./bgp-schema.ts"
import { containerKeys, Published } from "./container-schema.ts"
import { Firewall } from "./firewall-schema.ts"
import { formatPrefix, network, parseAddress, parsePrefix, unusableReason } from "./ip.ts"
import { profileKeys } from "./link-schema.ts"
import { ifnamePattern, ifnameProblem, macProblem, namePattern, nameProblem } from "./names.ts"
import { Command, integer, oneOrMore, optional, text } from "./schema-parts.ts"
import { datapathKey, transportKeys } from "./transport-schema.ts"

export const Name = text({ description: "a name", problem: nameProblem, pattern: namePattern })
const OnHost = text({ description: "the name of a host that runs weftd", problem: nameProblem, pattern: namePattern })
const Ifname = text({ description: "an interface name", problem: ifnameProblem, pattern: ifnamePattern })

const addressProblem = (value: string): string | undefined => {
  const address = parseAddress(value)
  if (address !== undefined) return undefined
  return parsePrefix(value) === undefined
    ? "expected an IPv4 or IPv6 address such as 10.0.0.1 or 2001:db8::1"
    : "expected an address without a prefix length"
}
const Address = text({ description: "an IPv4 or IPv6 address", problem: addressProblem })

const networkProblem = (value: string): string | undefined => {
  const prefix = parsePrefix(value)
  if (prefix === undefined) return "expected a prefix such as 10.0.0.0/24 or 2001:db8::/64"
  return network(prefix).bits === prefix.bits
    ? undefined
    : `has host bits set: the prefix of this length is ${formatPrefix(network(prefix))}`
}
const Subnet = text({ description: "a prefix such as 10.0.0.0/24", problem: networkProblem })

const cidrProblem = (value: string): string | undefined => {
  const problem = networkProblem(value)
  if (problem !== undefined) return problem
  const prefix = parsePrefix(value)!
  if (prefix.length === 0) return "a segment cannot span the whole address space"
  return unusableReason({ ...prefix, bits: prefix.bits + (prefix.bits === 0n ? 1n : 0n) })
}
const Cidr = text({ description: "a prefix such as 10.0.0.0/24 or 2001:db8::/64", problem: cidrProblem })

const interfaceProblem = (example: string) => (value: string): string | undefined => {
  const address = parsePrefix(value) ?? parseAddress(value)
  return address === undefined ? `expected an address such as ${example}` : unusableReason(address)
}
const InterfaceAddress = text({
  description: "an address such as 10.0.0.1/24",
  problem: interfaceProblem("10.0.0.1/24, or 10.0.0.1 where the segment's cidr gives the length")
})
const LoopbackAddress = text({ description: "an address such as 10.255.0.1/32", problem: interfaceProblem("10.255.0.1/32") })
const Mac = text({ description: "a MAC address such as 02:00:00:00:00:01", problem: macProblem })
const Word = Schema.String.annotate({ expected: "text" }).check(
  Schema.makeFilter((value: string) => (value.trim() === "" ? "the text is empty" : undefined))
)

const Plain = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean])
  .annotate({ expected: "text, a number or a boolean" })

const Mtu = integer(68, 65535, "Octets of the IP packet that fit, as `ip link` counts them")
const Labels = Schema.Record(Schema.String, Plain)
  .annotate({ identifier: "Labels", expected: "a map of labels", description: "Free words for people and tools: site: office" })

const Commands = Schema.Array(Command).annotate({
  identifier: "Commands",
  expected: "a list of commands",
  description: "Commands run once, in order, when the rest of the node is ready; split into words, never given to a shell"
})

const Dns = Schema.Struct({
  servers: optional(oneOrMore(Address, "an address", "Name servers, in /etc/resolv.conf of the node")),
  search: optional(oneOrMore(
    text({
      description: "a domain",
      problem: (value) => /^(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/.test(value)
        ? undefined
        : "expected a domain such as corp.example"
    }),
    "a domain",
    "Search domains"
  ))
}).annotate({ identifier: "Dns", expected: "a map with servers and search" })

const RouteWay = Schema.Union([
  Word,
  Schema.Struct({
    to: optional(Word.annotate({ description: "Address, NODE or NODE:PORT of the next hop" })),
    dev: optional(Ifname),
    weight: optional(integer(1, 256, "Share of the traffic, relative to the other ways")),
    bfd: optional(RouteBfd)
  })
]).annotate({ expected: "an address, NODE, NODE:PORT or {to, dev, weight, bfd}" })

const Destination = text({
  description: '"default" or a prefix',
  problem: (value) => (value === "default" ? undefined : networkProblem(value))
})

const Route = Schema.Struct({
  to: oneOrMore(Destination, '"default" or a prefix such as 10.0.0.0/8'),
  via: optional(Schema.Union([Word, Schema.Array(RouteWay)]).annotate({
    expected: "an address, NODE, NODE:PORT, or a list of ways for ECMP",
    description: "Next hop: an address, NODE or NODE:PORT; a list shares the load (ECMP)"
  })),
  dev: optional(Ifname),
  metric: optional(integer(0, 4294967295, "Lower wins")),
  table: optional(integer(1, 4294967295, "Routing table, 254 (main) unless given")),
  type: optional(Schema.Literals(["unicast", "blackhole", "unreachable", "prohibit"])),
  bfd: optional(RouteBfd)
}).annotate({ identifier: "Route", expected: "a route such as {to: default, via: 10.0.0.1}" })

const Rule = Schema.Struct({
  from: optional(Subnet),
  to: optional(Subnet),
  iif: optional(Word.annotate({ description: "Interface the packet came in by; lo: sent by the node itself" })),
  oif: optional(Word),
  fwmark: optional(integer(0, 4294967295, "Firewall mark")),
  table: integer(1, 4294967295, "Routing table to look in"),
  priority: optional(integer(1, 32765, "Lower is asked first; 1000 and up in order of appearance unless given"))
}).annotate({ identifier: "Rule", expected: "a rule such as {from: 10.0.0.0/8, table: 100}" })

const Masquerade = Schema.Union([
  Ifname,
  Schema.Struct({
    out: Ifname,
    from: optional(oneOrMore(Subnet, "a prefix", "Only packets from here")),
    except: optional(oneOrMore(Subnet, "a prefix", "But not packets to here"))
  })
]).annotate({ expected: "an interface name or {out, from, except}" })

const OneToOne = Schema.Struct({ public: Address, private: Address, on: optional(Ifname) })
  .annotate({ expected: "{public, private, on}" })

const PortNumber = integer(1, 65535, "TCP or UDP port")
const PortForward = Schema.Struct({
  on: optional(Ifname),
  address: optional(Address),
  protocol: Schema.Literals(["tcp", "udp"]),
  port: PortNumber,
  to: Word.annotate({ description: "Where to: 10.0.0.5:80, [2001:db8::5]:80, NODE:80, or without the port for the same one" })
}).annotate({ expected: "{on, address, protocol, port, to}" })

const Nat = Schema.Struct({
  masquerade: optional(oneOrMore(
    Masquerade,
    "an interface name or {out, from, except}",
    "Source NAT to the address of the interface that the packet leaves by"
  )),
  "one-to-one": optional(Schema.Array(OneToOne).annotate({ expected: "a list of {public, private, on}" })),
  "port-forward": optional(Schema.Array(PortForward).annotate({ expected: "a list of {on, address, protocol, port, to}" }))
}).annotate({ identifier: "Nat", expected: "a map with masquerade, one-to-one and port-forward" })

const Mss = Schema.Union([Schema.Literal("pmtu"), integer(48, 65495, "TCP payload octets")])
  .annotate({ expected: '"pmtu" or a number of octets' })
const MssClamp = Schema.Union([
  Schema.Literal("pmtu"),
  integer(48, 65495, "TCP payload octets"),
  Schema.Array(Schema.Struct({ out: optional(Ifname), mss: Mss }))
]).annotate({ identifier: "MssClamp", expected: '"pmtu", a number of octets, or a list of {out, mss}' })

/** What `defaults`, groups and nodes have in common. */
const settings = {
  labels: optional(Labels),
  mtu: optional(Mtu),
  sysctls: optional(
    Schema.Record(Schema.String, Plain).annotate({
      expected: "a map of sysctls",
      description: "Of the node's network namespace: net.ipv4.ip_forward: 1"
    })
  ),
  exec: optional(Commands),
  dns: optional(Dns),
  gateway: optional(oneOrMore(Word, '"none", an address or NODE', "Default gateway of a host")),
  routes: optional(Schema.Array(Route).annotate({ expected: "a list of routes" })),
  rules: optional(Schema.Array(Rule).annotate({ expected: "a list of rules" })),
  nat: optional(Nat),
  firewall: optional(Firewall),
  "mss-clamp": optional(MssClamp),
  bgp: optional(Bgp)
}

export const nodeKinds = ["host", "router", "container"] as const
const Kind = Schema.Literals(nodeKinds)
const Settings = Schema.Struct(settings).annotate({ identifier: "Settings", expected: "a map of settings" })
const ContainerSettings = Schema.Struct({ ...settings, ...containerKeys }).annotate({ expected: "a map of settings" })

export const Defaults = Schema.Struct({
  ...settings,
  kind: optional(Kind),
  host: optional(Settings),
  router: optional(Settings),
  container: optional(ContainerSettings)
}).annotate({ expected: "a map of settings" })

export const Group = Schema.Struct({
  ...settings,
  ...containerKeys,
  kind: optional(Kind),
  group: optional(Word),
  host: optional(OnHost)
}).annotate({ expected: "a map of settings" })

const PortSettings = Schema.Struct({
  mac: optional(Mac),
  mtu: optional(Mtu),
  addresses: optional(oneOrMore(InterfaceAddress, "an address such as 10.0.0.1/24")),
  bgp: optional(BgpOfPort)
}).annotate({ identifier: "PortSettings", expected: "a map with mac, mtu, addresses and bgp" })

const NodePorts = Schema.Union([
  Schema.Record(Schema.String, PortSettings),
  Schema.Array(Published)
]).annotate({
  expected: "a map from interface name to settings, or (of a container) a list of published ports such as [\"8080:80\"]",
  description: "Settings of interfaces by name; or, as a list, ports of a container that the machine it runs on offers"
})

export const Node = Schema.Struct({
  ...settings,
  ...containerKeys,
  kind: optional(Kind),
  group: optional(Word),
  host: optional(OnHost),
  loopback: optional(oneOrMore(LoopbackAddress, "an address such as 10.255.0.1/32", "Addresses of the interface lo")),
  anycast: optional(oneOrMore(LoopbackAddress, "an address such as 10.99.0.10/32", "Addresses of lo that other nodes may have, too")),
  bfd: optional(Bfd),
  ports: optional(NodePorts)
}).annotate({ expected: "a map such as {kind: host}" })

const PortReference = Schema.Union([
  Word,
  Schema.Struct({
    port: Word,
    mac: optional(Mac),
    mtu: optional(Mtu),
    addresses: optional(oneOrMore(InterfaceAddress, "an address such as 10.0.0.1/24")),
    bgp: optional(BgpOfPort)
  })
]).annotate({ identifier: "PortReference", expected: "NODE, NODE:PORT or {port, addresses, mac, mtu, bgp}" })

const segment = {
  cidr: optional(oneOrMore(Cidr, "a prefix such as 10.0.0.0/24", "Addresses are handed out from here in port order")),
  mtu: optional(Mtu),
  labels: optional(Labels),
  bgp: optional(BgpOfPort)
}

const Ageing = Schema.Union([
  integer(1, 86400, "Seconds"),
  text({
    description: "a time such as 300s or 5m",
    problem: (value) => (ageingSeconds(value) === undefined ? "expected 1 to 86400 seconds, such as 300s or 5m" : undefined),
    pattern: "^\\d{1,5}(s|m|h)?$"
  })
]).annotate({ expected: "a time such as 300s or 5m", description: "How long a learnt MAC address is believed" })

/** Seconds of `300`, `"300s"`, `"5m"`, `"1h"`; `undefined` when it is no time from 1 s to a day. */
export const ageingSeconds = (value: string | number): number | undefined => {
  const match = /^(\d{1,5})(s|m|h)?$/.exec(String(value))
  if (match === null) return undefined
  const seconds = Number(match[1]) * (match[2] === "h" ? 3600 : match[2] === "m" ? 60 : 1)
  return seconds >= 1 && seconds <= 86400 ? seconds : undefined
}

export const Network = Schema.Struct({
  ...segment,
  ports: Schema.Array(PortReference).annotate({ expected: "a list of ports such as [pc, \"fw:lan\"]" }),
  gateway: optional(oneOrMore(Word, '"none", an address or NODE', "Default gateway of the hosts on this network")),
  ageing: optional(Ageing),
  host: optional(OnHost),
  ...datapathKey
}).annotate({ expected: "a map with cidr and ports" })

export const Link = Schema.Struct({
  ...segment,
  endpoints: Schema.Array(PortReference).annotate({ expected: 'two ports such as ["a:eth1", "b:eth1"]' }).check(
    Schema.makeFilter((value: ReadonlyArray<unknown>) =>
      value.length === 2 ? undefined : `a link has exactly two endpoints, not ${value.length}: for more ports use a network`, {
      toJsonSchema: () => ({ minItems: 2, maxItems: 2 })
    })
  ),
  name: optional(Name),
  ...datapathKey,
  ...profileKeys
}).annotate({ expected: "a map with endpoints" })

/** Everything but the members of the four collections, which are decoded one by one. */
export const Outline = Schema.Struct({
  name: Name,
  overlap: optional(Schema.Literals(["allow", "refuse"]).annotate({
    description: "allow: segments may have overlapping prefixes and addresses may repeat"
  })),
  ...transportKeys,
  defaults: optional(Defaults),
  groups: optional(Schema.Record(Schema.String, Schema.Unknown).annotate({ expected: "a map from name to group" })),
  nodes: Schema.Record(Schema.String, Schema.Unknown).annotate({ expected: "a map from name to node" }),
  networks: optional(Schema.Record(Schema.String, Schema.Unknown).annotate({ expected: "a map from name to network" })),
  links: optional(Schema.Array(Schema.Unknown).annotate({ expected: "a list of links" }))
}).annotate({ expected: "a map with name, nodes, networks and links" })

const File = Schema.Struct({
  ...Outline.fields,
  groups: optional(Schema.Record(Name, Group)),
  nodes: Schema.Record(Name, Node),
  networks: optional(Schema.Record(Name, Network)),
  links: optional(Schema.Array(Link))
})

export type Settings = typeof Settings.Type
export type Defaults = typeof Defaults.Type
export type Group = typeof Group.Type
export type Node = typeof Node.Type
export type PortSettings = typeof PortSettings.Type
export type PortReference = typeof PortReference.Type
export type Network = typeof Network.Type
export type Link = typeof Link.Type
export type Outline = typeof Outline.Type

/** The JSON Schema of a topology file, for editors (draft 2020-12). */
export const jsonSchema = (): unknown => {
  const { schema, definitions } = Schema.toJsonSchemaDocument(File, { onExcessProperty: "error" })
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "weft topology",
    ...schema,
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions })
  }
}
