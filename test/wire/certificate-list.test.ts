/** Lists and certificates that openssl has made, whole and broken. */
import { execFileSync, spawnSync } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { certificateKey, revokedBy } from "../../daemon/wire/certificate-list.ts"
import { seeded } from "../random.ts"

const folder = mkdtempSync(join(tmpdir(), "weft-crl-"))
t.teardown(() => rmSync(folder, { recursive: true }))
const path = (name: string): string => join(folder, name)
const openssl = (...words: ReadonlyArray<string>): void => void execFileSync("openssl", words, { cwd: folder, stdio: "pipe" })
const derOf = (name: string): Uint8Array =>
  Buffer.from(readFileSync(path(name), "utf8").replace(/-----[^-]+-----/g, ""), "base64")

const skip = spawnSync("openssl", ["version"]).status === 0 ? false : "no openssl"

/** A self-signed certificate with this serial number, and a list of its own that names `revoked`. */
const make = (name: string, serial: string, revoked: ReadonlyArray<string>, version: 1 | 2): void => {
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", `/O=weft/CN=${name}`, "-days", "9",
    "-set_serial", `0x${serial}`, "-keyout", `${name}.key`, "-out", `${name}.pem`)
  writeFileSync(path("index"), revoked.map((each) => `R\t300101000000Z\t260101000000Z,keyCompromise\t${each}\tunknown\t/CN=x\n`).join(""))
  const extensions = version === 2 ? ["crlnumber = number", "crl_extensions = e", "[e]", "authorityKeyIdentifier = keyid"] : []
  writeFileSync(path("number"), "01\n")
  writeFileSync(path("cnf"), ["[a]", "database = index", "default_md = sha256", ...extensions, ""].join("\n"))
  const own = ["-cert", `${name}.pem`, "-keyfile", `${name}.key`]
  openssl("ca", "-gencrl", "-config", "cnf", "-name", "a", ...own, "-crldays", "9", "-out", `${name}.crl`)
}

t.test("revokedBy names a list's certificates as certificateKey does", { skip }, async (t) => {
  make("one", "7f00000000000000000000000000000000000001", ["7F00000000000000000000000000000000000001", "80", "02"], 2)
  make("two", "02", ["02"], 1)
  make("none", "05", [], 2)
  const [one, two, none] = ["one", "two", "none"].map((name) => certificateKey(derOf(`${name}.pem`)))
  const lists = ["one", "two", "none"].map((name) => revokedBy(derOf(`${name}.crl`)))
  t.strictSame(lists.map((list) => list?.length), [3, 1, 0])
  t.ok(lists[0]!.includes(one!))
  t.equal(lists[1]![0], two, "version 1")
  t.notOk(lists[0]!.includes(two!), "the same serial number of another issuer is another certificate")
  t.match(lists[0]!.map((key) => key.split("/")[1]), ["02", "0080", "7f00000000000000000000000000000000000001"])
  t.ok(none)
  t.equal(certificateKey(new X509Certificate(readFileSync(path("one.pem"))).raw), one, "as Node hands it out")
})

t.test("broken lists are none, and break nothing", { skip }, async (t) => {
  const random = seeded(3)
  for (const [read, whole] of [[revokedBy, derOf("one.crl")], [certificateKey, derOf("one.pem")]] as const) {
    for (let length = 0; length < whole.length; length++) t.equal(read(whole.subarray(0, length)), undefined, `${length} octets`)
    for (let round = 0; round < 5000; round++) {
      const mutated = Uint8Array.from(whole)
      for (let flips = 1 + random.below(4); flips > 0; flips--) mutated[random.below(mutated.length)] = random.below(256)
      read(mutated)
      read(random.octets(random.below(200)))
    }
  }
  t.equal(revokedBy(derOf("one.pem")), undefined, "a certificate is no list")
})
