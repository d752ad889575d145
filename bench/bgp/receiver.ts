/**
 * weft's RIB behind a TCP socket, a process of its own: takes one session on port 179 of an address and puts what comes into the RIB, in
 * slices as the routing thread does. Prints the number of routes for each line on stdin.
 */
import { createInterface } from "node:readline"
import { createServer } from "node:net"
import { Rib } from "../../daemon/bgp/rib/rib.ts"
import { encodeKeepalive } from "../../daemon/wire/bgp/header.ts"
import { Family, MessageType } from "../../daemon/wire/bgp/iana.ts"
import { encode as encodeOpen } from "../../daemon/wire/bgp/open.ts"
import { StreamParser } from "../../daemon/wire/bgp/stream.ts"
import { context } from "./update-stream.ts"

const asn = 65000
let isScheduled = false
const work = (): void => {
  isScheduled = false
  if (rib.run(5)) wanted()
}
const wanted = (): void => {
  if (isScheduled) return
  isScheduled = true
  setImmediate(work)
}

const nextHops = { track: () => 0, release: () => {}, isReachable: () => true, metric: () => 0, onChange: () => () => {} }
const rib = new Rib({
  asn, routerId: 0x0a630001, clusterId: 0x0a630001, multipath: { ebgp: 1, ibgp: 1, asPathRelax: false }, alwaysCompareMed: false,
  gracefulShutdown: false, nextHops, fib: { set: () => {}, unset: () => {}, hasSpace: () => true }, events: { wanted }
})
const peer = rib.addPeer({
  name: "sender", isExternal: true, remoteAs: 65001, localAs: asn, localAsPrepend: false, routeReflectorClient: false, allowAsIn: 0,
  removePrivateAs: false, asOverride: false, sendCommunities: true, mraiMs: 0,
  families: [{ defaultOriginate: false, nextHopSelf: false, addPathSend: 0 }, undefined]
})

const open = encodeOpen({
  asn, holdTimeS: 180, bgpIdentifier: 0x0a630001,
  capabilities: [{ kind: "multiprotocol", family: Family.ipv4Unicast }, { kind: "routeRefresh" }, { kind: "fourOctetAs", asn }]
})

const server = createServer((socket) => {
  const parser = new StreamParser()
  socket.on("error", () => {})
  socket.on("data", (chunk: Buffer) => {
    parser.feed(chunk)
    while (parser.next()) {
      if (parser.type === MessageType.open) {
        socket.write(open)
        socket.write(encodeKeepalive())
        rib.sessionUp(peer, {
          context, remoteAddress: socket.remoteAddress ?? "", remoteRouterId: 0x0a630002, nextHopSelf: ["10.99.0.1", undefined],
          outbound: { space: () => 1 << 20, send: (bytes) => void socket.write(bytes.slice()) }
        })
      } else if (parser.type === MessageType.update) {
        const error = rib.receive(peer, parser.bytes, parser.at, parser.end)
        if (error !== undefined) throw new Error(`the stream is refused with ${error.code}/${error.subcode}`)
      }
    }
  })
})
server.listen(179, process.argv[2]!)
for await (const _ of createInterface({ input: process.stdin })) process.stdout.write(`${rib.counts(0).paths}\n`)
process.exit(0)
