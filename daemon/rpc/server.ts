/**
 * The gRPC servers: services from the proto file and health, on a unix socket and, where asked for, on TCP with TLS.
 *
 * Whoever may write to the unix socket may do what root may do (a topology runs commands), so the socket is the door:
 * mode 0660, owner root, group `weft` where that group exists. The door on TCP is in tls.ts, who may do what behind it
 * in access.ts. Only the unix socket has reflection: others need not be told what there is.
 */
import { chmodSync, chownSync, lstatSync, readFileSync, renameSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { fileURLToPath } from "node:url"
import * as grpc from "@grpc/grpc-js"
import * as protoLoader from "@grpc/proto-loader"
import { ReflectionService } from "@grpc/reflection"
import { HealthImplementation } from "grpc-health-check"
import { guard } from "./access.ts"
import type { TlsMaterial } from "./tls-files.ts"
import { type Endpoint, listenTls } from "./tls.ts"

const protoPath = fileURLToPath(new URL("../../proto/weft/v1/weft.proto", import.meta.url))

/** Topologies are at most 4 MiB; a plan of a large lab is more. */
const maxMessageOctets = 64 << 20

export const loaderOptions = { keepCase: false, longs: Number, enums: String, defaults: true, oneofs: true } as const

/** Method implementations by service name. `Peers` is for daemons of other hosts, so it is served on the network only. */
export type Services = Readonly<Record<"Labs" | "Nodes" | "Host", grpc.UntypedServiceImplementation>> & {
  readonly Probes?: grpc.UntypedServiceImplementation
  readonly Checks?: grpc.UntypedServiceImplementation
  readonly Scenarios?: grpc.UntypedServiceImplementation
  readonly Rehearsals?: grpc.UntypedServiceImplementation
  readonly Faults?: grpc.UntypedServiceImplementation
  readonly Peers?: grpc.UntypedServiceImplementation
}

export interface Serving {
  /** No new calls; those under way get `graceMs` to end. */
  close(graceMs: number): Promise<void>
}

const groupId = (name: string): number | undefined => {
  const line = readFileSync("/etc/group", "utf8").split("\n").find((entry) => entry.startsWith(`${name}:`))
  return line === undefined ? undefined : Number(line.split(":")[2])
}

const localOptions: grpc.ServerOptions = {
  "grpc.max_receive_message_length": maxMessageOctets,
  "grpc.max_send_message_length": maxMessageOctets,
  "grpc.max_concurrent_streams": 1000
}

/** What one client on the network can make the daemon hold. Lost clients are hung up on, which ends their commands. */
const remoteOptions: grpc.ServerOptions = {
  // A topology with its recordings, which the client keeps below 24 MiB.
  "grpc.max_receive_message_length": 32 << 20,
  "grpc.max_send_message_length": maxMessageOctets,
  // Another daemon has all its users' commands on one connection.
  "grpc.max_concurrent_streams": 1000,
  "grpc.max_connection_idle_ms": 300_000,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 20_000,
  // Megabytes, for each connection; Node's limit counts what waits to be sent.
  "grpc-node.max_session_memory": 128
}

const makeServer = (definition: protoLoader.PackageDefinition, services: Services, options: grpc.ServerOptions): grpc.Server => {
  const server = new grpc.Server(options)
  const health: Record<string, "SERVING"> = { "": "SERVING" }
  for (const [name, implementation] of Object.entries(services)) {
    server.addService(definition[`weft.v1.${name}`] as grpc.ServiceDefinition, implementation)
    health[`weft.v1.${name}`] = "SERVING"
  }
  new HealthImplementation(health).addToServer(server)
  return server
}

const shutDown = async (server: grpc.Server, graceMs: number): Promise<void> => {
  const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
  const timer = setTimeout(() => server.forceShutdown(), graceMs)
  await closed
  clearTimeout(timer)
}

export interface RemoteServing extends Serving {
  /** Where it listens, with the port that was chosen. */
  readonly endpoint: Endpoint
}

/** Starts serving on TCP, for clients whose certificates `material.ca` has signed, by the rules of access.ts. */
export const serveTls = async (
  endpoint: Endpoint,
  material: TlsMaterial,
  services: Services,
  log: (line: string) => void
): Promise<RemoteServing> => {
  const definition = protoLoader.loadSync(protoPath, loaderOptions)
  const server = makeServer(definition, services, { ...remoteOptions, interceptors: [guard(log)] })
  const listener = await listenTls(server, endpoint, material, log)
  return {
    endpoint: { host: listener.address, port: listener.port },
    close: async (graceMs) => {
      const drained = listener.close()
      // It tells the clients, but does not wait for connections that were handed to it.
      server.tryShutdown(() => {})
      const timer = setTimeout(listener.destroy, graceMs)
      await drained
      clearTimeout(timer)
      server.forceShutdown()
    }
  }
}

/** Whether somebody listens on a socket. A full backlog (EAGAIN) is an answer, too. */
const answers = (socketPath: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(socketPath, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"))
  })

/** @throws Error when what is there must stay: all but the socket of a daemon that is dead. */
const refuseToReplace = async (socketPath: string): Promise<void> => {
  const status = lstatSync(socketPath, { throwIfNoEntry: false })
  if (status === undefined) return
  if (!status.isSocket()) throw new Error(`${socketPath} is there and is not a socket: remove it, or choose another path with --socket`)
  if (await answers(socketPath)) throw new Error(`another weftd serves on ${socketPath}: end it, or choose another path with --socket`)
}

/**
 * Starts serving on `socketPath`; the socket of a daemon that is dead is replaced.
 *
 * It is bound under another name and renamed: nobody sees it before its owner and mode are right, and libuv, which
 * unlinks the name that it has bound when the server closes, cannot remove the socket of a daemon that came after us.
 */
export const serve = async (socketPath: string, services: Services): Promise<Serving> => {
  const definition = protoLoader.loadSync(protoPath, loaderOptions)
  const server = makeServer(definition, services, localOptions)
  new ReflectionService(definition).addToServer(server)

  await refuseToReplace(socketPath)
  // Always the same name: one that a killed daemon left is the next one's to replace.
  const bound = `${socketPath}.new`
  await refuseToReplace(bound)
  rmSync(bound, { force: true })
  const umask = process.umask(0o117)
  try {
    await new Promise<void>((resolve, reject) => {
      const credentials = grpc.ServerCredentials.createInsecure()
      server.bindAsync(`unix:${bound}`, credentials, (error) => (error === null ? resolve() : reject(error)))
    })
  } finally {
    process.umask(umask)
  }
  const group = groupId("weft")
  if (group !== undefined) chownSync(bound, 0, group)
  chmodSync(bound, 0o660)
  const { ino, dev } = lstatSync(bound)
  renameSync(bound, socketPath)
  return {
    close: async (graceMs) => {
      await shutDown(server, graceMs)
      const there = lstatSync(socketPath, { throwIfNoEntry: false })
      if (there?.ino === ino && there.dev === dev) rmSync(socketPath)
    }
  }
}

/** A unary method from a function; what it throws becomes a status by `toStatus`. */
export const unary =
  <Request, Response>(toStatus: (error: unknown) => grpc.StatusObject, method: (request: Request) => Response | Promise<Response>) =>
  (call: grpc.ServerUnaryCall<Request, Response>, callback: grpc.sendUnaryData<Response>): void => {
    Promise.resolve()
      .then(() => method(call.request))
      .then((response) => callback(null, response), (error) => callback(toStatus(error)))
  }
