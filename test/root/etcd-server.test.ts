/** Debian's etcd, run as `weftd --etcd new` runs it: unprivileged, in a folder of the test. */
import { execFile, spawn } from "node:child_process"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t, { type Test } from "tap"
import { type EtcdOptions, type EtcdServer, startEtcd } from "../../daemon/linux/etcd-server.ts"
import * as Etcd from "../../daemon/store/etcd.ts"
import type { FleetStore } from "../../daemon/store/fleet.ts"
import { type Credentials, makePki } from "../rpc/pki-fixture.ts"
import { freePort, isEtcdInstalled, needsEtcd, until } from "../store/etcd-fixture.ts"

const skip = isEtcdInstalled ? false : needsEtcd
const isRunning = (pid: number): boolean => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z ")
  } catch {
    return false
  }
}

interface Running {
  readonly server: EtcdServer
  readonly lines: ReadonlyArray<string>
}

const start = async (t: Test, options: Omit<EtcdOptions, "log">): Promise<Running> => {
  const lines: Array<string> = []
  const server = await startEtcd({ ...options, log: (line) => lines.push(line) })
  t.teardown(() => server.close())
  return { server, lines }
}

/** Short, for the socket in it; removed after what uses it has ended. */
const folderOf = (t: Test): string => {
  const root = mkdtempSync(join(tmpdir(), "weft-etcd-"))
  t.teardown(() => rmSync(root, { recursive: true }))
  return join(root, "etcd")
}

const storeAt = async (t: Test, endpoint: string, from?: Credentials): Promise<FleetStore> => {
  const tls = from === undefined ? {} : { tls: { ca: from.ca, cert: from.cert!, key: from.key! } }
  const store = await Etcd.open({ endpoints: [endpoint], ...tls, log: () => {} })
  t.teardown(() => store.close())
  return store
}

const tlsFilesOf = ({ folder }: Credentials) => {
  const [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map((name) => join(folder, name))
  return { ca: ca!, cert: cert!, key: key! }
}

t.test("it serves this machine on a socket that is nobody else's, and ends with close", { skip }, async (t) => {
  const directory = folderOf(t)
  const { server } = await start(t, { directory })
  const store = await storeAt(t, server.endpoint)
  t.strictSame(await store.labs(), [])
  t.equal(statSync(directory).mode & 0o777, 0o700)
  const listening = await new Promise<string>((resolve) => execFile("ss", ["-Hltnp"], (_error, stdout) => resolve(stdout)))
  t.notMatch(listening, `pid=${server.pid},`, "and on no network")
  await server.close()
  t.notOk(isRunning(server.pid))
})

t.test("it is started again when it dies, and what it knew is there", { skip }, async (t) => {
  const { server, lines } = await start(t, { directory: folderOf(t) })
  const store = await storeAt(t, server.endpoint)
  await store.register({ name: "h1", underlay: "192.0.2.1", endpoint: "", capacity: 1, labels: {}, instance: "t", version: "", kernel: "" })
  const { pid } = server
  process.kill(pid, "SIGKILL")
  await until("another process runs", () => server.pid !== pid && isRunning(server.pid))
  t.match(await store.hosts(), [{ name: "h1" }])
  t.match(lines, [/^etcd\.ended it is started again/])
})

t.test("one that a killed weftd left is adopted; started with other words, it is replaced", { skip }, async (t) => {
  const directory = folderOf(t)
  const program = `
    import { startEtcd } from ${JSON.stringify(join(import.meta.dirname, "../../daemon/linux/etcd-server.ts"))}
    const server = await startEtcd({ directory: ${JSON.stringify(directory)}, log: () => {} })
    console.log(server.pid)`
  const parent = spawn(process.execPath, ["--input-type=module", "--eval", program], { stdio: ["ignore", "pipe", "inherit"] })
  const pid = await new Promise<number>((resolve) => parent.stdout.once("data", (text: Buffer) => resolve(Number(text))))
  parent.kill("SIGKILL")
  await new Promise((resolve) => parent.once("exit", resolve))
  t.ok(isRunning(pid), "it outlives the kill")

  const adopted = await start(t, { directory })
  t.equal(adopted.server.pid, pid)
  t.match(adopted.lines, [/^etcd\.adopted process/])
  t.strictSame(await (await storeAt(t, adopted.server.endpoint)).labs(), [])

  const pki = await makePki()
  t.teardown(() => pki.remove())
  const remote = { address: "127.0.0.1", port: await freePort(), tls: tlsFilesOf(pki.daemon) }
  const second = await start(t, { directory, remote })
  t.not(second.server.pid, pid)
  t.notOk(isRunning(pid))
})

t.test("other hosts get in with a daemon's certificate, and nobody else does", { skip }, async (t) => {
  const pki = await makePki()
  t.teardown(() => pki.remove())
  const port = await freePort()
  const remote = { address: "127.0.0.1", port, tls: tlsFilesOf(pki.daemon) }
  const { lines } = await start(t, { directory: folderOf(t), remote })
  t.strictSame(lines, [])
  t.strictSame(await (await storeAt(t, `https://127.0.0.1:${port}`, pki.daemon)).labs(), [])
  const refused = async (who: string, endpoint: string, credentials?: Credentials): Promise<void> => {
    const store = await storeAt(t, endpoint, credentials)
    await t.rejects(store.labs(), { message: /^Cannot read the labs: etcd at https?:\/\/127\.0\.0\.1:\d+ did not answer/ }, who)
  }
  const viewer = await storeAt(t, `https://127.0.0.1:${port}`, pki.viewer)
  await t.rejects(viewer.hosts(), { message: /\(ssl\/tls alert bad certificate\)\. Certificates of both sides/ })
  const users = Object.entries({ viewer: pki.viewer, operator: pki.operator, stranger: pki.stranger })
  const attempts = users.map(([who, credentials]) => refused(who, `https://127.0.0.1:${port}`, credentials))
  await Promise.all([...attempts, refused("no plaintext", `http://127.0.0.1:${port}`)])
})

t.test("a certificate that does not tell daemons from users is pointed out", { skip }, async (t) => {
  const pki = await makePki()
  t.teardown(() => pki.remove())
  const remote = { address: "127.0.0.1", port: await freePort(), tls: tlsFilesOf(pki.server) }
  const { lines } = await start(t, { directory: folderOf(t), remote })
  t.match(lines, [/^etcd\.open every certificate of the authority/])
})

t.test("start says why it cannot", { skip }, async (t) => {
  const pki = await makePki()
  t.teardown(() => pki.remove())
  const blocker = createServer().listen(0, "127.0.0.1")
  await new Promise((resolve) => blocker.once("listening", resolve))
  t.teardown(() => blocker.close())
  const { port } = blocker.address() as AddressInfo
  const directory = folderOf(t)
  const log = (): void => {}
  const remote = { address: "127.0.0.1", port, tls: tlsFilesOf(pki.daemon) }
  await t.rejects(startEtcd({ directory, remote, log }), { message: /^Cannot start etcd: .*address already in use/ })

  chmodSync(directory, 0o755)
  await t.rejects(startEtcd({ directory, log }), { message: /others may open that folder\. Type: chmod 700/ })
  await t.rejects(startEtcd({ directory: join(directory, "x".repeat(100)), log }), { message: /too long for a unix socket/ })
  t.notOk(readdirSync(directory).includes("client:1"), "nothing is left running")
})
