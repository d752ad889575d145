import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { once } from "node:events"
import { connect as connectPlain, createServer } from "node:net"
import { join } from "node:path"
import { connect } from "node:tls"
import { gzipSync } from "node:zlib"
import { Server } from "@grpc/grpc-js"
import t from "tap"
import { revoke } from "../../ctl/revocation.ts"
import { PeerClients } from "../../daemon/fleet/peer-clients.ts"
import { serveTls } from "../../daemon/rpc/server.ts"
import { LiveMaterial, readTlsFiles } from "../../daemon/rpc/tls-files.ts"
import { listenTls, parseEndpoint } from "../../daemon/rpc/tls.ts"
import { seeded } from "../random.ts"
import { dial, Flag, frame, message, opening, preface, received, requestHeaders, Type, unaryCall } from "./http2-frames.ts"
import { call, type Credentials, emptyMessage, extensions, hollowServices, makePki, startRemote } from "./pki-fixture.ts"

/** How many times octets of each random kind are sent: more than that by `WEFT_FUZZ`. */
const rounds = Number(process.env["WEFT_FUZZ"] ?? 20)

const pki = await makePki()
t.teardown(() => pki.remove())

const filesOf = (folder: string) => ({ ca: join(folder, "ca.pem"), cert: join(folder, "cert.pem"), key: join(folder, "key.pem") })

t.test("readTlsFiles refuses what must not be used, and says what to type", async (t) => {
  const files = filesOf(pki.server.folder)
  t.ok(readTlsFiles(files))
  const missing = { ...files, cert: "/nonexistent/cert.pem" }
  t.throws(() => readTlsFiles(missing), /Cannot read "\/nonexistent\/cert.pem": no such file.*weft pki init/)
  const copy = join(pki.directory, "copy.pem")
  copyFileSync(files.key, copy)
  for (const mode of [0o640, 0o604, 0o660, 0o644]) {
    chmodSync(copy, mode)
    const refusal = new RegExp(`others can read it \\(mode ${mode.toString(8)}\\)\\. Type: chmod 600 '.*copy\\.pem'`)
    t.throws(() => readTlsFiles({ ...files, key: copy }), refusal)
  }
  chmodSync(copy, 0o400)
  t.ok(readTlsFiles({ ...files, key: copy }))
  t.throws(() => readTlsFiles({ ...files, key: filesOf(pki.viewer.folder).key }), /Cannot use key ".*viewer\/key\.pem" with certificate/)
  t.throws(() => readTlsFiles(filesOf(pki.viewer.folder)), /it is for clients only.*weft pki issue NAME --server/)
  const { folder } = pki.odd("old-server", [extensions.server], -1)
  t.throws(() => readTlsFiles(filesOf(folder)), /it has expired .*weft pki issue NAME --server/)
  writeFileSync(copy.replace("copy", "text"), "hello")
  t.throws(() => readTlsFiles({ ...files, ca: copy.replace("copy", "text") }), /it is no certificate in PEM form/)
})

