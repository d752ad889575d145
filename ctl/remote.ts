/**
 * A daemon on the network: `HOST:PORT`, spoken to with mutual TLS. Before gRPC comes into play one connection is made by
 * hand, for gRPC says "unavailable" to whatever goes wrong, and a person needs to know what it was and what to do.
 */

import { X509Certificate } from "node:crypto"
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { checkServerIdentity, connect as connectTls, createSecureContext } from "node:tls"
import type { PeerCertificate, TLSSocket } from "node:tls"
import type * as Grpc from "@grpc/grpc-js"
import { whenSilentFor } from "../timing/silence.ts"
import { Exit, Failure } from "./command.ts"
import type { Endpoint } from "./endpoint.ts"

/** What the client shows and whom it believes, from a folder with `ca.pem`, `cert.pem` and `key.pem`. */
export interface Identity {
  readonly directory: string
  readonly ca: Buffer
  readonly cert: Buffer
  readonly key: Buffer
}

/** How long the network may take to connect, and then the daemon to speak TLS: a machine that is up may still be busy. */
export interface Patience {
  readonly connectMs: number
  readonly answerMs: number
}

const usualPatience: Patience = { connectMs: 5000, answerMs: 20_000 }

/** The folder of the user's certificates: `--pki`, `WEFT_PKI`, or `~/.weft/pki`. */
export const identityDirectory = (): string => process.env["WEFT_PKI"] || join(homedir(), ".weft/pki")

/** Reads the user's certificate. @throws {Failure} exit 3, with what is missing or wrong */
export const readIdentity = (directory: string): Identity => {
  const path = (name: string): string => join(directory, name)
  const identity = { directory, ca: read(path("ca.pem")), cert: read(path("cert.pem")), key: readKey(path("key.pem")) }
  const certificate = parse(identity.cert, path("cert.pem"))
  parse(identity.ca, path("ca.pem"))
  const now = Date.now()
  if (Date.parse(certificate.validTo) < now) {
    throw unusable(
      path("cert.pem"),
      `your certificate has expired ${since(certificate.validTo)}`,
      "Have a new one issued: weft pki issue NAME"
    )
  }
  if (Date.parse(certificate.validFrom) > now) {
    throw unusable(
      path("cert.pem"),
      `your certificate is valid only from ${certificate.validFrom}`,
      "Is the clock of this machine right? Type: date"
    )
  }
  try {
    createSecureContext(identity)
  } catch (error) {
    throw unusable(
      path("key.pem"),
      `it does not fit cert.pem (${(error as Error).message})`,
      "Copy both from the same folder of weft pki issue."
    )
  }
  return identity
}

const unusable = (path: string, reason: string, hint: string): Failure =>
  new Failure(Exit.unreachable, `Cannot use "${path}": ${reason}`, hint)

const howToGet = "For a daemon on the network you need a certificate. Where the authority is kept: weft pki issue NAME\n"
  + "Copy its ca.pem, cert.pem and key.pem to ~/.weft/pki, or name their folder with --pki or WEFT_PKI."

const unreadable = (path: string, error: unknown): Failure => {
  const { code } = error as NodeJS.ErrnoException
  return new Failure(
    Exit.unreachable,
    `Cannot read "${path}": ${code === "ENOENT" ? "no such file" : code === "EACCES" ? "permission denied" : code}`,
    howToGet
  )
}

