/**
 * A gRPC server with the daemon's API and made-up answers, for tests of the client side. Commands of Exec run on this
 * machine, outside of any node.
 */

import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as grpc from "@grpc/grpc-js"
import * as loader from "@grpc/proto-loader"
import type * as Message from "../../ctl/messages.ts"
import { hybrid } from "./fixtures.ts"

/** What the fake answers; each can be replaced by a test. */
export interface Answers {
  labs: ReadonlyArray<Message.LabSummary>
  inspect: Message.InspectResponse
  plan: Message.PlanResponse
  deploy: ReadonlyArray<Message.Progress>
  destroy: ReadonlyArray<Message.Progress>
  events: ReadonlyArray<Message.Event>
  capture: ReadonlyArray<Message.CaptureResponse>
  findings: ReadonlyArray<Message.Finding>
  hosts: ReadonlyArray<Message.HostInfo>
  drain: ReadonlyArray<Message.Progress>
}

export interface FakeDaemon {
  readonly address: string
  readonly answers: Answers
  /** Requests as they came, newest last. */
  readonly seen: Array<{ readonly method: string; readonly request: unknown }>
  readonly stop: () => Promise<void>
}

const defaults = (): Answers => {
  const lab = hybrid()
  return {
    labs: [lab.lab],
    inspect: lab,
    plan: { diagnostics: [], lab: "hybrid", exists: true, changes: [], notes: [] },
    deploy: [
      { event: "planned", planned: { lab: "hybrid", diagnostics: [], creates: 2, updates: 0, replaces: 0, removes: 0 } },
      { event: "change", change: { change: change("CREATE", "node/pc"), error: "", blocked: false } },
      { event: "change", change: { change: change("CREATE", "port/pc:eth0"), error: "", blocked: false } },
      { event: "done", done: { lab: "hybrid", changed: 2, durationMs: 42 } }
    ],
    destroy: [{ event: "done", done: { lab: "hybrid", changed: 12, durationMs: 7 } }],
    events: [
      { time: "2026-01-01T00:00:00.000Z", lab: "hybrid", type: "lab.deployed", subject: "hybrid", message: "2 created", host: "vm1" }
    ],
    capture: [],
    hosts: [host("vm1", { asked: true, labs: 1, nodes: 12 })],
    drain: [
      { event: "host", host: { host: "vm1", state: "ready", done: 3, total: 3 } },
      { event: "done", done: { lab: "", changed: 3, durationMs: 5 } }
    ],
    findings: [
      { subject: "eBPF", verdict: "OK", detail: "kernel 6.18", neededFor: "the fast path", remedy: "" },
      { subject: "netem", verdict: "WARNING", detail: "no module", neededFor: "nothing yet", remedy: "" }
    ]
  }
}

/** A host that is well. */
export const host = (name: string, more: Partial<Message.HostInfo> = {}): Message.HostInfo => ({
  name,
  state: "ready",
  underlay: "192.0.2.1",
  endpoint: "192.0.2.1:7443",
  capacity: 2,
  labels: { rack: "a" },
  version: "0.1.0",
  kernel: "6.18.0",
  since: "2026-01-01T00:00:00.000Z",
  labs: 0,
  nodes: 0,
  asked: false,
  ...more
})

/** A change as the daemon reports it; the kind and the node are those in the id. */
export const change = (
  action: Message.Action,
  id: string,
  attributes: Message.Change["attributes"] = [],
  reason = ""
): Message.Change => {
  const [kind = "", rest = ""] = id.split("/")
  return { action, id, kind, node: rest.split(":")[0] ?? "", attributes, reason, host: "vm1" }
}

