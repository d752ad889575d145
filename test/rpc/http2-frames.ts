/** HTTP/2 by hand (RFC 9113), to say what a well-behaved client cannot; and a TLS connection to say it over. */
import { connect, type TLSSocket } from "node:tls"
import type { Credentials } from "./pki-fixture.ts"

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

/** RFC 9113 6. */
export const Type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8, continuation: 9 } as const
export const Flag = { endStream: 1, endHeaders: 4 } as const

export const frame = (type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer => {
  const header = Buffer.alloc(9)
  header.writeUIntBE(payload.length, 0, 3)
  header[3] = type
  header[4] = flags
  header.writeUInt32BE(stream, 5)
  return Buffer.concat([header, payload])
}

/** RFC 7541 6.2.2: literals without indexing, names and values of at most 126 octets. */
export const headerBlock = (headers: Readonly<Record<string, string>>): Buffer =>
  Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value)
    ])
  )

export const requestHeaders = (path: string, others: Readonly<Record<string, string>> = {}): Buffer =>
  headerBlock({
    ":method": "POST",
    ":scheme": "https",
    ":path": path,
    ":authority": "weftd",
    "content-type": "application/grpc",
    ...others
  })

export const opening = Buffer.concat([preface, frame(Type.settings, 0, 0)])

/** A gRPC message: flag, length, octets. */
export const message = (octets: Uint8Array, flag = 0, length = octets.length): Buffer => {
  const header = Buffer.alloc(5)
  header[0] = flag
  header.writeUInt32BE(length, 1)
  return Buffer.concat([header, octets])
}

/** A whole unary call on stream 1, after `opening`. */
export const unaryCall = (path: string): Buffer =>
  Buffer.concat([
    frame(Type.headers, Flag.endHeaders, 1, requestHeaders(path)),
    frame(Type.data, Flag.endStream, 1, message(new Uint8Array()))
  ])

export const dial = async (port: number, { ca, cert, key }: Credentials): Promise<TLSSocket> => {
  const socket = connect({ host: "127.0.0.1", port, ca, ALPNProtocols: ["h2"], ...(cert && key ? { cert, key } : {}) })
  socket.on("error", () => {})
  await new Promise<void>((resolve) => socket.once("secureConnect", resolve).once("close", () => resolve()))
  return socket
}

/** Octets that come until the other end hangs up. */
export const received = async (socket: TLSSocket): Promise<number> => {
  let octets = 0
  socket.on("data", (chunk: Uint8Array) => (octets += chunk.length))
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()))
  return octets
}