t.test("LiveMaterial is what its files are, and stays what it was while they are wrong", async (t) => {
  const folder = join(pki.directory, "live")
  mkdirSync(folder, { mode: 0o700 })
  const put = (name: string, from: string): void => {
    writeFileSync(join(folder, `${name}.new`), readFileSync(from), { mode: 0o600 })
    renameSync(join(folder, `${name}.new`), join(folder, name))
  }
  const take = ({ folder: from }: Credentials): void => ["ca.pem", "cert.pem", "key.pem"].forEach((name) => put(name, join(from, name)))
  take(pki.server)
  const log: string[] = []
  const material = new LiveMaterial(filesOf(folder))
  let changes = 0
  const stop = material.onChange(() => void changes++)
  const refresh = (): void => material.refresh((line) => log.push(line))
  refresh()
  t.equal(changes, 0)

  put("cert.pem", join(pki.daemon.folder, "cert.pem"))
  refresh()
  refresh()
  t.strictSame([changes, material.cert.equals(pki.server.cert!)], [0, true], "half of a new pair is not used")
  t.match(log, [/^access\.failed the old certificate stays in use: Cannot use key ".*key\.pem" with certificate/])
  t.equal(log.length, 1, "and said once")
  put("key.pem", join(pki.daemon.folder, "key.pem"))
  refresh()
  t.strictSame([changes, material.cert.equals(pki.daemon.cert!)], [1, true])
  t.match(log[1], /^access\.reloaded the certificate in .*live\/cert\.pem, good until/)

  writeFileSync(join(folder, "crl.pem"), "hello")
  refresh()
  t.match(log[2], /crl\.pem": it is no revocation list in PEM form/)
  const other = await makePki()
  t.teardown(() => other.remove())
  await revoke(other.directory, "viewer")
  put("crl.pem", join(other.directory, "crl.pem"))
  refresh()
  t.strictSame([changes, material.revoked.size], [2, 1])
  stop()
  const missing = { ...filesOf(folder), crl: "/nonexistent/crl.pem" }
  t.throws(() => new LiveMaterial(missing), /Cannot read "\/nonexistent\/crl\.pem": no such file/)
})

t.test("a certificate that is revoked lets nobody in any more, and ends what is open", async (t) => {
  const own = await makePki()
  t.teardown(() => own.remove())
  const log: string[] = []
  const material = new LiveMaterial(filesOf(own.daemon.folder))
  const serving = await serveTls({ host: "127.0.0.1", port: 0 }, material, hollowServices([]), (line) => log.push(line))
  t.teardown(() => serving.close(100))
  const { port } = serving.endpoint
  const list = "/weft.v1.Labs/List"
  t.equal(await call(port, own.viewer, list), "OK")
  const [viewer, operator] = [await dial(port, own.viewer), await dial(port, own.operator)]
  const gone = received(viewer)
  for (const socket of [viewer, operator]) socket.write(opening)
  await revoke(own.directory, "viewer")
  material.refresh((line) => log.push(line))
  t.type(await gone, "number", "the connection that was open is closed")
  t.equal(await call(port, own.viewer, list), "no answer")
  t.match(log.at(-1), /^access\.refused a connection from 127\.0\.0\.1:\d+: its certificate is revoked/)
  t.equal(await call(port, own.operator, list), "OK", "others are not affected")
  t.notOk(operator.destroyed, "nor are their connections")
  operator.destroy()

  const peers = new PeerClients({ hosts: () => [{ name: "h1", endpoint: `127.0.0.1:${port}` }], material, self: "h2" })
  t.teardown(() => peers.close())
  t.type(await peers.unary("h1", "Labs", "List", {}), "object")
  await revoke(own.directory, "daemon")
  material.refresh(() => {})
  await t.rejects(peers.unary("h1", "Labs", "List", {}), { message: /host "h1" at 127\.0\.0\.1:\d+: its certificate is revoked/ })
})

t.test("parseEndpoint", async (t) => {
  t.strictSame(parseEndpoint("0.0.0.0:7443"), { host: "0.0.0.0", port: 7443 })
  t.strictSame(parseEndpoint("[::]:7443"), { host: "::", port: 7443 })
  t.strictSame(parseEndpoint("lab1:0"), { host: "lab1", port: 0 })
  for (const text of ["7443", ":7443", "a:", "a:b", "a:65536", "::1:7443", "a:1:2", "a b:1", "unix:/x:1", "[a]:1", ""]) {
    t.throws(() => parseEndpoint(text), /it needs ADDR:PORT/, text)
  }
})

t.test("a port that is taken is said to be", async (t) => {
  const other = createServer().listen(0, "127.0.0.1")
  await once(other, "listening")
  t.teardown(() => other.close())
  const { port } = other.address() as { port: number }
  const material = readTlsFiles(filesOf(pki.server.folder))
  const serving = serveTls({ host: "127.0.0.1", port }, material, hollowServices([]), () => {})
  await t.rejects(serving, { message: `Cannot listen on 127.0.0.1:${port}: EADDRINUSE. See who has the port: ss -ltnp 'sport = :${port}'` })
})

t.test("only HTTP/2 over TLS 1.3 with a certificate gets a word out of it", async (t) => {
  const remote = await startRemote(pki.server, hollowServices([]))
  t.teardown(() => remote.close(100))
  const { ca, cert, key } = pki.operator
  const attempt = async (options: object): Promise<number> => {
    const socket = connect({ host: "127.0.0.1", port: remote.port, ca, cert, key, ALPNProtocols: ["h2"], ...options })
    socket.on("error", () => {}).once("secureConnect", () => socket.write(Buffer.concat([opening, unaryCall("/weft.v1.Labs/List")])))
    return received(socket)
  }
  t.equal(await attempt({ maxVersion: "TLSv1.2" }), 0, "TLS 1.2")
  t.equal(await attempt({ ALPNProtocols: ["http/1.1"] }), 0, "HTTP/1.1")
  t.equal(await attempt({ ALPNProtocols: undefined }), 0, "no protocol named")
  t.equal(await attempt({ cert: undefined, key: undefined }), 0, "no certificate")
  t.equal(await call(remote.port, pki.viewer, "/weft.v1.Labs/List"), "OK")
})

t.test("close ends connections that clients keep open", async (t) => {
  const remote = await startRemote(pki.server, hollowServices([]))
  const socket = await dial(remote.port, pki.viewer)
  const gone = received(socket)
  socket.write(opening)
  await remote.close(50)
  await gone
  await t.rejects(once(connect({ port: remote.port, host: "127.0.0.1" }), "secureConnect"), { code: "ECONNREFUSED" })
})

t.test("a client that does not finish its handshake is hung up on, and does not keep others out", async (t) => {
  const server = new Server()
  const log: string[] = []
  const material = readTlsFiles(filesOf(pki.server.folder))
  const limits = { connections: 3, handshakeMs: 300 }
  const listener = await listenTls(server, { host: "127.0.0.1", port: 0 }, material, (line) => log.push(line), limits)
  t.teardown(() => listener.close())
  const closed = () => {
    const socket = connectPlain(listener.port, "127.0.0.1").resume().on("error", () => {})
    return once(socket, "close")
  }
  await Promise.all(Array.from({ length: 5 }, closed))
  t.match(log, [/access\.refused a connection: 3 are open|access\.refused a connection from .*: ERR_TLS_HANDSHAKE_TIMEOUT/])
  const socket = await dial(listener.port, pki.viewer)
  const answer = once(socket, "data")
  socket.write(opening)
  t.ok(await answer, "now there is room")
  socket.destroy()
})

t.test("what is no HTTP/2, or too much of it, ends at most its own connection", async (t) => {
  const ran: string[] = []
  const remote = await startRemote(pki.server, hollowServices(ran))
  t.teardown(() => remote.close(100))
  const random = seeded(1)
  const list = "/weft.v1.Labs/List"
  const whole = Buffer.concat([opening, unaryCall(list)])

  const say = async (...parts: ReadonlyArray<Uint8Array>): Promise<void> => {
    const socket = await dial(remote.port, pki.operator)
    const gone = received(socket)
    socket.end(Buffer.concat(parts))
    await gone
  }
  const alive = async (what: string): Promise<void> => {
    t.equal(await call(remote.port, pki.viewer, list), "OK", `alive after ${what}`)
  }

  for (let round = 0; round < rounds; round += 1) await say(random.octets(1 + random.below(2000)))
  await alive("random octets")
  for (let round = 0; round < rounds; round += 1) await say(preface, random.octets(1 + random.below(2000)))
  await alive("random octets behind the preface")
  for (let round = 0; round < rounds; round += 1) {
    await say(opening, frame(random.below(12), random.below(256), random.below(4), random.octets(random.below(100))))
  }
  await alive("random frames")
  for (let length = 0; length < whole.length; length += 3) await say(whole.subarray(0, length))
  await alive("truncated calls")
  for (let round = 0; round < 3 * rounds; round += 1) {
    const mutated = Buffer.from(whole)
    for (let flips = 1 + random.below(4); flips > 0; flips -= 1) mutated[random.below(mutated.length)] = random.below(256)
    await say(mutated)
  }
  await alive("mutated calls")

  const reset = (stream: number): Buffer => frame(Type.reset, 0, stream, Uint8Array.of(0, 0, 0, 8))
  const start = (stream: number, block: Buffer, flags: number = Flag.endHeaders): Buffer => frame(Type.headers, flags, stream, block)
  const streams = Array.from({ length: 1200 }, (_, index) => 2 * index + 1)
  const cases: Readonly<Record<string, ReadonlyArray<Uint8Array>>> = {
    "a call that is reset at once": [start(1, requestHeaders(list)), reset(1)],
    "an unknown method that is reset at once": [start(1, requestHeaders("/x")), reset(1)],
    "another content type that is reset at once": [start(1, requestHeaders(list, { "content-type": "text/html" })), reset(1)],
    "a refused call that is reset at once": [start(1, requestHeaders("/weft.v1.Nodes/Exec")), reset(1)],
    "a bad deadline that is reset at once": [start(1, requestHeaders(list, { "grpc-timeout": "soon" })), reset(1)],
    "a deadline of nothing": [start(1, requestHeaders(list, { "grpc-timeout": "0n" })), frame(Type.data, 1, 1, emptyMessage)],
    "rapid resets": streams.flatMap((stream) => [start(stream, requestHeaders(list)), reset(stream)]),
    "more streams than allowed": streams.map((stream) => start(stream, requestHeaders("/weft.v1.Nodes/Exec"))),
    "pings without end": Array.from({ length: 5000 }, () => frame(Type.ping, 0, 0, new Uint8Array(8))),
    "settings without end": Array.from({ length: 5000 }, () => frame(Type.settings, 0, 0)),
    "continuations without end": [
      start(1, requestHeaders(list), 0),
      ...Array.from({ length: 300 }, () => frame(Type.continuation, 0, 1, random.octets(1000)))
    ],
    "a window that overflows": [frame(Type.window, 0, 0, Uint8Array.of(0x7f, 0xff, 0xff, 0xff))],
    "a message of four gigabytes": [start(1, requestHeaders(list)), frame(Type.data, 1, 1, message(random.octets(9), 0, 0xffffffff))],
    "a message that is no message": [start(1, requestHeaders(list)), frame(Type.data, 1, 1, message(random.octets(50)))],
    "a compressed message that is not": [
      start(1, requestHeaders(list, { "grpc-encoding": "gzip" })),
      frame(Type.data, 1, 1, message(random.octets(50), 1))
    ],
    "a message that is too large when unpacked": [
      start(1, requestHeaders(list, { "grpc-encoding": "gzip" })),
      frame(Type.data, 1, 1, message(gzipSync(Buffer.alloc(12 << 20)), 1))
    ],
    "an unknown encoding": [
      start(1, requestHeaders(list, { "grpc-encoding": "zip" })),
      frame(Type.data, 1, 1, message(random.octets(50), 1))
    ],
    "a goaway": [frame(Type.goaway, 0, 0, new Uint8Array(8)), start(1, requestHeaders(list))]
  }
  for (const [what, frames] of Object.entries(cases)) {
    // Several times: what happens depends on how the octets fall into TLS records and turns of the event loop.
    const times = frames.length < 1000 ? 5 : 2
    for (let round = 0; round < times; round += 1) await say(opening, ...frames)
    await alive(what)
  }
})
