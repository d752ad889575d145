/**
 * A certificate authority in a directory, for daemons and their users:
 *
 *     DIR/ca.pem        the authority's certificate, for everybody       DIR/NAME/cert.pem   what NAME shows
 *     DIR/ca-key.pem    its key: whoever has it can be anybody           DIR/NAME/key.pem    NAME's key
 *     DIR/crl.pem       certificates that are void before their time     DIR/NAME/ca.pem     whom NAME believes
 *     DIR/revoked.txt   the same for openssl, to make the next list of   DIR/NAME/crl.pem    a daemon's: whom no more
 *
 * Keys are made here and written with mode 0600 from the first octet; certificates are made by `openssl` from the
 * Debian package of that name, for Node can read certificates but not write them (docs/adr/0009). Nothing that exists
 * is overwritten.
 */

import { execFile } from "node:child_process"
import { generateKeyPairSync, X509Certificate } from "node:crypto"
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { isIP } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { Exit, Failure } from "./command.ts"

export const roles = ["viewer", "operator", "daemon"] as const
export type Role = (typeof roles)[number]

/** What a certificate is good for. At least one of `client` and `server`; a server has hosts, a client a role. */
export interface Purpose {
  readonly client: boolean
  readonly server: boolean
  /** Names and addresses under which clients reach the server. */
  readonly hosts: ReadonlyArray<string>
  readonly role: Role
}

/** A certificate in the directory, as `weft pki show` lists it. */
export interface Entry {
  /** `CA`, or the name it was issued for. */
  readonly name: string
  readonly use: "authority" | "client" | "server" | "client and server" | "unknown"
  readonly role: Role | ""
  readonly hosts: ReadonlyArray<string>
  /** RFC 3339 */
  readonly validFrom: string
  readonly validTo: string
  readonly serial: string
  readonly path: string
  /** What is wrong with its files, or empty. */
  readonly problem: string
}

/** In every daemon's certificate and in no user's: etcd can tell clients by a DNS name only (--client-cert-allowed-hostname). */
const daemonName = "daemon.weft.internal"

const authorityDays = 3650
const dayMs = 86_400_000

/** Names become file names and parts of OpenSSL's configuration. */
const isName = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/.test(name)
const isHost = (host: string): boolean =>
  isIP(host) !== 0 || (host.length <= 253 && /^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*$/.test(host))

/** Makes the authority. @throws {Failure} when there is one already, or the directory cannot be used */
export const init = async (directory: string): Promise<void> => {
  makeDirectory(directory)
  const certificate = join(directory, "ca.pem")
  const key = join(directory, "ca-key.pem")
  for (const path of [certificate, key]) {
    if (existsSync(path)) {
      throw exists(path, "every certificate it has issued would be void", "Another one goes into another folder: weft pki init --dir DIR")
    }
  }
  writeKey(key)
  try {
    await certify(
      ["-key", key, "-days", String(authorityDays), "-out", certificate],
      "weft CA",
      ["basicConstraints = critical, CA:TRUE, pathlen:0", "keyUsage = critical, keyCertSign, cRLSign", "subjectKeyIdentifier = hash"]
    )
  } catch (error) {
    rmSync(key)
    throw error
  }
}

/**
 * Issues a certificate into `directory/name`.
 *
 * @param days from now
 * @returns that folder
 * @throws {Failure} when the name is taken or bad, or there is no authority
 */
export const issue = async (directory: string, name: string, purpose: Purpose, days: number): Promise<string> => {
  checkRequest(name, purpose, days)
  const authority = readAuthority(directory)
  const lastDays = Math.floor((Date.parse(authority.validTo) - Date.now()) / dayMs)
  if (days > lastDays) {
    throw new Failure(
      Exit.usage,
      `Cannot issue "${name}" for ${days} days: the authority itself ends in ${lastDays}`,
      "Give fewer with --days, or start a new authority: weft pki init --dir DIR"
    )
  }
  const folder = join(directory, name)
  if (existsSync(folder)) {
    throw exists(folder, "its key would be lost", `To renew it, remove or move that folder first: mv '${folder}' '${folder}.old'`)
  }
  makeDirectory(folder)
  try {
    const key = join(folder, "key.pem")
    writeKey(key)
    const authorityArguments = ["-CA", join(directory, "ca.pem"), "-CAkey", join(directory, "ca-key.pem")]
    await certify(
      [...authorityArguments, "-key", key, "-days", String(days), "-out", join(folder, "cert.pem")],
      name,
      extensionsOf(purpose)
    )
    copyFileSync(join(directory, "ca.pem"), join(folder, "ca.pem"))
    const list = join(directory, "crl.pem")
    if (purpose.server && existsSync(list)) copyFileSync(list, join(folder, "crl.pem"))
  } catch (error) {
    rmSync(folder, { recursive: true })
    throw error
  }
  return folder
}

