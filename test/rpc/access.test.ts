import { service as healthService } from "grpc-health-check"
import t from "tap"
import { judge, rules } from "../../daemon/rpc/access.ts"
import { dial, opening, received, unaryCall } from "./http2-frames.ts"
import { call, definition, extensions, hollowServices, makePki, servicesOf, startRemote } from "./pki-fixture.ts"

const pki = await makePki()
t.teardown(() => pki.remove())
const { client, operator, server } = extensions

const methods = [
  ...servicesOf(definition).flatMap(([, service]) => Object.values(service).map(({ path }) => path)),
  ...Object.values(healthService).map(({ path }) => path)
].sort()

/** Written down a second time: opening one more method to viewers is a decision, not a slip. */
const viewersMay = [
  "/grpc.health.v1.Health/Check",
  "/grpc.health.v1.Health/List",
  "/grpc.health.v1.Health/Watch",
  "/weft.v1.Faults/Kinds",
  "/weft.v1.Faults/List",
  "/weft.v1.Host/Doctor",
  "/weft.v1.Host/Evpn",
  "/weft.v1.Host/Hosts",
  "/weft.v1.Host/Version",
  "/weft.v1.Labs/Events",
  "/weft.v1.Labs/Inspect",
  "/weft.v1.Labs/List",
  "/weft.v1.Labs/Plan",
  "/weft.v1.Labs/Validate",
  "/weft.v1.Nodes/Bfd",
  "/weft.v1.Nodes/Bgp",
  "/weft.v1.Nodes/BgpDump",
  "/weft.v1.Nodes/BgpRoutes",
  "/weft.v1.Nodes/Routes"
]

/** What only daemons ask each other. */
const onlyDaemonsMay = methods.filter((path) => path.startsWith("/weft.v1.Peers/"))

t.test("every method that is served has a rule, and no other", async (t) => {
  t.strictSame([...rules.keys()].sort(), methods)
})

t.test("each method for each kind of client", async (t) => {
  const ran: string[] = []
  const remote = await startRemote(pki.server, hollowServices(ran))
  t.teardown(() => remote.close(100))
  const outsiders = {
    "no certificate": pki.noCertificate,
    "another authority": pki.stranger,
    expired: pki.odd("expired", [client, operator], -1),
    "a server's certificate": pki.odd("for-servers", [server, operator])
  }
  for (const path of methods) {
    for (const [kind, credentials] of Object.entries(outsiders)) {
      const socket = await dial(remote.port, credentials)
      const answer = received(socket)
      socket.write(Buffer.concat([opening, unaryCall(path)]))
      t.equal(await answer, 0, `${kind} ${path}`)
    }
  }
  const noRole = pki.odd("no-role", [client])
  const twoRoles = pki.odd("two-roles", [client, `${operator}, URI:weft:role:viewer`])
  const forged = pki.odd("forged", [client, "subjectAltName = @names", "[names]", "DNS.1 = x\\, URI:weft:role:operator\\, y"])
  for (const path of methods) {
    for (const credentials of [noRole, twoRoles, forged]) {
      t.equal(await call(remote.port, credentials, path), "PERMISSION_DENIED", `${credentials.folder} ${path}`)
    }
  }
  t.strictSame(ran, [], "no handler has run so far")

  for (const path of methods) {
    t.equal(await call(remote.port, pki.viewer, path), viewersMay.includes(path) ? "OK" : "PERMISSION_DENIED", `viewer ${path}`)
  }
  t.strictSame(ran.sort(), viewersMay.filter((path) => path.startsWith("/weft.")), "and only these have run")
  for (const path of methods) {
    t.equal(await call(remote.port, pki.operator, path), onlyDaemonsMay.includes(path) ? "PERMISSION_DENIED" : "OK", `operator ${path}`)
  }
  for (const path of methods) t.equal(await call(remote.port, pki.daemon, path), "OK", `daemon ${path}`)
})

t.test("other spellings of a method are no method", async (t) => {
  const ran: string[] = []
  const remote = await startRemote(pki.server, hollowServices(ran))
  t.teardown(() => remote.close(100))
  const spellings = [
    "//weft.v1.Labs/Deploy",
    "/weft.v1.Labs/Deploy/",
    "/weft.v1.Labs//Deploy",
    "/weft.v1.Labs/deploy",
    "/weft.v1.labs/Deploy",
    "/weft.v1.Labs/Deploy?x",
    "/weft.v1.Labs/%44eploy",
    "/weft.v1.Labs/./Deploy",
    "weft.v1.Labs/Deploy",
    "https://127.0.0.1/weft.v1.Labs/Deploy",
    "/weft.v1.Labs/constructor",
    "/__proto__/toString",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/"
  ]
  for (const path of spellings) {
    for (const credentials of [pki.viewer, pki.operator]) {
      t.match(await call(remote.port, credentials, path), /^(UNIMPLEMENTED|no answer)$/, path)
    }
  }
  t.strictSame(ran, [])
})

t.test("judge denies what has no rule, and a certificate that ends while its connection lives", async (t) => {
  const certificate = {
    subject: { CN: "alice" },
    subjectaltname: "URI:weft:role:operator",
    valid_to: "Jan  1 00:00:00 2030 GMT",
    serialNumber: "1"
  } as unknown as NonNullable<Parameters<typeof judge>[1]>
  const [before, after] = [Date.UTC(2029, 11, 31), Date.UTC(2030, 0, 2)]
  t.match(judge("/weft.v1.Labs/Deploy", certificate, before), { allowed: true, caller: { name: "alice", role: "operator" } })
  t.match(judge("/weft.v1.Labs/Deploy", certificate, after), { allowed: false, code: 16, details: /"alice" has expired/ })
  t.match(judge("/weft.v1.Labs/Deploy", undefined, before), { allowed: false, code: 16 })
  for (const path of ["/weft.v1.Labs/New", "/__proto__", "", "/weft.v1.Labs/deploy"]) {
    t.match(judge(path, certificate, before), { allowed: false, code: 7 }, path)
  }
  const broken = { ...certificate, valid_to: "never" }
  t.match(judge("/weft.v1.Labs/List", broken, before), { allowed: false }, "a date that cannot be read is over")
  const forged = { ...certificate, subject: { CN: "eve\n2026 access.granted" } } as unknown as typeof certificate
  t.match(judge("/weft.v1.Labs/List", forged, before), { caller: { name: "eve?2026 access.granted" } }, "no line breaks in the log")
})

t.test("changing calls and refused ones are logged, with who and what; others are not", async (t) => {
  const remote = await startRemote(pki.server, hollowServices([]))
  t.teardown(() => remote.close(100))
  await call(remote.port, pki.viewer, "/weft.v1.Labs/List")
  await call(remote.port, pki.viewer, "/weft.v1.Labs/Destroy")
  await call(remote.port, pki.operator, "/weft.v1.Labs/Destroy")
  await received(await dial(remote.port, pki.stranger))
  t.match(remote.log, [
    /^access\.refused weft\.v1\.Labs\/Destroy from 127\.0\.0\.1:\d+: "viewer" may not call weft\.v1\.Labs\/Destroy: it is a viewer/,
    /^access\.granted weft\.v1\.Labs\/Destroy "" to "operator" \(operator, certificate [0-9A-F]+\) from 127\.0\.0\.1:\d+$/,
    /^access\.refused a connection from 127\.0\.0\.1:\d+: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE|.*ISSUER.*)/
  ])
  t.equal(remote.log.length, 3)
})
