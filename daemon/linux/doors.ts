/**
 * TCP in namespaces for checks: connections that tell from where they come, and doors, servers on a named port that let
 * everybody in, remember who brought which token (16 octets, sent first), and count what follows.
 */
import { constants } from "node:os"
import { createServer, type Server, Socket } from "node:net"
import { whenSilentFor } from "../../timing/silence.ts"
import { addon } from "../native/index.ts"
import * as Ip from "../wire/ip.ts"
import { reasonOfErrno, reasonOfFailure } from "./socket-error.ts"

export type Dialed =
  { readonly ok: true; readonly descriptor: number; readonly source: string } | { readonly ok: false; readonly reason: string }

/** Connects from a namespace. What was made is the caller's to close. Never rejects. */
export const dial = (netnsPath: string, address: string, port: number, timeoutMs: number): Promise<Dialed> => {
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
      if (error === 0) return resolve({ ok: true, descriptor, source: Ip.format(addon.localAddress(descriptor)) })
      addon.close(descriptor)
      resolve({ ok: false, reason: reasonOfErrno(error) })
    }
    const stopWaiting = whenSilentFor(timeoutMs, () => finish(constants.errno.ETIMEDOUT))
    const poll = addon.pollStart(descriptor, 2, () => finish(addon.socketError(descriptor)))
  })
}

/** A connection as Node has it, which owns the descriptor from now on. */
export const socketOf = (descriptor: number): Socket => new Socket({ fd: descriptor, readable: true, writable: true })

export interface Visitor {
  readonly address: string
  /** After the token. */
  readonly octets: number
  /** From the first to the last of them. */
  readonly ms: number
}

export interface Door {
  readonly port: number
  /** Waits for who brings the token; undefined: nobody has within that time. */
  readonly seen: (token: string, timeoutMs: number) => Promise<Visitor | undefined>
  readonly close: () => Promise<void>
}

const tokenLength = 16

interface Guest {
  readonly address: string
  octets: number
  readonly beganMs: number
  endedMs: number
}

/**
 * Opens a door on all addresses of a family. `port` 0: a free one.
 *
 * @throws NativeError EADDRINUSE: the node itself serves there
 */
export const openDoor = async (netnsPath: string, family: "ipv4" | "ipv6", port: number): Promise<Door> => {
  const netns = addon.netnsOpen(netnsPath)
  let descriptor: number
  try {
    descriptor = addon.doorOpen(netns, new Uint8Array(family === "ipv4" ? 4 : 16), port)
  } finally {
    addon.close(netns)
  }
  const chosen = addon.localPort(descriptor)
  const guests = new Map<string, Guest>()
  const waiting = new Map<string, () => void>()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
    socket.on("error", () => undefined)
    welcome(socket, (token, guest) => {
      guests.set(token, guest)
      waiting.get(token)?.()
    })
  })
  await listening(server, descriptor)
  const seen: Door["seen"] = (token, timeoutMs) =>
    new Promise((resolve) => {
      const done = (): void => {
        stopWaiting()
        waiting.delete(token)
        const guest = guests.get(token)
        resolve(guest && { address: guest.address, octets: guest.octets, ms: guest.endedMs - guest.beganMs })
      }
      const stopWaiting = whenSilentFor(timeoutMs, done)
      if (guests.has(token)) done()
      else waiting.set(token, done)
    })
  const close = (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(() => resolve()))
  }
  return { port: chosen, seen, close }
}

const listening = (server: Server, descriptor: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const refused = (error: Error): void => {
      addon.close(descriptor)
      reject(error)
    }
    server.once("error", refused)
    server.listen({ fd: descriptor }, () => {
      server.off("error", refused)
      server.on("error", () => undefined)
      resolve()
    })
  })

const welcome = (socket: Socket, told: (token: string, guest: Guest) => void): void => {
  let first = Buffer.alloc(0)
  let guest: Guest | undefined
  socket.on("data", (chunk: Buffer) => {
    if (guest !== undefined) {
      guest.octets += chunk.length
      guest.endedMs = performance.now()
      return
    }
    first = Buffer.concat([first, chunk])
    if (first.length < tokenLength) return
    const nowMs = performance.now()
    guest = { address: socket.remoteAddress ?? "", octets: first.length - tokenLength, beganMs: nowMs, endedMs: nowMs }
    told(first.subarray(0, tokenLength).toString("hex"), guest)
    first = Buffer.alloc(0)
  })
}
