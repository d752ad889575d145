import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync, readlinkSync } from "node:fs"
import { status } from "@grpc/grpc-js"
import t from "tap"
import { endProcesses, processesIn, runInNetns, spawnInNetns } from "../../daemon/linux/process.ts"
import { collect, makeNamespace, serveExec } from "./exec-harness.ts"
import { descriptorCount, needsRoot, until } from "./harness.ts"

/** Enters the namespace with its first thread of four, says so, and ends when it is told to. */
const visiting = `
import ctypes, os, sys, threading
for _ in range(3): threading.Thread(target=threading.Event().wait, daemon=True).start()
if ctypes.CDLL(None).setns(os.open(sys.argv[1], os.O_RDONLY), 0x40000000) != 0: sys.exit("setns failed")
print("in", flush=True)
sys.exit(0 if sys.stdin.readline() == "leave\\n" else 1)
`

t.test("exec", { skip: needsRoot }, async (t) => {
  const namespace = makeNamespace("exec")
  const before = descriptorCount()
  const server = await serveExec(namespace)
  const sh = (script: string, more: object = {}) => server.start({ argv: ["bash", "-c", script], ...more })
  const simple = (script: string, more: object = {}) => {
    const call = sh(script, more)
    call.end()
    return collect(call)
  }

  t.test("exec answers with the command's streams and exit code", async (t) => {
    const outcome = await simple("echo out; echo err >&2; exit 7")
    t.same(outcome, { stdout: "out\n", stderr: "err\n", exit: { code: 7, signal: "" }, status: 0, details: "OK" })
  })

  t.test("exec shows the node: host name, interfaces, /etc files", async (t) => {
    const { stdout } = await simple("hostname; ls /sys/class/net; cat /etc/hosts; readlink /proc/self/ns/net")
    t.equal(stdout, `pc\nlo\n10.9.8.7 other.weft\nnet:[${namespace.inode}]\n`)
    t.not(readFileSync("/etc/hosts", "utf8"), "10.9.8.7 other.weft\n", "the host keeps its own")
  })

  t.test("exec runs in a clean environment with only three descriptors", async (t) => {
    process.env["WEFT_TEST_SECRET"] = "1"
    const { stdout } = await simple("echo $WEFT_TEST_SECRET$GIVEN; exec ls /proc/self/fd", { env: { GIVEN: "yes" } })
    delete process.env["WEFT_TEST_SECRET"]
    // The fourth is the directory that ls reads.
    t.equal(stdout, "yes\n0\n1\n2\n3\n")
  })

  t.test("exec runs as a user", async (t) => {
    t.equal((await simple("id -un; echo $HOME", { user: "nobody" })).stdout, "nobody\n/nonexistent\n")
    t.equal((await simple("id -u; id -g", { user: "4242" })).stdout, "4242\n4242\n")
    const none = await simple("id", { user: "nobody-here" })
    t.equal(none.exit?.code, 125)
    t.equal(none.stderr, 'weft: cannot become user "nobody-here": there is no such user\n')
  })

  t.test("exec says 127 for a program that does not exist and 126 for one that is none", async (t) => {
    const missing = server.start({ argv: ["no-such-program"] })
    const first = await collect(missing)
    t.equal(first.exit?.code, 127)
    t.equal(first.stderr, "weft: cannot run no-such-program: No such file or directory\n")
    t.equal((await collect(server.start({ argv: ["/etc/passwd"] }))).exit?.code, 126)
  })

  t.test("exec refuses an unknown node with the closest name", async (t) => {
    const outcome = await collect(server.start({ node: "pd", argv: ["true"] }))
    t.equal(outcome.status, status.NOT_FOUND)
    t.equal(outcome.details, 'There is no node "pd"; did you mean "pc"?')
  })

  t.test("exec refuses what is no command", async (t) => {
    for (const request of [{ argv: [] }, { argv: ["a\0b"] }, { argv: ["true"], env: { "A=B": "1" } }, { argv: ["true"], user: "\0" }]) {
      t.equal((await collect(server.start(request))).status, status.INVALID_ARGUMENT, JSON.stringify(request))
    }
    t.equal((await collect(server.start({ argv: ["true", "x".repeat(300_000)] }))).status, status.INVALID_ARGUMENT, "E2BIG")
  })

  t.test("exec ends a command whose client breaks the protocol", async (t) => {
    const twice = sh("exec sleep 1000")
    twice.write({ start: { node: "pc", argv: ["true"], tty: false } })
    t.equal((await collect(twice)).status, status.INVALID_ARGUMENT)
    const unknown = sh("exec sleep 1000")
    unknown.write({ signal: "SIGNOTHING" })
    t.match(await collect(unknown), { status: status.INVALID_ARGUMENT, details: /"SIGNOTHING" is no signal/ })
    await until("both have ended", () => processesIn(namespace.inode).length === 0)
  })

  t.test("exec passes stdin until its end, by message and by half-close", async (t) => {
    const byMessage = sh("cat; echo end")
    byMessage.write({ stdin: Buffer.from("a") })
    byMessage.write({ stdinEof: true })
    t.equal((await collect(byMessage)).stdout, "aend\n")
    const byClose = sh("cat; echo end")
    byClose.write({ stdin: Buffer.from("b") })
    byClose.end()
    t.equal((await collect(byClose)).stdout, "bend\n")
  })

  t.test("exec survives a command that does not read its stdin", async (t) => {
    const call = sh("exec true")
    for (let i = 0; i < 64; i++) call.write({ stdin: Buffer.alloc(65536) })
    t.equal((await collect(call)).exit?.code, 0)
  })

  t.test("exec delivers signals to the whole process group", async (t) => {
    const call = sh("sleep 1000 | sleep 1000; echo not reached")
    const outcome = collect(call)
    await until("the pipeline runs", () => processesIn(namespace.inode).length === 3)
    call.write({ signal: "SIGTERM" })
    t.same((await outcome).exit, { code: 143, signal: "SIGTERM" })
    await until("all are gone", () => processesIn(namespace.inode).length === 0)
  })

  t.test("exec does not wait for background children, and reads all of the command's own output", async (t) => {
    const outcome = await simple("sleep 1000 & head -c 3000000 /dev/zero | tr '\\0' x")
    t.equal(outcome.stdout.length, 3_000_000)
    t.equal(outcome.exit?.code, 0)
    t.equal(await endProcesses(new Set([namespace.inode]), 1000), 1)
  })

  t.test("who only visits a node is left alone when its processes end", async (t) => {
    // As another weftd, or zebra: its first thread has entered for a moment, the others have not.
    const visitor = spawn("/usr/bin/python3", ["-c", visiting, namespace.path], { stdio: ["pipe", "pipe", "inherit"] })
    t.teardown(() => visitor.kill("SIGKILL"))
    const left = once(visitor, "exit")
    await once(visitor.stdout, "data")
    const outcome = collect(sh("exec sleep 1000"))
    await until("it runs", () => processesIn(namespace.inode).length === 1)
    t.equal(readlinkSync(`/proc/${visitor.pid}/ns/net`), `net:[${namespace.inode}]`, "the visitor is inside")
    t.equal(await endProcesses(new Set([namespace.inode]), 1000), 1)
    t.match((await outcome).exit, { code: 143 })
    visitor.stdin.end("leave\n")
    t.same(await left, [0, null], "it ended when it wanted to")
  })

  t.test("exec on a cancelled call hangs up, then kills", async (t) => {
    const call = sh("trap '' HUP; sleep 1000; sleep 1000")
    const outcome = collect(call)
    await until("it runs", () => processesIn(namespace.inode).length === 2)
    const start = performance.now()
    call.cancel()
    t.equal((await outcome).status, status.CANCELLED)
    await until("it is killed", () => processesIn(namespace.inode).length === 0)
    t.ok(performance.now() - start > 1500, "it had time to go by itself")
  })

  t.test("exec.end ends the commands of a node and tells their clients", async (t) => {
    const outcome = collect(sh("exec sleep 1000"))
    await until("it runs", () => processesIn(namespace.inode).length === 1)
    await server.exec.end({ lab: "t", node: "other" })
    t.equal(processesIn(namespace.inode).length, 1, "another node's commands are left alone")
    await server.exec.end({ lab: "t", node: "pc" })
    t.same((await outcome).exit, { code: 129, signal: "SIGHUP" })
  })

  t.test("exec streams in constant memory, both ways", async (t) => {
    const total = 384 << 20
    const resident = () => process.memoryUsage().rss
    const start = resident()
    let received = 0
    let peak = 0
    const down = sh(`head -c ${total} /dev/zero`)
    for await (const message of down as AsyncIterable<{ stdout?: Buffer }>) {
      received += message.stdout?.length ?? 0
      peak = Math.max(peak, resident())
    }
    t.equal(received, total)
    const up = sh("wc -c")
    const outcome = collect(up)
    const chunk = Buffer.alloc(65536)
    for (let sent = 0; sent < total; sent += chunk.length) {
      if (!up.write({ stdin: chunk })) await new Promise((resolve) => up.once("drain", resolve))
      peak = Math.max(peak, resident())
    }
    up.end()
    t.equal((await outcome).stdout.trim(), String(total))
    t.ok(peak - start < 160 << 20, `grew by ${(peak - start) >> 20} MiB`)
  })

  t.test("exec stops a command whose output nobody reads", async (t) => {
    const call = sh("exec yes")
    // A grpc-js client that has never read keeps all that comes; one that has read once waits to be asked for more.
    await new Promise((resolve) => call.once("readable", resolve))
    call.read()
    const pid = processesIn(namespace.inode)[0]!
    const written = () => Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))![1])
    let last = -1
    let steady = 0
    await until("it stands still", () => {
      const now = written()
      steady = now === last && now > 0 ? steady + 1 : 0
      last = now
      return steady > 20
    })
    t.ok(last < 8 << 20, `${last} octets are under way`)
    const outcome = collect(call)
    call.cancel()
    await outcome
  })

  t.test("nothing is left when the service has stopped", async (t) => {
    await server.stop()
    await until("no process is left", () => processesIn(namespace.inode).length === 0)
    await until("no descriptor is left", () => descriptorCount() <= before).catch(() => undefined)
    t.equal(descriptorCount(), before)
    namespace.remove()
  })
})

