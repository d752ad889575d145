/**
 * The gRPC server: services from the proto file, health and reflection beside them, one unix socket.
 *
 * Whoever may write to the socket may do what root may do (a topology runs commands), so the socket is the door: mode
 * 0660, owner root, group `weft` where that group exists.
 */
import { chmodSync, chownSync, readFileSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as grpc from "@grpc/grpc-js"
import * as protoLoader from "@grpc/proto-loader"
import { ReflectionService } from "@grpc/reflection"
import { HealthImplementation } from "grpc-health-check"

const protoPath = fileURLToPath(new URL("../../proto/weft/v1/weft.proto", import.meta.url))

/** Topologies are at most 4 MiB; a plan of a large lab is more. */
const maxMessageOctets = 64 << 20

export const loaderOptions = { keepCase: false, longs: Number, enums: String, defaults: true, oneofs: true } as const

/** Method implementations by service name. */
export type Services = Readonly<Record<"Labs" | "Nodes" | "Host", grpc.UntypedServiceImplementation>>

export interface Serving {
  /** No new calls; those under way get `graceMs` to end. */
  close(graceMs: number): Promise<void>
}

const groupId = (name: string): number | undefined => {
  const line = readFileSync("/etc/group", "utf8").split("\n").find((entry) => entry.startsWith(`${name}:`))
  return line === undefined ? undefined : Number(line.split(":")[2])
}

/** Starts serving on `socketPath`. The caller holds the instance's lock, so a socket that is there is a dead one's. */
export const serve = async (socketPath: string, services: Services): Promise<Serving> => {
  const definition = protoLoader.loadSync(protoPath, loaderOptions)
  const server = new grpc.Server({
    "grpc.max_receive_message_length": maxMessageOctets,
    "grpc.max_send_message_length": maxMessageOctets,
    "grpc.max_concurrent_streams": 1000
  })
  const health: Record<string, "SERVING"> = { "": "SERVING" }
  for (const [name, implementation] of Object.entries(services)) {
    server.addService(definition[`weft.v1.${name}`] as grpc.ServiceDefinition, implementation)
    health[`weft.v1.${name}`] = "SERVING"
  }
  new HealthImplementation(health).addToServer(server)
  new ReflectionService(definition).addToServer(server)

  rmSync(socketPath, { force: true })
  const umask = process.umask(0o117)
  try {
    await new Promise<void>((resolve, reject) => {
      const credentials = grpc.ServerCredentials.createInsecure()
      server.bindAsync(`unix:${socketPath}`, credentials, (error) => (error === null ? resolve() : reject(error)))
    })
  } finally {
    process.umask(umask)
  }
  const group = groupId("weft")
  if (group !== undefined) chownSync(socketPath, 0, group)
  chmodSync(socketPath, 0o660)
  return {
    close: async (graceMs) => {
      const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
      const timer = setTimeout(() => server.forceShutdown(), graceMs)
      await closed
      clearTimeout(timer)
      rmSync(socketPath, { force: true })
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
