/**
 * TCP probes between namespaces: a listener inside one, connections from inside others.
 *
 * Each connection carries a random token as its first octets, so the listener can say from which address *this*
 * connection came, whatever NAT has made of it on the way.
 */
import { constants } from "node:os"
import { createServer, type Server, type Socket } from "node:net"
import { whenSilentFor } from "../../timing/silence.ts"
import { addon } from "../native/index.ts"
import * as Ip from "../wire/ip.ts"
import { reasonOfErrno, reasonOfFailure } from "./socket-error.ts"

export const tokenLength = 16

/** A listener inside a namespace. `close` it. */
export interface Listener {
  readonly port: number
  /** Resolves with the peer's address when a connection with this token (16 octets) has arrived. */
  readonly seen: (token: Uint8Array) => Promise<string>
  readonly forget: (token: Uint8Array) => void
  readonly close: () => Promise<void>
}

const keyOf = (token: Uint8Array): string => Buffer.from(token).toString("hex")

const bind = (netnsPath: string, family: Ip.Family): number => {
  const netns = addon.netnsOpen(netnsPath)
  try {
    return addon.tcpBind(netns, new Uint8Array(family === "ipv4" ? 4 : 16))
  } finally {
    addon.close(netns)
  }
}

/**
 * Listens on all addresses of the namespace, on a port that the kernel chooses. Rejects when that is impossible.
 *
 * @param told of every token that arrives, for those who cannot say before which they wait for
 */
export const listen = async (
  netnsPath: string,
  family: Ip.Family,
  told?: (token: Uint8Array, address: string) => void
): Promise<Listener> => {
  const descriptor = bind(netnsPath, family)
  const port = addon.localPort(descriptor)
  const waiting = new Map<string, (address: string) => void>()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
    // The client resets when it is done.
    socket.on("error", () => undefined)
    readToken(socket, (token) => {
      const address = socket.remoteAddress ?? ""
      waiting.get(keyOf(token))?.(address)
      told?.(token, address)
    })
  })
  await listening(server, descriptor)
  return {
    port,
    seen: (token) => new Promise((resolve) => waiting.set(keyOf(token), resolve)),
    forget: (token) => waiting.delete(keyOf(token)),
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    }
  }
}

const listening = (server: Server, descriptor: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const refused = (error: Error): void => {
      addon.close(descriptor)
      reject(error)
    }
    server.once("error", refused)
    server.listen({ fd: descriptor }, () => {
      // From here on the server owns the descriptor. A later error (EMFILE in accept) costs one connection, which its
      // client notices.
      server.off("error", refused)
      server.on("error", () => undefined)
      resolve()
    })
  })

const readToken = (socket: Socket, done: (token: Uint8Array) => void): void => {
  let received = Buffer.alloc(0)
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk as Buffer])
    if (received.length < tokenLength) return
    done(received.subarray(0, tokenLength))
    socket.removeAllListeners("data")
    socket.resume()
  })
}

/** A connection that was made, or why not. `source`: the address that the client's kernel chose. */
export type Connection =
  | { readonly ok: true; readonly source: string; readonly close: () => void }
  | { readonly ok: false; readonly reason: string }

/**
 * Connects from the namespace `netnsPath` to `address` and sends the token.
 * The caller closes what was made, after the listener has seen the token: closing resets the connection.
 */
export const connect = (netnsPath: string, address: string, port: number, token: Uint8Array, timeoutMs: number): Promise<Connection> => {
  const destination = Ip.parse(address)
  if (destination === undefined) return Promise.resolve({ ok: false, reason: `"${address}" is no address` })
  let descriptor: number
  try {
    const netns = addon.netnsOpen(netnsPath)
    try {
      descriptor = addon.tcpConnect(netns, destination, port)
    } finally {
      addon.close(netns)
    }
  } catch (error) {
    return Promise.resolve({ ok: false, reason: reasonOfFailure(error) })
  }
  return new Promise((resolve) => {
    const finish = (error: number): void => {
      stopWaiting()
      addon.pollStop(poll)
      const sent = error === 0 ? addon.write(descriptor, token, 0) : -error
      if (sent === token.length) {
        resolve({ ok: true, source: Ip.format(addon.localAddress(descriptor)), close: () => addon.close(descriptor) })
      } else {
        addon.close(descriptor)
        resolve({ ok: false, reason: reasonOfErrno(-sent) })
      }
    }
    const stopWaiting = whenSilentFor(timeoutMs, () => finish(constants.errno.ETIMEDOUT))
    // Writable: connected or failed; a failure comes as a negative event, and the socket knows which.
    const poll = addon.pollStart(descriptor, 2, () => finish(addon.socketError(descriptor)))
  })
}
