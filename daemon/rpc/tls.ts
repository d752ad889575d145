/**
 * The door for others than this machine: TCP with mutual TLS, and nothing without.
 *
 *     TCP --(at most 256)--> TLS 1.3, client certificate verified --> HTTP/2 of grpc-js --> access.ts --> handlers
 *
 * TLS is ended by a listener of our own, and grpc-js is given connections that are verified already. So what is accepted
 * is decided here, in one place, and refused handshakes can be logged with their reason.
 */
import { X509Certificate } from "node:crypto"
import { once } from "node:events"
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs"
import { type AddressInfo, isIP } from "node:net"
import { createSecureContext, createServer, type TLSSocket } from "node:tls"
import * as grpc from "@grpc/grpc-js"

/** Where the daemon looks when no file is named; `weft pki issue weftd --server` puts them there. */
export const defaultTlsFiles: TlsFiles = {
  ca: "/etc/weft/pki/weftd/ca.pem",
  cert: "/etc/weft/pki/weftd/cert.pem",
  key: "/etc/weft/pki/weftd/key.pem"
}

/** PEM files. `ca` may hold several; clients' certificates must come from one of them. `cert` may be a chain. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface TlsMaterial {
  readonly ca: Buffer
  readonly cert: Buffer
  readonly key: Buffer
}

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

/** Reads and checks what the listener needs. @throws Error that says what to type */
export const readTlsFiles = ({ ca, cert, key }: TlsFiles): TlsMaterial => {
  const material = { ca: read(ca), cert: read(cert), key: readKey(key) }
  parse(material.ca, ca)
  const own = parse(material.cert, cert)
  const usages = own.keyUsage as ReadonlyArray<string> | undefined
  if (usages !== undefined && !usages.includes(serverAuth)) {
    throw new Error(`Cannot use certificate "${cert}": it is for clients only. ${howToRenew}`)
  }
  if (Date.parse(own.validTo) < Date.now()) {
    throw new Error(`Cannot use certificate "${cert}": it has expired (${own.validTo}). ${howToRenew}`)
  }
  try {
    createSecureContext(material)
  } catch (error) {
    throw new Error(`Cannot use key "${key}" with certificate "${cert}": ${(error as Error).message}`)
  }
  return material
}

/** Extended key usage of TLS servers, RFC 5280 4.2.1.12. */
const serverAuth = "1.3.6.1.5.5.7.3.1"

const parse = (pem: Buffer, path: string): X509Certificate => {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw new Error(`Cannot use certificate "${path}": it is no certificate in PEM form (${(error as Error).message})`)
  }
}

const howToIssue = "Make one with: weft pki init && weft pki issue weftd --server --host NAME-OR-ADDRESS-OF-THIS-MACHINE\n"
  + "Or name your own with --tls-ca, --tls-cert and --tls-key. There is no plaintext on TCP."

const howToRenew = "Have another one issued: weft pki issue NAME --server --host NAME-OR-ADDRESS-OF-THIS-MACHINE"

const read = (path: string): Buffer => {
  try {
    return readFileSync(path)
  } catch (error) {
    throw unreadable(path, error)
  }
}

const unreadable = (path: string, error: unknown): Error => {
  const { code } = error as NodeJS.ErrnoException
  return new Error(`Cannot read "${path}": ${code === "ENOENT" ? "no such file" : code}. ${howToIssue}`)
}

/** The octets of a key file that nobody but its owner can read. What is checked is what is read: one descriptor. */
const readKey = (path: string): Buffer => {
  let descriptor: number
  try {
    descriptor = openSync(path, "r")
  } catch (error) {
    throw unreadable(path, error)
  }
  try {
    const { mode, uid } = fstatSync(descriptor)
    if ((mode & 0o077) !== 0) {
      throw new Error(`Cannot use key "${path}": others can read it (mode ${(mode & 0o777).toString(8)}). Type: chmod 600 '${path}'`)
    }
    if (uid !== 0 && uid !== process.getuid?.()) {
      throw new Error(`Cannot use key "${path}": it belongs to user ${uid}, who could replace it. Type: chown root '${path}'`)
    }
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
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
    ...material,
    minVersion: "TLSv1.3",
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
      listener.close()
      if (open.size > 0) await once(listener, "drained")
    },
    destroy: () => open.forEach((socket) => socket.destroy())
  }
}

/** Node forgets the address of a socket that is closed. */
const from = (known: WeakMap<object, string>, socket: { readonly _parent?: object }): string => {
  const address = socket._parent === undefined ? undefined : known.get(socket._parent)
  return address === undefined ? "" : ` from ${address}`
}

const refusalLog = (log: (line: string) => void): ((text: string) => void) => {
  let lastMs = -refusalLogMs
  let silent = 0
  return (text) => {
    const nowMs = performance.now()
    if (nowMs - lastMs < refusalLogMs) {
      silent += 1
      return
    }
    log(`access.refused ${text}${silent === 0 ? "" : ` (and ${silent} more)`}`)
    lastMs = nowMs
    silent = 0
  }
}
