/** What `weft probe` takes. */
import type { CommandSpec } from "../command.ts"

export const probeSpec = {
  summary: "Send probes at a fixed spacing and say when they did not come back",
  description:
    "From a node to another one, or to an address. UDP, TCP and throughput are answered by the daemon in the destination node, ICMP "
    + "by its kernel, HTTP and DNS by what runs there. An outage is a run of probes that did not come back, on whichever way they "
    + "were lost; it is exact to the spacing. Exits 1 when any probe was lost.",
  args: {
    from: { kind: "required", summary: "NODE, or LAB/NODE where several labs run", complete: "node" },
    to: { kind: "required", summary: "a node of the same lab, or an address", complete: "node" }
  },
  flags: {
    udp: { kind: "boolean", summary: "UDP probes (this is so without --icmp)" },
    icmp: { kind: "boolean", summary: "ICMP echo, also to what is no node of the lab" },
    protocol: {
      kind: "choice",
      short: "p",
      choices: ["udp", "icmp", "tcp", "tcp-connect", "http", "dns", "traceroute", "path-mtu", "throughput"],
      default: "udp",
      summary: "what a probe is; tcp: requests on one connection that lives long"
    },
    port: { kind: "string", metavar: "N", summary: "where to: weft answers there, or what runs there does", complete: "none" },
    path: { kind: "string", metavar: "P", summary: "http: what to get (default: /)", complete: "none" },
    host: { kind: "string", metavar: "NAME", summary: "http: the header Host", complete: "none" },
    expect: { kind: "string", metavar: "X", summary: "http: statuses such as 200 or 2xx,404; dns: an address", complete: "none" },
    name: { kind: "string", metavar: "NAME", summary: "dns: the name to ask for", complete: "none" },
    type: { kind: "string", metavar: "T", summary: "dns: A, AAAA, CNAME, ... (default: A)", complete: "none" },
    rate: { kind: "string", metavar: "R", summary: "throughput: no more than 10M, 1Gbit (default: all there is)", complete: "none" },
    "answered-by": { kind: "string", metavar: "NODE", summary: "who answers, where NAT leads to another node", complete: "node" },
    ipv6: { kind: "boolean", summary: "to the node's IPv6 address" },
    spacing: { kind: "string", metavar: "D", summary: "from one probe to the next: 1ms, 500us (default: by protocol)", complete: "none" },
    duration: {
      kind: "string",
      short: "d",
      metavar: "D",
      summary: "end after this time: 10s, 5m (default: at Ctrl-C)",
      complete: "none"
    },
    timeout: {
      kind: "string",
      metavar: "D",
      summary: "a probe without an answer for so long is lost (default: 1s)",
      complete: "none"
    },
    flows: {
      kind: "string",
      short: "n",
      metavar: "N",
      summary: "so many flows at once, from ports of their own: equal ways share them (default: 1)",
      complete: "none"
    },
    output: { kind: "choice", short: "o", choices: ["table", "json", "yaml"], default: "table", summary: "format of the result" }
  },
  examples: [
    { command: "weft probe pc1 db", description: "until Ctrl-C, with a line that tells loss and current outage" },
    { command: "weft probe pc1 batch --flows 8 --duration 30s", description: "over all of several equal ways" },
    { command: "weft probe pc1 db -p tcp --port 5432", description: "a connection that lives long: stalls, resets, reconnects" },
    { command: "weft probe pc1 www -p http --path /health --expect 200", description: "the service that runs there" },
    { command: "weft probe pc1 batch -p traceroute --spacing 1s", description: "the path, and when it changes" },
    { command: "weft probe pc1 www --icmp -d 10s -o json | jq '.flows[].outages'", description: "for scripts" }
  ]
} as const satisfies CommandSpec
