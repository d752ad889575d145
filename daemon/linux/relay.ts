/**
 * Ports of the machine that lead into a node: weftd listens outside and connects inside.
 *
 *     client --> host address:port | weftd | 127.0.0.1:port in the node's namespace
 *
 * TCP: one connection inside for each outside, half-closes passed on, no more read than the other side takes. Where nobody
 * listens on the node's loopback address, its other addresses are tried in order. UDP: one socket inside for each client,
 * forgotten after a minute of silence, to the loopback address only.
 *
 * Nodes see connections come from themselves. Relays live and die with weftd; it opens them again when it is back.
 */
import { createSocket, type RemoteInfo, type Socket as Datagrams } from "node:dgram"
import { createServer, type Server, Socket } from "node:net"
import { whenSilentFor } from "../../timing/silence.ts"
import { addon, type Poll } from "../native/index.ts"
import * as Ip from "../wire/ip.ts"
import { KernelError } from "./errors.ts"
import { reasonOfErrno } from "./socket-error.ts"

export interface Relay {
  readonly protocol: "tcp" | "udp"
  /** Address of the machine; empty: all. */
  readonly address: string
  readonly hostPort: number
  readonly netnsPath: string
  readonly port: number
  /** Tried after the loopback address. */
  readonly targets: ReadonlyArray<string>
}

export interface OpenRelay {
  readonly relay: Relay
  readonly close: () => Promise<void>
}

const loopback = "127.0.0.1"
const connectPatienceMs = 5000
const silenceMs = 60_000
const maxSessions = 4096
const largestDatagram = 65535

const describe = ({ address, hostPort, protocol }: Relay): string => `${address === "" ? "*" : address}:${hostPort}/${protocol}`

const failure = (relay: Relay, error: unknown): KernelError => {
  const code = (error as NodeJS.ErrnoException).code ?? "EIO"
  const detail = code === "EADDRINUSE" ? "another program of this machine, or another lab, has this port" : (error as Error).message
  return new KernelError({ operation: "publish", object: describe(relay), code, detail })
}

/** A socket made in the node's namespace. Throws when the namespace is gone. */
const socketIn = ({ netnsPath, port, protocol }: Relay, target: string): number => {
  const netns = addon.netnsOpen(netnsPath)
  try {
    return addon.relayConnect(netns, Ip.parse(target)!, port, protocol === "udp")
  } finally {
    addon.close(netns)
  }
}

/** Opens the relay. Rejects with a KernelError when the machine's port cannot be had. */
export const open = (relay: Relay): Promise<OpenRelay> => (relay.protocol === "tcp" ? openTcp(relay) : openUdp(relay))

// ---- TCP ---------------------------------------------------------------------------------------------------------------

const connected = (descriptor: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    const finish = (reason: string | undefined): void => {
      stopWaiting()
      addon.pollStop(poll)
      resolve(reason)
    }
    const stopWaiting = whenSilentFor(connectPatienceMs, () => finish("timed out"))
    const poll: Poll = addon.pollStart(descriptor, 2, () => {
      const error = addon.socketError(descriptor)
      finish(error === 0 ? undefined : reasonOfErrno(error))
    })
  })

/** A connection to the first target that takes it; undefined when none does. */
const connectInside = async (relay: Relay): Promise<Socket | undefined> => {
  for (const target of [loopback, ...relay.targets]) {
    let descriptor: number
    try {
      descriptor = socketIn(relay, target)
    } catch {
      continue
    }
    if ((await connected(descriptor)) === undefined) {
      return new Socket({ fd: descriptor, readable: true, writable: true, allowHalfOpen: true })
    }
    addon.close(descriptor)
  }
  return undefined
}

const join = async (relay: Relay, outside: Socket, sockets: Set<Socket>): Promise<void> => {
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  }
  keep(outside)
  outside.pause()
  // Resets are passed on below.
  outside.on("error", () => undefined)
  const inside = await connectInside(relay)
  if (inside === undefined || outside.destroyed) {
    inside?.destroy()
    outside.resetAndDestroy()
    return
  }
  keep(inside)
  inside.on("error", () => undefined)
  inside.once("close", () => outside.destroy())
  outside.once("close", () => inside.destroy())
  outside.pipe(inside)
  inside.pipe(outside)
}

const openTcp = (relay: Relay): Promise<OpenRelay> =>
  new Promise((resolve, reject) => {
    const sockets = new Set<Socket>()
    const options = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true }
    const server: Server = createServer(options, (socket) => void join(relay, socket, sockets))
    server.once("error", (error) => reject(failure(relay, error)))
    server.listen({ port: relay.hostPort, ...(relay.address === "" ? {} : { host: relay.address }) }, () => {
      server.removeAllListeners("error")
      // EMFILE in accept costs one connection, which its client notices.
      server.on("error", () => undefined)
      resolve({
        relay,
        close: () => {
          for (const socket of sockets) socket.destroy()
          return new Promise((done) => server.close(() => done()))
        }
      })
    })
  })

// ---- UDP ---------------------------------------------------------------------------------------------------------------

/** One client's socket inside. */
interface Session {
  readonly descriptor: number
  readonly poll: Poll
  silence: NodeJS.Timeout
}

const openUdp = (relay: Relay): Promise<OpenRelay> =>
  new Promise((resolve, reject) => {
    const sessions = new Map<string, Session>()
    const family = relay.address !== "" && !relay.address.includes(":") ? "udp4" : "udp6"
    const outside: Datagrams = createSocket({ type: family })
    const buffer = new Uint8Array(largestDatagram)

    const end = (key: string): void => {
      const session = sessions.get(key)
      if (session === undefined) return
      sessions.delete(key)
      clearTimeout(session.silence)
      addon.pollStop(session.poll)
      addon.close(session.descriptor)
    }
    const armed = (key: string): NodeJS.Timeout => setTimeout(() => end(key), silenceMs).unref()

    const begin = (key: string, client: RemoteInfo): Session | undefined => {
      if (sessions.size >= maxSessions) return undefined
      try {
        const descriptor = socketIn(relay, loopback)
        const poll = addon.pollStart(descriptor, 1, () => {
          const octets = addon.read(descriptor, buffer)
          if (octets >= 0) outside.send(Buffer.from(buffer.subarray(0, octets)), client.port, client.address)
          // Nobody listens inside: told to no one, as on any machine behind a NAT.
          else addon.socketError(descriptor)
        })
        const session = { descriptor, poll, silence: armed(key) }
        sessions.set(key, session)
        return session
      } catch {
        return undefined
      }
    }

    outside.on("message", (data, client) => {
      const key = `${client.address} ${client.port}`
      const session = sessions.get(key) ?? begin(key, client)
      if (session === undefined) return
      clearTimeout(session.silence)
      session.silence = armed(key)
      // What does not fit is lost, as datagrams are.
      addon.write(session.descriptor, data, 0)
    })
    outside.once("error", (error) => reject(failure(relay, error)))
    outside.bind({ port: relay.hostPort, ...(relay.address === "" ? {} : { address: relay.address }) }, () => {
      outside.removeAllListeners("error")
      outside.on("error", () => undefined)
      resolve({
        relay,
        close: () => {
          for (const key of [...sessions.keys()]) end(key)
          return new Promise((done) => outside.close(() => done()))
        }
      })
    })
  })
