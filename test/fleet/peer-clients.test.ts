/** Real servers with real certificates on loopback: what is asked, and what is said when it cannot be. */
import { once } from "node:events"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import type * as grpc from "@grpc/grpc-js"
import t, { type Test } from "tap"
import { PeerClients, PeerError } from "../../daemon/fleet/peer-clients.ts"
import type { Services } from "../../daemon/rpc/server.ts"
import { type Credentials, extensions, hollowServices, makePki, startRemote } from "../rpc/pki-fixture.ts"

const pki = await makePki()
t.teardown(() => pki.remove())
const { client, operator, server } = extensions

const materialOf = ({ ca, cert, key }: Credentials) => ({ ca, cert: cert!, key: key! })

const clientsTo = (t: Test, endpoint: string, credentials = pki.daemon, name = "h2"): PeerClients => {
  const peers = new PeerClients({ hosts: () => [{ name, endpoint }], material: materialOf(credentials), self: "h1" })
  t.teardown(() => peers.close())
  return peers
}

const failureOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(() => "no failure", (error: Error) => (error instanceof PeerError ? error.message : `another error: ${error.message}`))

const inspect = (peers: PeerClients): Promise<unknown> => peers.unary("h2", "Peers", "InspectPart", { lab: "x" }, { onBehalfOf: "alice" })

/** Services that answer, and note what calls carry. */
const listening = (seen: Array<unknown>): Services => ({
  ...hollowServices([]),
  Peers: {
    inspectPart: (call: grpc.ServerUnaryCall<{ lab: string }, object>, done: grpc.sendUnaryData<object>) => {
      seen.push([call.request.lab, call.metadata.get("weft-forwarded-by"), call.metadata.get("weft-on-behalf-of")])
      if (call.request.lab === "none") done({ code: 5, details: 'No lab "none"' })
      else if (call.request.lab !== "silent") done(null, { host: "h2" })
    },
    events: (call: grpc.ServerWritableStream<object, object>) => {
      for (let i = 0; i < 3; i++) call.write({ message: `event ${i}` })
      call.once("cancelled", () => seen.push("cancelled"))
    }
  }
})

t.test("a call arrives with who forwards it and for whom; answers and failures come back as they are", async (t) => {
  const seen: Array<unknown> = []
  const remote = await startRemote(pki.daemon, listening(seen))
  t.teardown(() => remote.close(100))
  const peers = clientsTo(t, `127.0.0.1:${remote.port}`)
  t.match(await inspect(peers), { host: "h2" })
  t.strictSame(seen, [["x", ["h1"], ["alice"]]])
  await t.rejects(peers.unary("h2", "Peers", "InspectPart", { lab: "none" }), { code: 5, message: 'No lab "none"', host: "h2" })
  await t.rejects(peers.unary("h2", "Peers", "InspectPart", { lab: "silent" }, { deadlineMs: 100 }), {
    code: 4,
    message: /^The weftd of host "h2" at 127\.0\.0\.1:\d+ did not answer in time: (?!.*LB pick)/
  })
  const messages: Array<string> = []
  for await (const { message } of peers.stream<{ message: string }>("h2", "Peers", "Events", {})) if (messages.push(message) === 3) break
  t.strictSame(messages, ["event 0", "event 1", "event 2"])
  while (seen.at(-1) !== "cancelled") await new Promise((next) => setImmediate(next))
  t.pass("leaving the loop ends the call")
})

t.test("a host that comes back, elsewhere or with another certificate, is asked at once", async (t) => {
  const first = await startRemote(pki.daemon, listening([]))
  const host = { name: "h2", endpoint: `127.0.0.1:${first.port}` }
  const material = materialOf(pki.viewer)
  const peers = new PeerClients({ hosts: () => [host], material, self: "h1" })
  t.teardown(() => peers.close())
  t.match(await failureOf(inspect(peers)), /^Host "h2" refuses this daemon's call: "viewer" may not call weft\.v1\.Peers\/InspectPart/)
  Object.assign(material, materialOf(pki.daemon))
  t.match(await inspect(peers), { host: "h2" }, "the new certificate is used")
  await first.close(0)
  t.match(await failureOf(inspect(peers)), /: nobody listens there\. Its weftd does not run, or runs without --listen/)
  const second = await startRemote(pki.daemon, listening([]))
  t.teardown(() => second.close(100))
  host.endpoint = `127.0.0.1:${second.port}`
  t.match(await inspect(peers), { host: "h2" })
})

t.test("what is wrong is said with host, endpoint, reason and remedy", async (t) => {
  const reachable = async (credentials: Credentials): Promise<string> => {
    const remote = await startRemote(credentials, listening([]))
    t.teardown(() => remote.close(100))
    return `127.0.0.1:${remote.port}`
  }
  const daemon = "URI:weft:role:daemon"
  const both = "extendedKeyUsage = clientAuth, serverAuth"
  const odd = (name: string, names: string, days = 30): Credentials => pki.odd(name, [both, `subjectAltName = ${names}`], days)

  t.match(await failureOf(inspect(clientsTo(t, ""))), 'Cannot reach the weftd of host "h2": it does not listen for other daemons. On h2,')
  t.match(await failureOf(inspect(clientsTo(t, "h2:none"))), 'its endpoint "h2:none" is no ADDR:PORT')
  t.match(await failureOf(clientsTo(t, "").unary("h9", "Peers", "InspectPart", {})), 'Cannot reach host "h9": no such host is registered')

  const elsewhere = await reachable(odd("elsewhere", `${daemon}, DNS:h3, IP:192.0.2.1`))
  t.match(
    await failureOf(inspect(clientsTo(t, elsewhere))),
    `Cannot reach the weftd of host "h2" at ${elsewhere}: its certificate is not for this address but for h3, 192.0.2.1. On h2, have`
  )
  const byName = await reachable(odd("by-name", `${daemon}, DNS:h2`))
  t.match(await inspect(clientsTo(t, byName)), { host: "h2" }, "the host's name will do")
  const noDaemon = await reachable(pki.odd("no-daemon", [server, "subjectAltName = IP:127.0.0.1"]))
  t.match(await failureOf(inspect(clientsTo(t, noDaemon))), "its certificate is not a daemon's: it needs URI:weft:role:daemon")
  const good = await reachable(pki.daemon)
  t.match(await failureOf(inspect(clientsTo(t, good, odd("over", daemon, -1)))), "it refused this daemon's certificate")
  t.match(await failureOf(inspect(clientsTo(t, good, { ...pki.stranger }))), /it refused this daemon's certificate|come from our authority/)
  const foreign = { ...pki.daemon, ca: pki.stranger.cert! }
  t.match(await failureOf(inspect(clientsTo(t, good, foreign))), "its certificate does not come from our authority")
  const asOperator = pki.odd("asking", [client, operator])
  t.match(await failureOf(inspect(clientsTo(t, good, asOperator))), "it is an operator, and this needs a daemon")

  const plain = createServer((socket) => socket.end("hello\n")).listen(0, "127.0.0.1")
  await once(plain, "listening")
  t.teardown(() => plain.close())
  const port = (plain.address() as AddressInfo).port
  t.match(await failureOf(inspect(clientsTo(t, `127.0.0.1:${port}`))), "what listens there does not speak TLS 1.3")
})
