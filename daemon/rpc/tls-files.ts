/**
 * The files of the network's door: authority, certificate, key, and who is let in no more. They are read again when they
 * change, so that a certificate is renewed and a lost key shut out while the daemon runs.
 */
import { X509Certificate } from "node:crypto"
import { closeSync, existsSync, fstatSync, openSync, readFileSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { createSecureContext } from "node:tls"
import { type CertificateKey, revokedBy } from "../wire/certificate-list.ts"

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
  /** Revoked certificates, as PEM lists; absent: crl.pem beside `ca`, if it is there. */
  readonly crl?: string
}

export interface TlsMaterial {
  readonly ca: Buffer
  readonly cert: Buffer
  readonly key: Buffer
  /** Clients and daemons that are not believed any more: keys of `wire/certificate-list.ts`. */
  readonly revoked: ReadonlySet<CertificateKey>
  /** Where the above may change: told after every change, until what it returns is called. */
  readonly onChange?: (listener: () => void) => () => void
}

/** Reads and checks what the listener needs. @throws Error that says what to type */
export const readTlsFiles = ({ ca, cert, crl, key }: TlsFiles): TlsMaterial => {
  const beside = join(dirname(ca), "crl.pem")
  const revoked = crl !== undefined ? readLists(crl) : existsSync(beside) ? readLists(beside) : new Set<CertificateKey>()
  const material = { ca: read(ca), cert: read(cert), key: readKey(key), revoked }
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
    createSecureContext({ ca: material.ca, cert: material.cert, key: material.key })
  } catch (error) {
    throw new Error(`Cannot use key "${key}" with certificate "${cert}": ${(error as Error).message}`)
  }
  return material
}

/** Every list in the file. */
const readLists = (path: string): ReadonlySet<CertificateKey> => {
  const lists = read(path).toString("latin1").match(/(?<=-----BEGIN X509 CRL-----)[^-]*(?=-----END X509 CRL-----)/g)
  const keys = lists?.map((text) => revokedBy(Buffer.from(text, "base64")))
  if (keys === undefined || keys.includes(undefined)) throw new Error(`Cannot use "${path}": it is no revocation list in PEM form`)
  return new Set(keys.flatMap((each) => each!))
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

/** How often it is looked whether a file has changed. */
const lookMs = 30_000

/** The material of some files, as they are now: each property is read when it is used. */
export class LiveMaterial implements TlsMaterial {
  readonly files: TlsFiles
  #current: TlsMaterial
  /** What the files looked like when they were last read. */
  #stamp: string
  #complaint = ""
  readonly #listeners = new Set<() => void>()

  /** @throws Error that says what to type */
  constructor(files: TlsFiles) {
    this.files = files
    this.#stamp = this.#look()
    this.#current = readTlsFiles(files)
  }

  get ca(): Buffer {
    return this.#current.ca
  }
  get cert(): Buffer {
    return this.#current.cert
  }
  get key(): Buffer {
    return this.#current.key
  }
  get revoked(): ReadonlySet<CertificateKey> {
    return this.#current.revoked
  }

  readonly onChange = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Reads the files again if they have changed. What cannot be used leaves all as it was, and is said once. */
  refresh(log: (line: string) => void): void {
    const stamp = this.#look()
    if (stamp === this.#stamp) return
    try {
      this.#current = readTlsFiles(this.files)
    } catch (error) {
      const complaint = (error as Error).message
      if (complaint !== this.#complaint) log(`access.failed the old certificate stays in use: ${complaint}`)
      this.#complaint = complaint
      return
    }
    this.#stamp = stamp
    this.#complaint = ""
    const { validTo } = new X509Certificate(this.cert)
    const count = this.revoked.size
    const revoked = count === 0 ? "" : `; ${count} ${count === 1 ? "certificate is" : "certificates are"} revoked`
    log(`access.reloaded the certificate in ${this.files.cert}, good until ${validTo}${revoked}`)
    for (const listener of this.#listeners) listener()
  }

  /** Refreshes from time to time; returns what ends it. */
  follow(log: (line: string) => void): () => void {
    const timer = setInterval(() => this.refresh(log), lookMs).unref()
    return () => clearInterval(timer)
  }

  #look(): string {
    const { ca, cert, crl = join(dirname(this.files.ca), "crl.pem"), key } = this.files
    return [ca, cert, key, crl].map((path) => {
      const status = statSync(path, { throwIfNoEntry: false })
      return status === undefined ? "none" : `${status.ino} ${status.size} ${status.mtimeMs}`
    }).join(", ")
  }
}
