import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { once } from "node:events"
import { createServer as createPlainServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createServer as createTlsServer, type TlsOptions } from "node:tls"
import t from "tap"
import { parseEndpoint } from "../../ctl/endpoint.ts"
import { knock, type Patience, readIdentity } from "../../ctl/remote.ts"
import { type Credentials, extensions, hollowServices, makePki, startRemote } from "../rpc/pki-fixture.ts"
import { startResident } from "./resident.ts"

const weft = startResident(t)

const pki = await makePki()
t.teardown(() => pki.remove())
const ran: Array<string> = []
const remote = await startRemote(pki.server, hollowServices(ran))
t.teardown(() => remote.close(100))
const folder = mkdtempSync(join(tmpdir(), "weft-remote-"))
t.teardown(() => rmSync(folder, { recursive: true }))

const here = `127.0.0.1:${remote.port}`
const list = (address: string, directory: string) => weft(["list", "--daemon", address, "--pki", directory])

/** What a knock of this process ends with; undefined: it was answered. */
const endOfKnock = (address: string, directory: string, patience: Patience): Promise<{ exit: number; message: string } | undefined> =>
  knock(address, parseEndpoint(address)!, readIdentity(directory), patience).then(
    () => undefined,
    ({ exitCode, message }) => ({ exit: exitCode, message })
  )

/** A server that is not ours, on a port of its own. */
const listen = async (server: Server): Promise<string> => {
  server.on("error", () => {}).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => server.close())
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}
const listenTls = ({ cert, key }: Credentials, options: TlsOptions = {}): Promise<string> => {
  const own = cert === undefined || key === undefined ? {} : { cert, key }
  return listen(createTlsServer({ ...own, ALPNProtocols: ["h2"], ...options }, (socket) => socket.on("error", () => {})))
}

t.test("a daemon on the network answers those with a certificate, by name and by address", async (t) => {
  t.match(await list(here, pki.viewer.folder), { code: 0, stdout: /^No labs/, stderr: "" })
  t.match(await list(`localhost:${remote.port}`, pki.viewer.folder), { code: 0, stderr: "" })
  t.strictSame(ran, ["/weft.v1.Labs/List", "/weft.v1.Labs/List"])
})

t.test("an answer counts that came while this process could not run", async (t) => {
  const outcome = endOfKnock(here, pki.viewer.folder, { connectMs: 1000, answerMs: 60_000 })
  for (const end = performance.now() + 1500; performance.now() < end; );
  t.equal(await outcome, undefined)
})

t.test("what the role does not allow exits 1 and says who may", async (t) => {
  t.match(await weft(["destroy", "x", "--daemon", here, "--pki", pki.viewer.folder]), {
    code: 1,
    stderr: /"viewer" may not call weft\.v1\.Labs\/Destroy: it is a viewer, and this needs an operator\n  .*--role operator/
  })
})

