/** A real daemon on loopback, used from afar by the real `weft`: the same as over its socket, or nothing at all. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { connect } from "../../ctl/client.ts"
import { revoke } from "../../ctl/revocation.ts"
import { makePki } from "../rpc/pki-fixture.ts"
import { run, Weftd, type Output } from "./daemon-harness.ts"
import { checkout, needsRoot, until } from "./harness.ts"

t.test("a lab from afar", { skip: needsRoot }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-remote-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const pki = await makePki()
  t.teardown(() => pki.remove())
  const file = (name: string): string => join(pki.server.folder, name)
  const tls = ["--tls-ca", file("ca.pem"), "--tls-cert", file("cert.pem"), "--tls-key", file("key.pem")]
  const weftd = await Weftd.start("remote", ["--listen", "127.0.0.1:0", ...tls])
  const port = /listens on 127\.0\.0\.1:(\d+) with TLS/.exec(weftd.log)?.[1] ?? ""
  const address = `localhost:${port}`
  const lab = weftd.name("afar")
  const topology = join(folder, "afar.weft.yaml")
  const pc = { kind: "host" }
  writeFileSync(topology, JSON.stringify({ name: lab, nodes: { a: pc, b: pc }, links: [{ endpoints: ["a:eth0", "b:eth0"] }] }))

  const weft = (words: ReadonlyArray<string>, identity = pki.operator, input?: string | Uint8Array): Promise<Output> => {
    const env = { ...process.env, WEFT_DAEMON: address, WEFT_PKI: identity.folder }
    return run([join(checkout, "bin/weft"), ...words], { env, ...(input === undefined ? {} : { input }) })
  }

  t.test("a viewer sees, and changes nothing", async (t) => {
    t.match(await weft(["plan", topology], pki.viewer), { code: 0, stdout: /\+ / })
    const denied = { code: 1, stderr: /"viewer" may not call weft\.v1\.Labs\/Deploy: it is a viewer/ }
    t.match(await weft(["deploy", topology], pki.viewer), denied)
    t.strictSame(await weftd.client.list(), [])
    t.match(await weft(["deploy", topology]), { code: 0, stdout: /is ready/ }, "an operator deploys, with progress")
    t.match(await weft(["list"], pki.viewer), { code: 0, stdout: new RegExp(`${lab} +ready`) })
    t.match(await weft(["inspect", lab], pki.viewer), { code: 0, stdout: /eth0/ })
    t.match(await weft(["events", lab], pki.viewer), { code: 0, stdout: /lab\.ready/ })
    t.match(await weft(["version"], pki.viewer), { code: 0, stdout: new RegExp(`pid ${weftd.pid}`) })
    t.match(await weft(["exec", "a", "--", "true"], pki.viewer), { code: 1, stderr: /may not call weft\.v1\.Nodes\/Exec/ })
    t.match(await weft(["destroy", lab], pki.viewer), { code: 1, stderr: /may not call weft\.v1\.Labs\/Destroy/ })
    t.equal((await weftd.client.list()).length, 1)
  })

  t.test("exec carries exit codes and every octet in both directions", async (t) => {
    t.match(await weft(["exec", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]), { code: 7, stdout: "out\n", stderr: "err\n" })
    const input = "0123456789abcde\n".repeat(1 << 18)
    const { code, stdout } = await weft(["exec", "a", "--", "cat"], pki.operator, input)
    t.equal(code, 0)
    t.ok(stdout === input, "4 MiB come back as they were")
  })

  t.test("exec -it is a terminal, with the size of the user's", async (t) => {
    const line = `${join(checkout, "bin/weft")} exec -it a -- sh -c 'stty size; tty; hostname; exit 5'`
    const env = { ...process.env, WEFT_DAEMON: address, WEFT_PKI: pki.operator.folder, TERM: "dumb" }
    const script = ["script", "-qec", `stty rows 33 columns 101; ${line}`, "/dev/null"]
    t.match(await run(script, { env }), { code: 5, stdout: /33 101\r+\n\/dev\/pts\/\d+\r+\na\r+\n/ })
  })

  t.test("a client that vanishes takes its command along", async (t) => {
    const { pid } = weftd
    const inNode = async (): Promise<boolean> => (await weftd.inNode(lab, "a", "pgrep", "-f", "sleep 12321")).code === 0
    // The process itself, not the shell script that starts it.
    const client = [process.execPath, join(checkout, "ctl/main.ts")]
    let ran = false
    await run([...client, "exec", "a", "--", "sleep", "12321"], {
      env: { ...process.env, WEFT_DAEMON: address, WEFT_PKI: pki.operator.folder },
      onStart: (child) =>
        void until("the command runs", inNode).then(() => {
          ran = true
          child.kill("SIGKILL")
        })
    })
    t.ok(ran, "it was running")
    await until("the command is gone", async () => !(await inNode()))
    t.equal(weftd.pid, pid)
  })

  t.test("the log says who changed what", async (t) => {
    const { log } = weftd
    const who = String.raw`to "operator" \(operator, certificate [0-9A-F]+\) from 127\.0\.0\.1:\d+`
    t.match(log, new RegExp(String.raw`access\.granted weft\.v1\.Labs/Deploy "[^"]*afar\.weft\.yaml" ${who}`))
    t.match(log, new RegExp(String.raw`access\.granted weft\.v1\.Nodes/Exec "a cat" ${who}`))
    t.match(log, /access\.refused weft\.v1\.Labs\/Destroy from .*"viewer" may not/)
    t.notMatch(log, /access\.granted weft\.v1\.Labs\/(List|Plan|Inspect)/)
  })

  t.test("outsiders get nothing", async (t) => {
    t.match(await weft(["list"], pki.stranger), { code: 3, stderr: /it refused the certificate/ })
    const handshake = (...words: ReadonlyArray<string>): Promise<Output> =>
      run(["openssl", "s_client", "-ign_eof", "-connect", `127.0.0.1:${port}`, "-alpn", "h2", ...words])
    t.match(await handshake(), { stderr: /alert certificate required/ })
    t.match(await handshake("-tls1_2"), { stderr: /alert protocol version/ })
    const plain = await connect(`127.0.0.1:${port}`).then(() => "in", (error: Error) => error.message)
    t.match(plain, /Cannot read ".*": no such file|Cannot reach/, "without a certificate the client does not even try")
  })

  t.test("a revoked certificate is out as soon as the daemon is told to look", async (t) => {
    await revoke(pki.directory, "viewer")
    process.kill(weftd.pid, "SIGHUP")
    await until("it has read the list", () => /access\.reloaded .*; 1 certificates? (is|are) revoked/.test(weftd.log))
    t.match(await weft(["list"], pki.viewer), { code: 3, stderr: /it refused the certificate|hung up|reset/ })
    // At most one line a second says who was refused.
    const told = /access\.refused a connection from 127\.0\.0\.1:\d+: its certificate is revoked/
    await until("it says why", () => told.test(weftd.log))
    t.match(await weft(["list"]), { code: 0 }, "others are let in, by the same daemon")
  })

  t.test("over one connection: a terminal, and the end of the daemon", async (t) => {
    process.env["WEFT_PKI"] = pki.operator.folder
    const client = await connect(address)
    const call = client.exec()
    let output = ""
    const reading = (async () => {
      for await (const response of call) if (response.message === "stdout") output += Buffer.from(response.stdout).toString()
    })().catch((error: unknown) => error)
    await call.send({ start: { node: "a", argv: ["sh"], tty: true, size: { columns: 80, rows: 24 }, env: {}, user: "" } })
    await call.send({ stdin: Buffer.from("echo $((40 + 2))\r") })
    await until("the shell answers", () => /\b42\r\n/.test(output))
    t.equal(await weftd.stop(), 0)
    await reading
    client.close()
    await weftd.start()
    t.equal((await weftd.client.list()).length, 1, "the lab lives on")
  })

  t.test("nothing is left", async () => weftd.close())
})

t.test("weftd refuses to listen in the open, and says what to type", { skip: needsRoot }, async (t) => {
  const pki = await makePki()
  t.teardown(() => pki.remove())
  const own = [join(checkout, "bin/weftd"), "--instance", `test-refuse-${process.pid}`]
  const weftd = (...words: ReadonlyArray<string>): Promise<Output> => run([...own, ...words])
  const file = (name: string): string => join(pki.server.folder, name)
  const tls = ["--tls-ca", file("ca.pem"), "--tls-cert", file("cert.pem"), "--tls-key"]
  t.match(await weftd("--listen", "127.0.0.1:0", ...tls, "/nonexistent.pem"), {
    code: 1,
    stderr: /^weftd: Cannot read "\/nonexistent\.pem": no such file\. Make one with: weft pki init && weft pki issue weftd --server/
  })
  t.match(await weftd("--listen", "127.0.0.1:0", "--tls-ca", file("ca.pem")), { code: 2, stderr: /--tls-cert and --tls-key missing/ })
  t.match(await weftd(...tls, file("key.pem")), { code: 2, stderr: /The TLS files are for --listen ADDR:PORT, which is missing/ })
  t.match(await weftd("--listen", "7443", ...tls, file("key.pem")), { code: 2, stderr: /it needs ADDR:PORT/ })
  const open = join(pki.directory, "open")
  mkdirSync(open)
  copyFileSync(file("key.pem"), join(open, "key.pem"))
  await run(["chmod", "644", join(open, "key.pem")])
  t.match(await weftd("--listen", "127.0.0.1:0", ...tls, join(open, "key.pem")), { code: 1, stderr: /others can read it.*Type: chmod 600/ })
})
