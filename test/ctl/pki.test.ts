import { execFileSync } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { startResident } from "./resident.ts"

const weft = startResident(t)

const folder = mkdtempSync(join(tmpdir(), "weft-pki-"))
t.teardown(() => rmSync(folder, { recursive: true }))
const dir = join(folder, "pki")
const pki = (...words: ReadonlyArray<string>) => weft(["pki", ...words, "--dir", dir])
const modeOf = (...path: ReadonlyArray<string>): string => (statSync(join(dir, ...path)).mode & 0o777).toString(8)
const certificate = (...path: ReadonlyArray<string>) => new X509Certificate(readFileSync(join(dir, ...path)))
const days = (of: X509Certificate): number => Math.round((Date.parse(of.validTo) - Date.parse(of.validFrom)) / 86_400_000)

t.test("without an authority there is nothing to issue or to show", async (t) => {
  const nothing = { code: 1, stdout: "", stderr: /There is no certificate authority in .*\n  Make one: weft pki init --dir/ }
  t.match(await pki("issue", "alice"), nothing)
  t.match(await pki("show"), nothing)
  t.notOk(existsSync(dir))
})

t.test("init makes an authority that only its owner can use, and never a second one", async (t) => {
  t.match(await pki("init"), { code: 0, stderr: "", stdout: /good for 10 years/ })
  t.strictSame([modeOf(), modeOf("ca-key.pem")], ["700", "600"])
  const ca = certificate("ca.pem")
  t.ok(ca.ca)
  t.equal(days(ca), 3650)
  t.equal(ca.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1")
  const [before, key] = [readFileSync(join(dir, "ca.pem"), "utf8"), readFileSync(join(dir, "ca-key.pem"), "utf8")]
  t.match(await pki("init"), { code: 1, stderr: /is there already; if it were replaced, every certificate it has issued would be void/ })
  t.strictSame([readFileSync(join(dir, "ca.pem"), "utf8"), readFileSync(join(dir, "ca-key.pem"), "utf8")], [before, key])
})

t.test("issue makes what each end needs", async (t) => {
  t.match(await pki("issue", "alice"), { code: 0, stdout: /Issued "alice" \(viewer\)/, stderr: "" })
  t.match(await pki("issue", "bob@example.net", "--role", "operator", "--days", "7"), { code: 0, stdout: /\(operator\)/ })
  t.match(await pki("issue", "lab1", "--server", "--host", "lab1.example.net", "--host", "192.0.2.7", "--host", "2001:db8::7"), { code: 0 })
  t.match(await pki("issue", "peer", "--server", "--client", "--host", "peer"), { code: 0, stdout: /\(viewer and server\)/ })
  t.strictSame(readdirSync(join(dir, "alice")).sort(), ["ca.pem", "cert.pem", "key.pem"])
  t.strictSame([modeOf("alice"), modeOf("alice/key.pem")], ["700", "600"])
  const [alice, bob, lab1, peer] = ["alice", "bob@example.net", "lab1", "peer"].map((name) => certificate(name, "cert.pem"))
  t.equal(alice!.subject, "CN=alice")
  t.equal(alice!.subjectAltName, "URI:weft:role:viewer")
  t.equal(bob!.subjectAltName, "URI:weft:role:operator")
  t.equal(lab1!.subjectAltName, "DNS:lab1.example.net, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7")
  t.strictSame([days(alice!), days(bob!)], [365, 7])
  t.strictSame([alice, lab1, peer].map((each) => [...(each!.keyUsage as ReadonlyArray<string>)].length), [1, 1, 2])
  t.notOk([alice, bob, lab1, peer].some((each) => each!.ca))
  const verify = (purpose: string, name: string): string =>
    execFileSync("openssl", ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", join(dir, "ca.pem"), join(dir, name, "cert.pem")], {
      encoding: "utf8",
      stdio: "pipe"
    })
  t.match(verify("sslclient", "alice"), /OK/)
  t.match(verify("sslserver", "lab1"), /OK/)
  t.throws(() => verify("sslserver", "alice"), "a user cannot play the daemon")
  t.throws(() => verify("sslclient", "lab1"), "and a daemon no user")
})