t.test("one's own certificate: missing, readable by others, expired, of two halves", async (t) => {
  const copy = (name: string): string => {
    const to = join(folder, name)
    cpSync(pki.viewer.folder, to, { recursive: true })
    return to
  }
  t.match(await list(here, "/nonexistent"), { code: 3, stderr: /Cannot read "\/nonexistent\/ca\.pem": no such file\n.*weft pki issue/ })
  const open = copy("open")
  chmodSync(join(open, "key.pem"), 0o640)
  t.match(await list(here, open), { code: 3, stderr: /others can read this key \(mode 640\)\n  Type: chmod 600 '.*open\/key\.pem'/ })
  const halves = copy("halves")
  cpSync(join(pki.operator.folder, "key.pem"), join(halves, "key.pem"))
  t.match(await list(here, halves), { code: 3, stderr: /key\.pem": it does not fit cert\.pem/ })
  const text = copy("text")
  writeFileSync(join(text, "cert.pem"), "hello")
  t.match(await list(here, text), { code: 3, stderr: /cert\.pem": it is no certificate in PEM form/ })
  const expired = pki.odd("expired", [extensions.client, extensions.operator], -1)
  t.match(await list(here, expired.folder), { code: 3, stderr: /your certificate has expired on .* 1 day ago\n/ })
})

t.test("a certificate that the daemon does not accept", async (t) => {
  const refused = { code: 3, stderr: /it refused the certificate in .*cert\.pem\n.*its log says which/ }
  t.match(await list(here, pki.stranger.folder), refused, "of another authority")
  t.match(await list(here, pki.server.folder), refused, "for servers")
})

t.test("a daemon that is not to be believed", async (t) => {
  const viewer = pki.viewer.folder
  const wrong = join(folder, "wrong-ca")
  mkdirSync(wrong)
  cpSync(viewer, wrong, { recursive: true })
  cpSync(join(pki.directory, "../other/ca.pem"), join(wrong, "ca.pem"))
  t.match(await list(here, wrong), { code: 3, stderr: /its certificate does not come from the authority in .*wrong-ca\/ca\.pem \(.*\)\n/ })

  const elsewhere = await listenTls(pki.odd("elsewhere", [extensions.server, "subjectAltName = DNS:lab9.example.net"]))
  t.match(await list(elsewhere, viewer), {
    code: 3,
    stderr: /its certificate is not for 127\.0\.0\.1 but for lab9\.example\.net\n.*weft pki issue NAME --server --host 127\.0\.0\.1/
  })
  const old = await listenTls(pki.odd("old", [extensions.server, "subjectAltName = IP:127.0.0.1"], -1))
  t.match(await list(old, viewer), { code: 3, stderr: /its certificate has expired on .* 1 day ago\n/ })
  t.match(await list(await listenTls(pki.odd("user", [extensions.client, "subjectAltName = IP:127.0.0.1"])), viewer), { code: 3 })
})

t.test("a port on which there is something else, or nothing", async (t) => {
  const viewer = pki.viewer.folder
  t.match(await list(await listenTls(pki.server, { maxVersion: "TLSv1.2" }), viewer), { code: 3, stderr: /does not speak TLS 1\.3/ })
  const noTls = { code: 3, stderr: /what listens there does not speak TLS\n  Is it the port that weftd was given with --listen\?/ }
  const web = createPlainServer((socket) => void socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n"))
  t.match(await list(await listen(web), viewer), noTls, "a web server")
  const curt = createPlainServer((socket) => void socket.on("error", () => {}).once("data", () => socket.destroy()))
  t.match(await list(await listen(curt), viewer), noTls, "it hangs up")
  const mute = createPlainServer((socket) => void socket.on("error", () => {}).resume())
  const said = await endOfKnock(await listen(mute), viewer, { connectMs: 60_000, answerMs: 50 })
  t.match(said, { exit: 3, message: /it took the connection and said nothing for 0\.05 s$/ }, "it says nothing")
  const freed = createPlainServer()
  const address = await listen(freed)
  await new Promise((closed) => freed.close(closed))
  t.match(await list(address, viewer), { code: 3, stderr: /nobody listens on this port\n.*sudo weftd --listen/ })
  t.match(await list("no-such-host.invalid:7443", viewer), { code: 3, stderr: /there is no such host name/ })
})

t.test("parseEndpoint tells addresses from everything else", async (t) => {
  t.strictSame(parseEndpoint("lab1.example.net:7443"), { host: "lab1.example.net", port: 7443 })
  t.strictSame(parseEndpoint("[2001:db8::7]:7443"), { host: "2001:db8::7", port: 7443 })
  for (const text of ["unix:/x", "/x:1", "lab1", "lab1:", "lab1:0", "lab1:65536", "::1:7443", "http://a:1", "[a]:1", "tcp:a:1"]) {
    t.equal(parseEndpoint(text), undefined, text)
  }
})
