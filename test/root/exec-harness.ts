/**
 * Namespaces and an exec service for the tests of commands in nodes: what the daemon has, without the daemon.
 */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as grpc from "@grpc/grpc-js"
import * as loader from "@grpc/proto-loader"
import { isSignal, spawnInNetns } from "../../daemon/linux/process.ts"
import { addon } from "../../daemon/native/index.ts"
import { type Exec, type ExecRequest, makeExec } from "../../daemon/rpc/exec.ts"

/** Namespaces named `weft-test-<pid>-<name>`, all gone after `remove`. */
export const makeNamespace = (name: string): { path: string; etcDir: string; inode: number; remove: () => void } => {
  const full = `weft-test-${process.pid}-${name}`
  const path = `/run/netns/${full}`
  const etcDir = mkdtempSync(join(tmpdir(), `${full}-etc-`))
  addon.netnsPrepare("/run/netns")
  addon.netnsCreate(path, new Uint8Array())
  const descriptor = addon.netnsOpen(path)
  const inode = addon.inode(descriptor)
  addon.close(descriptor)
  // As the daemon has it: one file for all nodes of a lab, and a link to it for each.
  writeFileSync(join(etcDir, ".lab-hosts"), "10.9.8.7 other.weft\n")
  symlinkSync(".lab-hosts", join(etcDir, "hosts"))
  return {
    path,
    etcDir,
    inode,
    remove: () => {
      addon.netnsRemove(path)
      rmSync(etcDir, { recursive: true })
    }
  }
}


type Call = grpc.ClientDuplexStream<ExecRequest, Record<string, unknown>>

export interface Outcome {
  readonly stdout: string
  readonly stderr: string
  readonly exit: { readonly code: number; readonly signal: string } | undefined
  /** gRPC status: code and details. */
  readonly status: number
  readonly details: string
}

export interface ExecServer {
  readonly exec: Exec
  readonly start: (request: Partial<NonNullable<ExecRequest["start"]>>) => Call
  readonly stop: () => Promise<void>
}

/** An exec service for one node called `pc`, on a socket of its own. */
export const serveExec = async (node: { path: string; etcDir: string }): Promise<ExecServer> => {
  const proto = fileURLToPath(new URL("../../proto/weft/v1/weft.proto", import.meta.url))
  const definition = await loader.load(proto, { longs: Number, enums: String, defaults: true, oneofs: true })
  const root = grpc.loadPackageDefinition(definition) as unknown as { weft: { v1: { Nodes: grpc.ServiceClientConstructor } } }
  const { Nodes } = root.weft.v1
  const exec = makeExec({
    resolveNode: (name) =>
      name === "pc"
        ? { lab: "t", node: "pc", netnsPath: node.path, etcDir: node.etcDir }
        : { error: `There is no node "${name}"`, suggestion: "pc" },
    spawn: spawnInNetns,
    isSignal
  })
  const directory = mkdtempSync(join(tmpdir(), "weft-test-exec-"))
  const server = new grpc.Server()
  server.addService(Nodes.service, { Exec: exec.handler, Reach: () => undefined })
  const address = `unix:${join(directory, "s")}`
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error)))
  )
  const client = new Nodes(address, grpc.credentials.createInsecure())
  return {
    exec,
    start: (request) => {
      const call = (client as unknown as { Exec: () => Call }).Exec()
      call.write({ start: { node: "pc", argv: [], tty: false, ...request } })
      return call
    },
    stop: async () => {
      await exec.end()
      client.close()
      server.forceShutdown()
      rmSync(directory, { recursive: true })
    }
  }
}

/** Collects what a call answers; `onOutput` sees all output so far after each piece. */
export const collect = (call: Call, onOutput: (stdout: string) => void = () => undefined): Promise<Outcome> =>
  new Promise((resolve) => {
    let stdout = ""
    let stderr = ""
    let exit: Outcome["exit"]
    call.on("data", (message: { stdout?: Buffer; stderr?: Buffer; exit?: Outcome["exit"] }) => {
      if (message.stdout !== undefined) onOutput((stdout += message.stdout.toString("utf8")))
      if (message.stderr !== undefined) stderr += message.stderr.toString("utf8")
      if (message.exit !== undefined) exit = message.exit
    })
    call.on("error", () => undefined)
    call.on("status", ({ code, details }: grpc.StatusObject) => resolve({ stdout, stderr, exit, status: code, details }))
  })