t.test("runInNetns", { skip: needsRoot }, async (t) => {
  const namespace = makeNamespace("run")
  const command = (script: string) => ({ netnsPath: namespace.path, argv: ["sh", "-c", script] })
  t.match(await runInNetns(command("cat; exit 2"), { timeoutMs: 5000, stdin: "text" }), { code: 2, stdout: "text", timedOut: false })
  t.match(await runInNetns(command("exec sleep 1000"), { timeoutMs: 100 }), { signal: "SIGHUP", timedOut: true })
  const long = await runInNetns(command("yes | head -c 1000000"), { timeoutMs: 5000, outputOctets: 1000 })
  t.match(long, { code: 0, truncated: true })
  t.equal(long.stdout.length, 1000)
  const gone = await runInNetns({ netnsPath: `${namespace.path}-gone`, argv: ["true"] }, { timeoutMs: 5000 })
  t.match(gone, { code: 125, stderr: /cannot open network namespace .*-gone: No such file or directory/ })
  t.throws(() => spawnInNetns(command("\0")), /null bytes/)

  const deaf = spawnInNetns({ netnsPath: namespace.path, argv: ["bash", "-c", "trap '' TERM HUP; while :; do sleep 1000; done"] })
  await until("it sleeps", () => processesIn(namespace.inode).length === 2)
  t.equal(await endProcesses(new Set([namespace.inode]), 100), 2, "endProcesses counts them")
  t.same((await deaf.exit).signal, "SIGKILL")
  t.equal(processesIn(namespace.inode).length, 0)
  namespace.remove()
})
