/**
 * Commands in nodes of another host: two services in one process, with real certificates between them and real commands
 * behind them.
 *
 *     client --operator's TLS--> near (h1) --daemon's TLS--> far (h2) --> command in a namespace
 */
import { readdirSync, readFileSync } from "node:fs"
import { type ClientDuplexStream, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js"
import t, { type Test } from "tap"
import { PeerClients } from "../../daemon/fleet/peer-clients.ts"
import { isSignal, spawnInNetns } from "../../daemon/linux/process.ts"
import { type Exec, type ExecRequest, makeExec, type ResolvedNode } from "../../daemon/rpc/exec.ts"
import { type Credentials, definition, hollowServices, makePki, type Pki, type Remote, startRemote } from "../rpc/pki-fixture.ts"
import { collect, makeNamespace } from "./exec-harness.ts"
import { needsRoot, until } from "./harness.ts"

type Call = ClientDuplexStream<ExecRequest, Record<string, unknown>>

interface Side {
  readonly exec: Exec
  readonly remote: Remote
}

interface Pair {
  readonly near: Side
  readonly far: Side
  readonly peers: PeerClients
  readonly start: (argv: ReadonlyArray<string>, more?: Partial<NonNullable<ExecRequest["start"]>>) => Call
}

const serveExec = async (daemon: Credentials, exec: Exec): Promise<Side> => {
  const hollow = hollowServices([])
  return { exec, remote: await startRemote(daemon, { ...hollow, Nodes: { ...hollow.Nodes, Exec: exec.handler } }) }
}

/** h1 believes that h2 has the node; `farNode` is what h2 believes. */
const makePair = async (t: Test, pki: Pki, farNode: (peers: PeerClients) => Parameters<typeof makeExec>[0]): Promise<Pair> => {
  const host = { name: "h2", endpoint: "" }
  const { ca, cert, key } = pki.daemon
  const peers = new PeerClients({ hosts: () => [host], material: { ca, cert: cert!, key: key! }, self: "h1" })
  const far = await serveExec(pki.daemon, makeExec(farNode(peers)))
  host.endpoint = `127.0.0.1:${far.remote.port}`
  const resolveNode = (): ResolvedNode => ({ lab: "t", node: "pc", netnsPath: "/nowhere", host: "h2" })
  const exec = makeExec({ resolveNode, spawn: spawnInNetns, isSignal, forwarding: { here: "h1", peers } })
  const near = await serveExec(pki.daemon, exec)
  const root = loadPackageDefinition(definition) as unknown as { weft: { v1: { Nodes: ServiceClientConstructor } } }
  const secure = credentials.createSsl(pki.operator.ca, pki.operator.key!, pki.operator.cert!)
  const client = new root.weft.v1.Nodes(`127.0.0.1:${near.remote.port}`, secure)
  t.teardown(async () => {
    client.close()
    await Promise.all([near.exec.end(), far.exec.end()])
    peers.close()
    await Promise.all([near.remote.close(200), far.remote.close(200)])
  })
  const start: Pair["start"] = (argv, more = {}) => {
    const call = (client as unknown as { Exec: () => Call }).Exec()
    call.write({ start: { node: "pc", argv, tty: false, ...more } })
    return call
  }
  return { near, far, peers, start }
}

/** Processes whose command line has this word. */
const running = (word: string): boolean =>
  readdirSync("/proc").some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(word)
    } catch {
      return false
    }
  })