const checkRequest = (name: string, { client, hosts, role, server }: Purpose, days: number): void => {
  if (!isName(name)) {
    throw new Failure(Exit.usage, `Cannot issue for "${name}": a name has letters, digits and . _ @ - and at most 63 of them`)
  }
  if (!Number.isInteger(days) || days < 1 || days > authorityDays) {
    throw new Failure(Exit.usage, `Cannot issue "${name}" for ${days} days: 1 to ${authorityDays} are possible`)
  }
  const bad = hosts.find((host) => !isHost(host))
  if (bad !== undefined) throw new Failure(Exit.usage, `Cannot issue for host "${bad}": it is neither a name nor an address`)
  if (server && hosts.length === 0) {
    throw new Failure(
      Exit.usage,
      `Cannot issue "${name}" for a server without --host: clients compare it with what they connect to`,
      "Name it as they will, by name and by address: --host lab1.example.net --host 192.0.2.7"
    )
  }
  if (!server && hosts.length > 0) throw new Failure(Exit.usage, `Cannot issue "${name}": --host is for servers`, "Add --server")
  if (role === "daemon" && !(server && client)) {
    throw new Failure(Exit.usage, `Cannot issue "${name}" for a daemon: a daemon is server and client at once`)
  }
  if (!server && !client) throw new Failure(Exit.usage, `Cannot issue "${name}": it is for neither a client nor a server`)
}

const extensionsOf = ({ client, hosts, role, server }: Purpose): ReadonlyArray<string> => {
  const uses = [...(client ? ["clientAuth"] : []), ...(server ? ["serverAuth"] : [])]
  const all = role === "daemon" ? [...hosts, daemonName] : hosts
  const names = [...(client ? [`URI:weft:role:${role}`] : []), ...all.map((host) => `${isIP(host) === 0 ? "DNS" : "IP"}:${host}`)]
  return [
    "basicConstraints = critical, CA:FALSE",
    "keyUsage = critical, digitalSignature",
    `extendedKeyUsage = ${uses.join(", ")}`,
    "subjectKeyIdentifier = hash",
    "authorityKeyIdentifier = keyid",
    `subjectAltName = ${names.join(", ")}`
  ]
}

/** Lists the authority and what it has issued, in the order of names. @throws {Failure} when there is no authority */
export const list = (directory: string): ReadonlyArray<Entry> => {
  const authority = readAuthority(directory)
  const revoked = new Set(readRevoked(directory).map(({ serial }) => serial))
  const names = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(directory, entry.name, "cert.pem")))
    .map(({ name }) => name)
    .sort()
  return [
    entryOf("CA", authority, join(directory, "ca.pem"), join(directory, "ca-key.pem")),
    ...names.map((name) => {
      const path = join(directory, name, "cert.pem")
      const certificate = parse(path)
      const entry = entryOf(name, certificate, path, join(directory, name, "key.pem"))
      if (revoked.has(certificate.serialNumber)) return { ...entry, problem: "revoked" }
      const foreign = !certificate.verify(authority.publicKey)
      return foreign && entry.problem === "" ? { ...entry, problem: "not issued by this authority" } : entry
    })
  ]
}

/** A certificate that is void before its time. */
export interface Revoked {
  /** As Node writes it: hexadecimal, capitals. */
  readonly serial: string
  /** The whole line in the form of openssl's index, ca(1). */
  readonly line: string
}

/** What has been revoked so far, oldest first. */
export const readRevoked = (directory: string): ReadonlyArray<Revoked> => {
  const path = join(directory, revokedFile)
  if (!existsSync(path)) return []
  const lines = readFileSync(path, "utf8").split("\n")
  return lines.flatMap((line) => (line === "" ? [] : { serial: line.split("\t")[3] ?? "", line }))
}

export const revokedFile = "revoked.txt"

/** Extended key usages, RFC 5280 4.2.1.12. */
const clientAuth = "1.3.6.1.5.5.7.3.2"
const serverAuth = "1.3.6.1.5.5.7.3.1"

