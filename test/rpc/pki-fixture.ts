/**
 * Certificates of every kind, good and bad, in a temporary folder; and a server on loopback that has one of them.
 *
 *   const pki = await makePki()
 *   const remote = await startRemote(pki, services)
 *   await call(remote.port, pki.viewer, "/weft.v1.Labs/List")     "OK", the name of a status, or "no answer"
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Http2 from "node:http2"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as grpc from "@grpc/grpc-js"
import * as loader from "@grpc/proto-loader"
import { init, issue } from "../../ctl/authority.ts"
import { loaderOptions, type RemoteServing, serveTls, type Services } from "../../daemon/rpc/server.ts"
import { readTlsFiles } from "../../daemon/rpc/tls-files.ts"

/** What one end of a connection has. Without `cert` it shows none. */
export interface Credentials {
  readonly folder: string
  readonly ca: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

const load = (folder: string): Credentials => {
  const [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map((name) => readFileSync(join(folder, name)))
  return { folder, ca: ca!, cert: cert!, key: key! }
}

export interface Pki {
  readonly directory: string
  readonly server: Credentials
  readonly viewer: Credentials
  readonly operator: Credentials
  /** For 127.0.0.1, or for the host "h1". */
  readonly daemon: Credentials
  readonly noCertificate: Credentials
  readonly remove: () => void
  /** A certificate of the same authority with these lines of extensions, over since yesterday with -1 `days`. */
  readonly odd: (name: string, extensions: ReadonlyArray<string>, days?: number) => Credentials
  /** The same names from an authority that the server does not know, with the server's authority as `ca.pem`. */
  readonly stranger: Credentials
}

export const extensions = {
  client: "extendedKeyUsage = clientAuth",
  server: "extendedKeyUsage = serverAuth",
  operator: "subjectAltName = URI:weft:role:operator"
} as const

export const makePki = async (): Promise<Pki> => {
  const root = mkdtempSync(join(tmpdir(), "weft-pki-test-"))
  const [directory, other] = [join(root, "pki"), join(root, "other")]
  await Promise.all([init(directory), init(other)])
  const client = { client: true, server: false, hosts: [], role: "viewer" } as const
  const server = { client: false, server: true, hosts: ["localhost", "127.0.0.1"], role: "viewer" } as const
  await issue(directory, "server", server, 30)
  await issue(directory, "viewer", client, 30)
  await issue(directory, "operator", { ...client, role: "operator" }, 30)
  await issue(directory, "daemon", { client: true, server: true, hosts: ["h1", "127.0.0.1"], role: "daemon" }, 30)
  await issue(other, "operator", { ...client, role: "operator" }, 30)
  const ca = readFileSync(join(directory, "ca.pem"))
  writeFileSync(join(other, "operator/ca.pem"), ca)
  return {
    directory,
    server: load(join(directory, "server")),
    viewer: load(join(directory, "viewer")),
    operator: load(join(directory, "operator")),
    daemon: load(join(directory, "daemon")),
    noCertificate: { folder: directory, ca },
    stranger: load(join(other, "operator")),
    odd: (name, lines, days = 30) => {
      sign(directory, name, lines, days)
      return load(join(directory, name))
    },
    remove: () => rmSync(root, { recursive: true })
  }
}

/** `weft pki` makes no bad certificates, so these come straight from openssl. */
const sign = (directory: string, name: string, lines: ReadonlyArray<string>, days: number): void => {
  const folder = join(directory, name)
  const path = (file: string): string => join(folder, file)
  mkdirSync(folder, { mode: 0o700 })
  writeFileSync(path("ca.pem"), readFileSync(join(directory, "ca.pem")))
  writeFileSync(path("cnf"), ["[req]", "distinguished_name = dn", "prompt = no", "[dn]", `CN = ${name}`, "[ext]", ...lines, ""].join("\n"))
  const openssl = (...words: ReadonlyArray<string>): void => void execFileSync("openssl", words, { stdio: "pipe" })
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("key.pem")]
  openssl("req", "-new", ...key, "-config", path("cnf"), "-out", path("csr"))
  const authority = ["-CA", join(directory, "ca.pem"), "-CAkey", join(directory, "ca-key.pem"), "-set_serial", "1", "-days", String(days)]
  openssl("x509", "-req", "-in", path("csr"), ...authority, "-extfile", path("cnf"), "-extensions", "ext", "-out", path("cert.pem"))
}

export const definition = loader.loadSync(fileURLToPath(new URL("../../proto/weft/v1/weft.proto", import.meta.url)), loaderOptions)

/** Services of the proto file by full name. */
export const servicesOf = (from: loader.PackageDefinition): ReadonlyArray<readonly [string, grpc.ServiceDefinition]> =>
  Object.entries(from).flatMap(([name, entry]) => ("format" in entry ? [] : [[name, entry as grpc.ServiceDefinition] as const]))

/** Every method of the proto file, answering at once with nothing; `ran` gets the path of each that is called. */
export const hollowServices = (ran: Array<string>): Services => {
  const methods = servicesOf(definition).map(([name, service]) => [
    name.replace("weft.v1.", ""),
    Object.fromEntries(
      Object.entries(service).map(([method, { path, responseStream }]) => [
        method,
        (call: grpc.ServerWritableStream<unknown, unknown>, done: (error: null, answer: object) => void) => {
          ran.push(path)
          if (responseStream) call.end()
          else done(null, {})
        }
      ])
    )
  ])
  return Object.fromEntries(methods) as Services
}

export interface Remote extends RemoteServing {
  readonly port: number
  readonly log: Array<string>
}

/** Serves on a free port of 127.0.0.1 with the certificate of `server`. */
export const startRemote = async (server: Credentials, services: Services): Promise<Remote> => {
  const files = { ca: join(server.folder, "ca.pem"), cert: join(server.folder, "cert.pem"), key: join(server.folder, "key.pem") }
  const log: Array<string> = []
  const serving = await serveTls({ host: "127.0.0.1", port: 0 }, readTlsFiles(files), services, (line) => log.push(line))
  return { ...serving, port: serving.endpoint.port, log }
}

/** A gRPC message of no octets: not compressed, length 0. */
export const emptyMessage = Buffer.alloc(5)

/** One call over a connection of its own, with the path exactly as given, for those that the server lets in. */
export const call = async (port: number, { ca, cert, key }: Credentials, path: string): Promise<string> => {
  const session = Http2.connect(`https://127.0.0.1:${port}`, { ca, ...(cert && key ? { cert, key } : {}) })
  try {
    return await new Promise<string>((resolve) => {
      session.on("error", () => resolve("no answer"))
      const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" }
      const request = session.request(headers)
      const take = (from: Http2.IncomingHttpHeaders): void => {
        const code = from["grpc-status"]
        if (code !== undefined) resolve(grpc.status[Number(code)] ?? String(code))
        else if (from[":status"] !== undefined && Number(from[":status"]) !== 200) resolve(`HTTP ${from[":status"]}`)
      }
      request.on("response", take).on("trailers", take)
      request.on("error", () => {}).on("close", () => resolve("no answer"))
      // A method that streams for ever has let us in when the first octets come.
      request.on("data", () => resolve("OK"))
      request.end(emptyMessage)
    })
  } finally {
    session.destroy()
  }
}