t.test("issue refuses what makes no sense, and writes nothing then", async (t) => {
  const before = readdirSync(dir).sort()
  const key = readFileSync(join(dir, "alice/key.pem"), "utf8")
  t.match(await pki("issue", "alice"), { code: 1, stderr: /"alice"|alice" is there already; if it were replaced, its key would be lost/ })
  t.equal(readFileSync(join(dir, "alice/key.pem"), "utf8"), key)
  const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
    [[], /without a name/],
    [["../x"], /a name has letters, digits and/],
    [["a\nCN = root"], /a name has letters, digits and/],
    [["s", "--server"], /without --host/],
    [["s", "--host", "a"], /--host is for servers/],
    [["s", "--server", "--host", "a, URI:weft:role:operator"], /it is neither a name nor an address/],
    [["s", "--server", "--host", "a\nbasicConstraints = CA:TRUE"], /it is neither a name nor an address/],
    [["s", "--days", "0"], /1 to 3650/],
    [["s", "--days", "1.5"], /1 to 3650/],
    [["s", "--days", "x"], /1 to 3650/],
    [["s", "--days", "3650"], /the authority itself ends in 36\d\d/],
    [["s", "--role", "admin"], /bad value "admin" for --role: expected viewer, operator or daemon/],
    [["s", "--role", "daemon"], /without --host/]
  ]
  for (const [words, reason] of wrong) t.match(await pki("issue", ...words), { code: 2, stdout: "", stderr: reason }, words.join(" "))
  t.strictSame(readdirSync(dir).sort(), before)
})

t.test("show lists what there is, with its end and what is wrong", async (t) => {
  t.match(await pki("show"), {
    code: 0,
    stdout:
      /^NAME .*\nCA +authority .*3650 days\)\nalice +client +viewer +[-\d]{10} \(in 365 days\)\nbob@example\.net .*\nlab1 +server +lab1\./
  })
  chmodSync(join(dir, "alice/key.pem"), 0o644)
  t.match(await pki("show", "alice"), { code: 0, stdout: /\nalice: others can read its key: chmod 600 '.*alice\/key\.pem'\n$/ })
  const list = JSON.parse((await pki("show", "-o", "json")).stdout) as ReadonlyArray<{ readonly name: string }>
  t.strictSame(list.map(({ name }) => name), ["CA", "alice", "bob@example.net", "lab1", "peer"])
  t.match(list[3], { use: "server", hosts: ["lab1.example.net", "192.0.2.7", "2001:DB8:0:0:0:0:0:7"] })
  t.match(await pki("show", "nobody"), { code: 1, stderr: /There is no certificate "nobody"/ })
})

t.test("revoke makes a certificate void, for openssl and for show", async (t) => {
  t.match(await pki("revoke", "lab1"), { code: 0, stdout: /Revoked "lab1": .*\/crl\.pem, .*\/lab1\/crl\.pem, .*\/peer\/crl\.pem/ })
  t.match(await pki("revoke", "bob@example.net"), { code: 0, stdout: /Revoked "bob@example\.net"/ })
  t.match(await pki("revoke", "lab1"), { code: 0, stdout: /It was revoked before/ })
  const list = execFileSync("openssl", ["crl", "-in", join(dir, "crl.pem"), "-noout", "-text"], { encoding: "utf8" })
  const serials = ["lab1", "bob@example.net"].map((name) => certificate(name, "cert.pem").serialNumber)
  // In the list's own order.
  t.strictSame(list.match(/(?<=Serial Number: )\w+/g)?.toSorted(), serials.toSorted(), "each once")
  t.equal(readFileSync(join(dir, "peer/crl.pem"), "utf8"), readFileSync(join(dir, "crl.pem"), "utf8"), "daemons have the newest")
  const verify = ["verify", "-crl_check", "-CAfile", join(dir, "ca.pem"), "-CRLfile", join(dir, "crl.pem")]
  const verified = (name: string): string =>
    execFileSync("openssl", [...verify, join(dir, name, "cert.pem")], { encoding: "utf8", stdio: "pipe" })
  t.match(verified("alice"), /OK/)
  t.throws(() => verified("lab1"), /certificate revoked/)
  t.match(await pki("show", "lab1"), { code: 0, stdout: /\nlab1: revoked\n$/ })
  t.match(await pki("issue", "lab2", "--role", "daemon", "--host", "192.0.2.8"), { code: 0, stdout: /\(daemon and server\)/ })
  t.ok(existsSync(join(dir, "lab2/crl.pem")), "a new daemon gets the list, too")
  t.match(await pki("revoke", "nobody"), { code: 1, stderr: /There is no certificate "nobody"/ })
  t.match(await pki("revoke"), { code: 2, stderr: /without a name/ })
})

t.test("an authority in a folder that others may open is refused", async (t) => {
  const open = mkdtempSync(join(folder, "open-"))
  chmodSync(open, 0o755)
  t.match(await weft(["pki", "init", "--dir", open]), { code: 1, stderr: /others may open it \(mode 755\)\n  Type: chmod 700/ })
  t.strictSame(readdirSync(open), [])
})
