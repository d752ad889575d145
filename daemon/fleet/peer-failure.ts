/**
 * Why another host's daemon does not answer, in words. gRPC says "unavailable" to whatever goes wrong, so one connection
 * is made by hand: it tells a machine that is down from a certificate that is over.
 */
import { checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from "node:tls"
import { whenSilentFor } from "../../timing/silence.ts"
import { certificateKey } from "../wire/certificate-list.ts"
import { roleOf } from "../wire/certificate-role.ts"

/** What a daemon shows, and whom it believes: PEM. `rpc/tls.ts` reads it. */
export interface Material {
  readonly ca: Buffer
  readonly cert: Buffer
  readonly key: Buffer
  /** Certificates that are not believed any more: keys of `wire/certificate-list.ts`. */
  readonly revoked?: ReadonlySet<string>
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** Another host and where its daemon listens. */
export interface Peer {
  readonly name: string
  /** `ADDR:PORT` or `[ADDR]:PORT`; empty: it does not listen. */
  readonly endpoint: string
}

/** Why no call can be made to a host; one sentence on what is wrong, one on what to do. */
export interface Failure {
  readonly reason: string
  readonly remedy: string
}

/** For the network to connect. */
const connectMs = 3000
/** For the daemon to speak TLS, once connected: its host is up, and may be busy. */
const answerMs = 10_000

/** `undefined` when the text is no endpoint. */
export const addressOf = (endpoint: string): Address | undefined => {
  const match = /^(?:\[([0-9a-f:.%]+)\]|([^\s:/[\]]+)):(\d{1,5})$/i.exec(endpoint)
  const port = Number(match?.[3])
  return match === null || port < 1 || port > 65_535 ? undefined : { host: match[1] ?? match[2]!, port }
}

const isRevoked = "certificate revoked"
const isNoDaemon = "no daemon's certificate"

/**
 * Whether this is the certificate of the daemon of `peer`: of a daemon at all, and for its address or its name.
 * That it comes from our authority, TLS has verified.
 */
export const notItsCertificate = (
  peer: Peer,
  address: Address,
  certificate: PeerCertificate,
  revoked: Material["revoked"]
): Error | undefined => {
  if (revoked !== undefined && revoked.size > 0 && revoked.has(certificateKey(certificate.raw) ?? "")) return new Error(isRevoked)
  if (roleOf(certificate.subjectaltname ?? "") !== "daemon") return new Error(isNoDaemon)
  const wrong = checkServerIdentity(address.host, certificate)
  return wrong === undefined || checkServerIdentity(peer.name, certificate) === undefined ? undefined : wrong
}

/** Connects once and goes away again; `undefined`: the daemon of `peer` answers and lets us in. */
export const diagnose = (peer: Peer, material: Material): Promise<Failure | undefined> => {
  const address = addressOf(peer.endpoint)
  if (address === undefined) return Promise.resolve(notListening(peer))
  const { ca, cert, key, revoked } = material
  const socket = connect({
    ...address,
    ca,
    cert,
    key,
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
    // Judged below, where the certificate can still be looked at. Nothing is sent before.
    rejectUnauthorized: false,
    checkServerIdentity: (_, certificate) => notItsCertificate(peer, address, certificate, revoked)
  })
  return answerOf(socket, peer).finally(() => socket.destroy())
}

/** A server of TLS 1.3 looks at the client's certificate last: only its first octets show that it has accepted it. */
const answerOf = (socket: TLSSocket, peer: Peer): Promise<Failure | undefined> =>
  new Promise((resolve) => {
    let secured = false
    let stopWaiting = whenSilentFor(connectMs, () => resolve(silent))
    const end = (failure?: Failure): void => {
      stopWaiting()
      resolve(failure)
    }
    socket.once("connect", () => {
      stopWaiting()
      stopWaiting = whenSilentFor(answerMs, () => resolve(mute))
    })
    socket.once("secureConnect", () => {
      secured = true
      if (!socket.authorized) end(distrusted(peer, socket.getPeerCertificate(), String(socket.authorizationError)))
    })
    socket.once("data", () => end())
    socket.on("error", (error: NodeJS.ErrnoException) => end(failed(error, secured)))
    socket.once("close", () => end(secured ? refused : noTls))
  })

export const notListening = ({ endpoint, name }: Peer): Failure =>
  endpoint === ""
    ? { reason: "it does not listen for other daemons", remedy: `On ${name}, start weftd with --listen ADDR:PORT` }
    : { reason: `its endpoint "${endpoint}" is no ADDR:PORT`, remedy: `On ${name}, start weftd with --listen ADDR:PORT` }

const silent: Failure = {
  reason: `no answer within ${connectMs / 1000} s`,
  remedy: "Is the host up, and does a firewall let daemons talk to each other?"
}
const mute: Failure = {
  reason: `it took the connection and said nothing for ${answerMs / 1000} s`,
  remedy: "Its weftd hangs, or the host is overloaded"
}
const noTls: Failure = {
  reason: "what listens there does not speak TLS 1.3",
  remedy: "Is it the port that its weftd was given with --listen?"
}
const refused: Failure = {
  reason: "it refused this daemon's certificate",
  remedy: "It wants one of its own authority, not expired and not revoked: weft pki issue NAME --role daemon --host ADDR"
}

/** We do not believe the far daemon. `reason`: OpenSSL's name for it. */
const distrusted = ({ name }: Peer, certificate: PeerCertificate, reason: string): Failure => {
  const renew = `On ${name}, have another one issued: weft pki issue NAME --role daemon --host ADDR`
  switch (reason) {
    case "CERT_HAS_EXPIRED":
      return { reason: `its certificate has expired (${certificate.valid_to})`, remedy: renew }
    case "CERT_NOT_YET_VALID":
      return { reason: `its certificate is valid only from ${certificate.valid_from}`, remedy: "Do both hosts have the right time?" }
    case isRevoked:
      return { reason: "its certificate is revoked", remedy: renew }
    case isNoDaemon:
      return { reason: "its certificate is not a daemon's: it needs URI:weft:role:daemon", remedy: renew }
    case "ERR_TLS_CERT_ALTNAME_INVALID": {
      const names = (certificate.subjectaltname ?? "").split(", ").flatMap((name) => /^(?:DNS|IP Address):(.*)$/.exec(name)?.[1] ?? [])
      return { reason: `its certificate is not for this address but for ${names.join(", ") || "nobody"}`, remedy: renew }
    }
    default:
      return {
        reason: `its certificate does not come from our authority (${reason})`,
        remedy: "All hosts need certificates of one authority: weft pki issue NAME --role daemon --host ADDR"
      }
  }
}

const failed = (error: NodeJS.ErrnoException, secured: boolean): Failure => {
  const code = error.code ?? error.message
  switch (code) {
    case "ECONNREFUSED":
      return { reason: "nobody listens there", remedy: "Its weftd does not run, or runs without --listen; its labs go on meanwhile" }
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return { reason: `there is no way to it (${code})`, remedy: "Is the underlay up? Type: ip route get ADDR" }
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return { reason: "there is no such host name", remedy: "Give its weftd an address with --listen" }
    case "ETIMEDOUT":
      return silent
    case "ECONNRESET":
    case "EPIPE":
      return secured ? refused : noTls
    default:
      if (/ALERT/.test(code) && /CERT|UNKNOWN_CA/.test(code)) return refused
      if (/WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST|RECORD|PROTOCOL/.test(code)) return noTls
      return { reason: error.message, remedy: "The log of its weftd may say more" }
  }
}