const read = (path: string): Buffer => {
  try {
    return readFileSync(path)
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** The octets of a key that nobody but its owner can read; what is checked is what is read. */
const readKey = (path: string): Buffer => {
  let descriptor: number
  try {
    descriptor = openSync(path, "r")
  } catch (error) {
    throw unreadable(path, error)
  }
  try {
    const { mode } = fstatSync(descriptor)
    if ((mode & 0o077) !== 0) {
      throw unusable(path, `others can read this key (mode ${(mode & 0o777).toString(8)})`, `Type: chmod 600 '${path}'`)
    }
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

const parse = (pem: Buffer, path: string): X509Certificate => {
  try {
    return new X509Certificate(pem)
  } catch {
    throw unusable(path, "it is no certificate in PEM form", howToGet)
  }
}

const since = (date: string): string => {
  const days = Math.floor((Date.now() - Date.parse(date)) / 86_400_000)
  return `on ${date}${days === 0 ? "" : `, ${days} ${days === 1 ? "day" : "days"} ago`}`
}

/** Connects once and goes away again. Resolves when a weftd that accepts our certificate has answered. */
export const knock = async (
  address: string,
  { host, port }: Endpoint,
  identity: Identity,
  patience: Patience = usualPatience
): Promise<void> => {
  const socket = connectTls({
    host,
    port,
    ca: identity.ca,
    cert: identity.cert,
    key: identity.key,
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
    // Judged below, where the certificate can still be looked at. Nothing is sent before.
    rejectUnauthorized: false,
    checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate)
  })
  try {
    await answered({ address, host, identity, patience }, socket)
  } finally {
    socket.destroy()
  }
}

interface Knock {
  readonly address: string
  readonly host: string
  readonly identity: Identity
  readonly patience: Patience
}

/** A server of TLS 1.3 looks at the client's certificate last: only its first octets show that it has accepted it. */
const answered = ({ address, host, identity, patience }: Knock, socket: TLSSocket): Promise<void> =>
  new Promise((resolve, reject) => {
    let secured = false
    let stopWaiting = whenSilentFor(patience.connectMs, () => reject(timedOut(address, patience)))
    const end = (failure?: Failure): void => {
      stopWaiting()
      if (failure === undefined) resolve()
      else reject(failure)
    }
    socket.once("connect", () => {
      stopWaiting()
      stopWaiting = whenSilentFor(patience.answerMs, () => reject(mute(address, patience)))
    })
    socket.once("secureConnect", () => {
      secured = true
      if (!socket.authorized) end(distrusted(address, host, socket.getPeerCertificate(), String(socket.authorizationError), identity))
    })
    socket.once("data", () => end())
    socket.on("error", (error: NodeJS.ErrnoException) => end(failed({ address, host, identity, patience }, error, secured)))
    socket.once("close", () => end(secured ? refused(address, identity) : noTls(address)))
  })

const unreachable = (address: string, reason: string, hint: string): Failure =>
  new Failure(Exit.unreachable, `Cannot reach the daemon at ${address}: ${reason}`, hint)

const timedOut = (address: string, { connectMs }: Patience): Failure =>
  unreachable(
    address,
    `no answer within ${connectMs / 1000} s`,
    "Is the machine up, and does a firewall let you in? On it, weftd must run with: --listen ADDR:PORT"
  )

/** The kernel there has connected us, and nobody says anything. */
const mute = (address: string, { answerMs }: Patience): Failure =>
  unreachable(
    address,
    `it took the connection and said nothing for ${answerMs / 1000} s`,
    "Is it the port that weftd was given with --listen? If it is, that machine may be overloaded: try again later."
  )

const noTls = (address: string): Failure =>
  unreachable(address, "what listens there does not speak TLS", "Is it the port that weftd was given with --listen?")

/** We do not believe the daemon. `reason`: OpenSSL's name for it. */
const distrusted = (address: string, host: string, certificate: PeerCertificate, reason: string, identity: Identity): Failure => {
  switch (reason) {
    case "CERT_HAS_EXPIRED":
      return unreachable(
        address,
        `its certificate has expired ${since(certificate.valid_to)}`,
        "There, have a new one issued and start weftd again: weft pki issue NAME --server --host HOST"
      )
    case "CERT_NOT_YET_VALID":
      return unreachable(
        address,
        `its certificate is valid only from ${certificate.valid_from}`,
        "Do both machines have the right time? Type: date"
      )
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return unreachable(
        address,
        `its certificate is not for ${host} but for ${(certificate.subjectaltname ?? "nobody").replace(/(DNS|IP Address):/g, "")}`,
        `Use one of these names, or have one issued for this one: weft pki issue NAME --server --host ${host}`
      )
    default:
      return unreachable(
        address,
        `its certificate does not come from the authority in ${join(identity.directory, "ca.pem")} (${reason})`,
        "If this is the right machine, your ca.pem is another authority's: name the right folder with --pki or WEFT_PKI."
      )
  }
}

/** The daemon does not believe us; it does not say why, so as not to tell strangers. */
const refused = (address: string, { directory }: Identity): Failure =>
  unreachable(
    address,
    `it refused the certificate in ${join(directory, "cert.pem")}`,
    "It accepts certificates of its own authority that are for clients and have not expired by its clock; its log says which it was.\n"
      + "Another certificate: --pki DIR or WEFT_PKI."
  )

const failed = ({ address, identity, patience }: Knock, error: NodeJS.ErrnoException, secured: boolean): Failure => {
  const code = error.code ?? error.message
  switch (code) {
    case "ECONNREFUSED":
      return unreachable(address, "nobody listens on this port", "Start it there with: sudo weftd --listen ADDR:PORT")
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return unreachable(address, "there is no such host name", "Check the name, or use its address.")
    case "ETIMEDOUT":
      return timedOut(address, patience)
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return unreachable(address, `there is no way to this host (${code})`, "Check the address and your routes: ip route get ADDRESS")
    case "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION":
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
      return unreachable(address, "what listens there does not speak TLS 1.3", "Is it the port that weftd was given with --listen?")
    case "ECONNRESET":
    case "EPIPE":
      return secured ? refused(address, identity) : noTls(address)
    default:
      if (/WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST|RECORD/.test(code)) return noTls(address)
      if (/ALERT/.test(code) && /CERT|UNKNOWN_CA/.test(code)) return refused(address, identity)
      return unreachable(address, error.message, "Is it the port that weftd was given with --listen?")
  }
}

/** gRPC's credentials for this daemon: the same checks as in `knock`, and enforced. */
export const credentialsFor = (grpc: typeof Grpc, { host }: Endpoint, { ca, cert, key }: Identity): Grpc.ChannelCredentials =>
  grpc.credentials.createFromSecureContext(createSecureContext({ ca, cert, key, minVersion: "TLSv1.3" }), {
    // grpc-js compares with the name below instead.
    checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate)
  })

export const channelOptions: Grpc.ChannelOptions = {
  // RFC 6066 3: the name that TLS sends must not be an address. Nobody looks at it here, so it is always this one.
  "grpc.ssl_target_name_override": "weftd",
  // A daemon that vanishes is noticed within a minute, also by a command that only waits.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 20_000,
  // Connections go where `knock` went: not through a proxy, and without asking the DNS for a configuration.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1
}
