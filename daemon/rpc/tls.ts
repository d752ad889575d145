/**
 * The door for others than this machine: TCP with mutual TLS, and nothing without.
 *
 *     TCP --(at most 256)--> TLS 1.3, client certificate verified --> HTTP/2 of grpc-js --> access.ts --> handlers
 *
 * TLS is ended by a listener of our own, and grpc-js is given connections that are verified already. So what is accepted
 * is decided here, in one place, and refused handshakes can be logged with their reason.
 *
 * Material that changes while we listen (tls-files.ts) is used from then on; a connection whose client has been revoked ends.
 */
import { once } from "node:events"
import { type AddressInfo, isIP } from "node:net"
import { createServer, type TLSSocket } from "node:tls"
import * as grpc from "@grpc/grpc-js"
import { certificateKey } from "../wire/certificate-list.ts"
import type { TlsMaterial } from "./tls-files.ts"

export interface Endpoint {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

/** `ADDR:PORT` or `[ADDR]:PORT`. @throws Error that says what is wrong */
export const parseEndpoint = (text: string): Endpoint => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535 || (match[1] !== undefined && isIP(match[1]) !== 6)) {
    throw new Error(`Bad address "${text}" for --listen: it needs ADDR:PORT, such as 0.0.0.0:7443 or [::]:7443`)
  }
  return { host: match[1] ?? match[2]!, port }
}

export interface Limits {
  /** At once, those in the handshake included. */
  readonly connections: number
  /** From the TCP connection to the verified client. */
  readonly handshakeMs: number
}

const defaultLimits: Limits = { connections: 256, handshakeMs: 10_000 }
/** Refused handshakes are logged at most this often, or anybody could fill the log. */
const refusalLogMs = 1000

export interface Listener {
  readonly address: string
  readonly port: number
  /** No new connections. Resolves when those that are open have ended; `destroy` ends them. */
  readonly close: () => Promise<void>
  readonly destroy: () => void
}

/** Listens, and hands each connection to `server` once its client's certificate is verified. */
export const listenTls = async (
  server: grpc.Server,
  { host, port }: Endpoint,
  material: TlsMaterial,
  log: (line: string) => void,
  limits = defaultLimits
): Promise<Listener> => {
  // "Insecure" means that grpc-js adds no TLS: it gets sockets on which there is TLS already.
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
  const open = new Set<TLSSocket>()
  const handshaking = new WeakMap<object, string>()
  const refused = refusalLog(log)
  const listener = createServer({
    ...contextOf(material),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ["h2"],
    handshakeTimeout: limits.handshakeMs
  })
  listener.maxConnections = limits.connections
  listener.on("connection", (socket) => {
    handshaking.set(socket, `${socket.remoteAddress}:${socket.remotePort}`)
    socket.on("error", () => {})
  })
  listener.on("secureConnection", (socket) => {
    socket.on("error", () => {})
    // A handshake may end after `close`.
    if (!listener.listening || !socket.authorized || socket.alpnProtocol !== "h2") return void socket.destroy()
    if (isRevoked(socket, material)) {
      refused(`a connection from ${socket.remoteAddress}:${socket.remotePort}: its certificate is revoked`)
      return void socket.destroy()
    }
    open.add(socket)
    socket.once("close", () => {
      open.delete(socket)
      if (open.size === 0) listener.emit("drained")
    })
    injector.injectConnection(socket)
  })
  listener.on("tlsClientError", (error: NodeJS.ErrnoException, socket: TLSSocket & { readonly _parent?: object }) => {
    const reason = socket.authorizationError ?? error.code ?? error.message
    refused(`a connection${from(handshaking, socket)}: ${reason}`)
    // After ERR_TLS_HANDSHAKE_TIMEOUT Node leaves that to us.
    socket.destroy()
  })
  const stopFollowing = material.onChange?.(() => {
    listener.setSecureContext(contextOf(material))
    for (const socket of open) if (isRevoked(socket, material)) socket.destroy()
  })
  listener.on("drop", () => refused(`a connection: ${limits.connections} are open`))
  await new Promise<void>((resolve, reject) => {
    listener.once("error", (error: NodeJS.ErrnoException) => {
      const hint = error.code === "EADDRINUSE" ? `. See who has the port: ss -ltnp 'sport = :${port}'` : ""
      reject(new Error(`Cannot listen on ${host}:${port}: ${error.code ?? error.message}${hint}`))
    })
    listener.listen({ host, port }, () => resolve())
  })
  listener.on("error", (error) => log(`access.failed ${error.message}`))
  const bound = listener.address() as AddressInfo
  return {
    address: bound.address,
    port: bound.port,
    close: async () => {
      stopFollowing?.()
      listener.close()
      if (open.size > 0) await once(listener, "drained")
    },
    destroy: () => open.forEach((socket) => socket.destroy())
  }
}

/** Of new connections. */
const contextOf = ({ ca, cert, key }: TlsMaterial) => ({ ca, cert, key, minVersion: "TLSv1.3" }) as const

const isRevoked = (socket: TLSSocket, { revoked }: TlsMaterial): boolean => {
  if (revoked.size === 0) return false
  const { raw } = socket.getPeerCertificate()
  const key = raw === undefined ? undefined : certificateKey(raw)
  return key === undefined || revoked.has(key)
}

/** Node forgets the address of a socket that is closed. */
const from = (known: WeakMap<object, string>, socket: { readonly _parent?: object }): string => {
  const address = socket._parent === undefined ? undefined : known.get(socket._parent)
  return address === undefined ? "" : ` from ${address}`
}

/** At most one line in `refusalLogMs`; of what comes meanwhile the last is told at its end, with how many it stands for. */
const refusalLog = (log: (line: string) => void): ((text: string) => void) => {
  let pause: NodeJS.Timeout | undefined
  let held = 0
  let last = ""
  const begin = (): void => {
    pause = setTimeout(end, refusalLogMs).unref()
  }
  const end = (): void => {
    pause = undefined
    if (held === 0) return
    log(`access.refused ${last}${held === 1 ? "" : ` (and ${held - 1} more)`}`)
    held = 0
    begin()
  }
  return (text) => {
    if (pause !== undefined) {
      held += 1
      last = text
      return
    }
    log(`access.refused ${text}`)
    begin()
  }
}