t.test("a command in a node of another host", { skip: needsRoot }, async (t) => {
  const pki = await makePki()
  t.teardown(() => pki.remove())
  const node = makeNamespace("forward")
  t.teardown(() => node.remove())
  const asked: Array<string> = []
  const resolveNode = (name: string): ResolvedNode => {
    asked.push(name)
    return { lab: "t", node: "pc", netnsPath: node.path, etcDir: node.etcDir }
  }
  const { far, near, start } = await makePair(t, pki, () => ({ resolveNode, spawn: spawnInNetns, isSignal }))

  t.test("runs there, with its exit code and its streams", async (t) => {
    const call = start(["sh", "-c", "echo out; echo err >&2; readlink /proc/self/ns/net; exit 7"])
    t.match(await collect(call), { stdout: `out\nnet:[${node.inode}]\n`, stderr: "err\n", exit: { code: 7 }, status: 0 })
    t.strictSame(asked, ["t/pc"], "the far host gets the full name")
    t.match(far.remote.log.at(-1), /access\.granted weft\.v1\.Nodes\/Exec "t\/pc sh -c .*" to operator \(operator, certificate [0-9A-F]+\)/)
    t.match(far.remote.log.at(-1), /through "daemon" \(daemon, certificate [0-9A-F]+\) from 127\.0\.0\.1:\d+$/)
    t.match(near.remote.log.at(-1), /"pc sh -c .*" to "operator" \(operator/)
  })

  t.test("takes what is written, until its end, and slows the writer down", async (t) => {
    const chunk = Buffer.alloc(64 * 1024, "weft")
    const call = start(["sh", "-c", "read -r go; wc -c"])
    const outcome = collect(call)
    // The command does not read yet. What all buffers on the way can hold is taken, and no more.
    let [sent, waiting] = [0, false]
    const fill = async (): Promise<void> => {
      while (sent < 64 << 20 && !waiting) {
        const full = !call.write({ stdin: chunk })
        sent += chunk.length
        if (full) await new Promise<void>((resolve) => call.once("drain", resolve))
      }
    }
    const filling = fill()
    let last = -1
    await until("nothing more is taken", async () => {
      const before = last
      last = sent
      await new Promise((next) => setTimeout(next, 100))
      return before === sent
    })
    t.ok(sent < 32 << 20, `stops after ${sent} octets`)
    waiting = true
    call.cancel()
    call.emit("drain")
    await Promise.all([filling, outcome])

    const whole = start(["wc", "-c"])
    for (let i = 0; i < 100; i++) if (!whole.write({ stdin: chunk })) await new Promise<void>((next) => whole.once("drain", next))
    whole.end()
    t.match(await collect(whole), { stdout: `${100 * chunk.length}\n`, exit: { code: 0 } }, "a half-close is its end of input")
  })

  t.test("has a terminal, gets signals and resizes", async (t) => {
    const call = start(["sh", "-c", "trap 'stty size; exit 3' INT; echo ready; while :; do sleep 0.05; done"], {
      tty: true,
      size: { columns: 80, rows: 24 }
    })
    const outcome = collect(call, (stdout) => {
      if (!stdout.endsWith("ready\r\n")) return
      call.write({ resize: { columns: 101, rows: 33 } })
      call.write({ signal: "SIGINT" })
    })
    t.match(await outcome, { stdout: "ready\r\n33 101\r\n", exit: { code: 3 } })
  })

  t.test("ends when its client goes", async (t) => {
    const call = start(["sleep", "54321"])
    const outcome = collect(call)
    await until("it runs", () => running("54321"))
    call.cancel()
    t.match(await outcome, { status: 1 })
    await until("it is gone", () => !running("54321"))
    t.pass("nothing is left of it")
  })

  t.test("what cannot be run there fails as it does here", async (t) => {
    t.match(await collect(start(["no-such-program"])), { exit: { code: 127 }, status: 0 })
    t.match(await collect(start([])), { status: 3, details: "Cannot exec: no command given" })
  })

  t.test("a host that dies ends it with a reason", async (t) => {
    const call = start(["sh", "-c", "echo ready; exec sleep 54322"])
    const outcome = collect(call, () => {
      const { close } = far.remote
      void close(0)
    })
    t.match(await outcome, {
      stdout: "ready\n",
      exit: undefined,
      status: 14,
      details: /^Cannot reach the weftd of host "h2" at 127\.0\.0\.1:\d+: nobody listens there\. Its weftd does not run/
    })
    await until("the far side ends it", () => !running("54322"))
    t.match(await collect(start(["true"])), { status: 14, details: /^Cannot reach the weftd of host "h2"/ })
  })
})

t.test("a call that has been forwarded is not forwarded again", { skip: needsRoot }, async (t) => {
  const pki = await makePki()
  t.teardown(() => pki.remove())
  const { start } = await makePair(t, pki, (peers) => ({
    resolveNode: () => ({ lab: "t", node: "pc", netnsPath: "/nowhere", host: "h1" }),
    spawn: spawnInNetns,
    isSignal,
    forwarding: { here: "h2", peers }
  }))
  const details = /^Node "pc" is on host "h1", says host "h2" that was asked for it\. .*try again$/
  t.match(await collect(start(["true"])), { status: 9, details })
})