/** Serves on a fresh socket until stopped. */
export const startFakeDaemon = async (): Promise<FakeDaemon> => {
  const directory = mkdtempSync(join(tmpdir(), "weft-fake-"))
  const answers = defaults()
  const seen: FakeDaemon["seen"] = []
  const definition = loader.loadSync(fileURLToPath(new URL("../../proto/weft/v1/weft.proto", import.meta.url)), {
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true
  })
  const services = grpc.loadPackageDefinition(definition) as unknown as {
    weft: { v1: Record<string, grpc.ServiceClientConstructor> }
  }
  const server = new grpc.Server()

  const unary = (method: string, answer: (request: never) => unknown): grpc.UntypedHandleCall =>
    ((call: { request: never }, done: (error: unknown, answer?: unknown) => void) => {
      seen.push({ method, request: call.request })
      try {
        done(null, answer(call.request))
      } catch (error) {
        done(error)
      }
    }) as unknown as grpc.UntypedHandleCall
  const stream = (method: string, answer: () => ReadonlyArray<unknown>): grpc.UntypedHandleCall =>
    ((call: grpc.ServerWritableStream<unknown, unknown>) => {
      seen.push({ method, request: call.request })
      for (const message of answer()) call.write(message)
      call.end()
    }) as grpc.UntypedHandleCall

  server.addService(services.weft.v1["Labs"]!.service, {
    Validate: unary("Validate", () => ({ diagnostics: [] })),
    Plan: unary("Plan", () => answers.plan),
    Deploy: stream("Deploy", () => answers.deploy),
    Destroy: stream("Destroy", () => answers.destroy),
    List: unary("List", () => ({ labs: answers.labs })),
    Inspect: unary("Inspect", ({ lab }: { lab: string }) => {
      if (lab !== "" && lab !== answers.inspect.lab.name)
        throw Object.assign(new Error(), { code: grpc.status.NOT_FOUND, details: `there is no lab "${lab}"` })
      return answers.inspect
    }),
    Events: stream("Events", () => answers.events)
  })
  server.addService(services.weft.v1["Nodes"]!.service, {
    Exec: (call: grpc.ServerDuplexStream<Message.ExecRequest, unknown>) => serveExec(call, answers),
    Capture: (call: grpc.ServerDuplexStream<Record<string, unknown>, unknown>) => {
      call.once("data", ({ start }) => {
        seen.push({ method: "Capture", request: start })
        for (const response of answers.capture) call.write(response)
        call.end()
      })
    },
    Reach: stream("Reach", () => [])
  })
  // One that never answers.
  server.addService(services.weft.v1["Rehearsals"]!.service, {
    Run: (call: grpc.ServerDuplexStream<unknown, unknown>) => void call.on("data", (request) => seen.push({ method: "Run", request }))
  })
  server.addService(services.weft.v1["Host"]!.service, {
    Version: unary("Version", () => ({
      version: "0.1.0",
      instance: "fake",
      host: "vm1",
      kernel: "6.18.0",
      node: "v24.0.0",
      pid: 4711
    })),
    Doctor: unary("Doctor", () => ({ findings: answers.findings })),
    Hosts: unary("Hosts", () => ({ hosts: answers.hosts, error: "" })),
    Drain: stream("Drain", () => answers.drain)
  })
  const socket = join(directory, "weftd.sock")
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error)
    )
  )
  return {
    address: `unix:${socket}`,
    answers,
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.forceShutdown()
        rmSync(directory, { recursive: true, force: true })
        resolve()
      })
  }
}

const serveExec = (call: grpc.ServerDuplexStream<Message.ExecRequest, unknown>, answers: Answers): void => {
  let child: ChildProcess | undefined
  const forward = (source: NodeJS.ReadableStream | null, wrap: (octets: Buffer) => object): Promise<void> =>
    new Promise((resolve) => {
      source?.on("data", (octets: Buffer) => {
        if (!call.write(wrap(octets))) {
          source.pause()
          call.once("drain", () => source.resume())
        }
      })
      source?.on("end", resolve)
    })
  call.on("cancelled", () => child?.kill("SIGHUP"))
  call.on("data", (request: Record<string, never>) => {
    if (request["start"] !== null && request["start"] !== undefined) {
      const { argv, env, node } = request["start"] as Message.ExecStart
      if (!answers.inspect.nodes.some(({ name }) => name === node || `${answers.inspect.lab.name}/${name}` === node)) {
        call.emit("error", { code: grpc.status.NOT_FOUND, details: `there is no node "${node}"` })
        return
      }
      const process = spawn(argv[0]!, argv.slice(1), { env: { PATH: "/usr/bin:/bin", ...env } })
      child = process
      process.stdin.on("error", () => {})
      const streams = [forward(process.stdout, (stdout) => ({ stdout })), forward(process.stderr, (stderr) => ({ stderr }))]
      process.on("exit", (code, signal) => {
        void Promise.all(streams).then(() => {
          call.write({ exit: { code: code ?? 128 + constants.signals[signal!], signal: signal ?? "" } })
          call.end()
        })
      })
    } else if (request["stdin"] !== null && request["stdin"] !== undefined && (request["stdin"] as Uint8Array).length > 0) {
      if (child?.stdin?.write(request["stdin"]) === false) {
        call.pause()
        child.stdin.once("drain", () => call.resume())
      }
    } else if (request["stdinEof"] === true) child?.stdin?.end()
    else if (typeof request["signal"] === "string") child?.kill(request["signal"] as NodeJS.Signals)
  })
}