const entryOf = (name: string, certificate: X509Certificate, path: string, key: string): Entry => {
  const usages = (certificate.keyUsage ?? []) as ReadonlyArray<string>
  const [client, server] = [usages.includes(clientAuth), usages.includes(serverAuth)]
  const names = (certificate.subjectAltName ?? "").split(", ")
  const role = names.find((each) => each.startsWith("URI:weft:role:"))?.slice("URI:weft:role:".length)
  return {
    name,
    use: certificate.ca ? "authority" : client && server ? "client and server" : client ? "client" : server ? "server" : "unknown",
    role: roles.find((each) => each === role) ?? "",
    hosts: names.flatMap((each) => /^(?:DNS|IP Address):(.*)$/.exec(each)?.[1] ?? []).filter((host) => host !== daemonName),
    validFrom: new Date(certificate.validFrom).toISOString(),
    validTo: new Date(certificate.validTo).toISOString(),
    serial: certificate.serialNumber,
    path,
    problem: keyProblem(key)
  }
}

/** What is wrong with a key file, or empty. A key may be elsewhere: then there is nothing to say. */
export const keyProblem = (path: string): string => {
  if (!existsSync(path)) return ""
  const { mode } = statSync(path)
  return (mode & 0o077) === 0 ? "" : `others can read its key: chmod 600 '${path}'`
}

export const readAuthority = (directory: string): X509Certificate => {
  const path = join(directory, "ca.pem")
  try {
    return parse(path)
  } catch (error) {
    if (!(error instanceof Failure) || !error.message.endsWith("no such file")) throw error
    throw new Failure(
      Exit.failed,
      `There is no certificate authority in ${directory}`,
      `Make one: weft pki init --dir ${directory}\nOr name another folder with --dir.`
    )
  }
}

export const parse = (path: string): X509Certificate => {
  try {
    return new X509Certificate(readFileSync(path))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === "ENOENT" ? "no such file" : code === "EACCES" ? "permission denied" : `no certificate in PEM form (${message})`
    throw new Failure(Exit.failed, `Cannot read certificate "${path}": ${reason}`, code === "EACCES" ? "Type it with sudo." : undefined)
  }
}

const exists = (path: string, loss: string, hint: string): Failure =>
  new Failure(Exit.failed, `"${path}" is there already; if it were replaced, ${loss}`, hint)

const makeDirectory = (path: string): void => {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Failure(
      Exit.failed,
      `Cannot make the folder "${path}": ${code}`,
      code === "EACCES" ? "Type it with sudo, or name another folder with --dir." : undefined
    )
  }
  const { mode } = statSync(path)
  if ((mode & 0o077) !== 0) {
    throw new Failure(
      Exit.failed,
      `Cannot keep keys in "${path}": others may open it (mode ${(mode & 0o777).toString(8)})`,
      `Type: chmod 700 '${path}'`
    )
  }
}

/** A new P-256 key in a new file. */
const writeKey = (path: string): void => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" })
  try {
    writeFileSync(path, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600, flag: "wx" })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Failure(
      Exit.failed,
      `Cannot write key "${path}": ${code}`,
      code === "EACCES" ? "Type it with sudo, or name another folder with --dir." : undefined
    )
  }
}

/** Has `openssl` make one certificate. */
const certify = (words: ReadonlyArray<string>, commonName: string, extensions: ReadonlyArray<string>): Promise<void> => {
  const lines = ["[req]", "distinguished_name = name", "prompt = no", "[name]", `CN = ${commonName}`, "[extensions]", ...extensions]
  const fixed = ["req", "-x509", "-new", "-sha256", "-extensions", "extensions"]
  return openssl(`make a certificate for "${commonName}"`, { "openssl.cnf": lines }, (folder) => [
    ...fixed,
    ...["-config", join(folder, "openssl.cnf")],
    ...words
  ])
}

/**
 * Runs `openssl`. What it shall read goes through a folder that only we can read.
 *
 * @param purpose for the message when it fails: `make a certificate for "a"`
 * @param files lines of the files in that folder, by name
 * @throws {Failure} with what openssl says
 */
export const openssl = async (
  purpose: string,
  files: Readonly<Record<string, ReadonlyArray<string>>>,
  words: (folder: string) => ReadonlyArray<string>
): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "weft-pki-"))
  try {
    for (const [name, lines] of Object.entries(files)) writeFileSync(join(folder, name), `${lines.join("\n")}\n`, { mode: 0o600 })
    await promisify(execFile)("openssl", words(folder), { env: { PATH: process.env["PATH"] } })
  } catch (error) {
    const { code, stderr } = error as { readonly code?: string | number; readonly stderr?: string }
    if (code === "ENOENT") {
      throw new Failure(Exit.failed, `Cannot ${purpose}: the program openssl is not installed`, "Type: sudo apt-get install openssl")
    }
    throw new Failure(Exit.failed, `Cannot ${purpose}: openssl failed`, String(stderr ?? error).trim())
  } finally {
    rmSync(folder, { recursive: true })
  }
}
