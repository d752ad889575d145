/**
 * Making certificates void before their time: a revocation list beside the authority's certificate, and in the folder of
 * each daemon that was issued one. Daemons read it by themselves when it changes; other machines get a copy by hand.
 */

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { list, openssl, parse, readAuthority, readRevoked, revokedFile } from "./authority.ts"
import { Exit, Failure } from "./command.ts"

const dayMs = 86_400_000

/** Where lists are now; the first is the authority's own. */
export interface Revocation {
  readonly lists: ReadonlyArray<string>
  /** It was revoked before; the lists have been made anew. */
  readonly again: boolean
}

/** Revokes the certificate in `directory/name`. @throws {Failure} when there is none, or another authority has issued it */
export const revoke = async (directory: string, name: string): Promise<Revocation> => {
  const authority = readAuthority(directory)
  if (!existsSync(join(directory, name, "cert.pem"))) {
    const hint = `See what there is: weft pki show --dir ${directory}`
    throw new Failure(Exit.failed, `There is no certificate "${name}" in ${directory}`, hint)
  }
  const certificate = parse(join(directory, name, "cert.pem"))
  if (!certificate.verify(authority.publicKey)) {
    throw new Failure(Exit.failed, `Cannot revoke "${name}": this authority has not issued it`)
  }
  const before = readRevoked(directory)
  const again = before.some(({ serial }) => serial === certificate.serialNumber)
  const row = ["R", timeOf(new Date(certificate.validTo)), timeOf(new Date()), certificate.serialNumber, "unknown", `/CN=${name}`]
  const lines = [...before.map(({ line }) => line), ...(again ? [] : [row.join("\t")])]
  const daysLeft = Math.max(1, Math.floor((Date.parse(authority.validTo) - Date.now()) / dayMs))
  const target = join(directory, "crl.pem")
  await openssl("make a revocation list", { index: lines, "index.attr": ["unique_subject = no"], "openssl.cnf": [] }, (folder) => {
    const configuration = ["[authority]", `database = ${join(folder, "index")}`, "default_md = sha256"]
    writeFileSync(join(folder, "openssl.cnf"), `${configuration.join("\n")}\n`)
    const own = ["-cert", join(directory, "ca.pem"), "-keyfile", join(directory, "ca-key.pem")]
    const config = ["-config", join(folder, "openssl.cnf"), "-name", "authority"]
    return ["ca", "-gencrl", ...config, ...own, "-crldays", String(daysLeft), "-out", `${target}.new`]
  })
  replace(join(directory, revokedFile), `${lines.join("\n")}\n`)
  renameSync(`${target}.new`, target)
  const servers = list(directory).filter(({ use }) => use === "server" || use === "client and server")
  const copies = servers.map((entry) => join(directory, entry.name, "crl.pem"))
  for (const copy of copies) replace(copy, readFileSync(target))
  return { lists: [target, ...copies], again }
}

/** Readers see the old file or the new one, never half of it. */
const replace = (path: string, content: string | Uint8Array): void => {
  writeFileSync(`${path}.new`, content)
  renameSync(`${path}.new`, path)
}

/** As an index of openssl has it: two digits for the years before 2050, as UTCTime (RFC 5280 4.1.2.5). */
const timeOf = (date: Date): string => {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, "")
  return date.getUTCFullYear() < 2050 ? digits.slice(2) : digits
}
