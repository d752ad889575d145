import { execFileSync } from "node:child_process"
import t from "tap"
import { archive } from "../../daemon/containers/archive.ts"

const tar = (octets: Buffer, ...words: ReadonlyArray<string>): string =>
  execFileSync("tar", [...words, "-f", "-"], { input: octets, encoding: "utf8", env: { ...process.env, TZ: "UTC" } })

t.test("archive makes what tar(1) lists and reads", async (t) => {
  const deep = `/${"folder/".repeat(20)}file`
  const octets = archive([
    { path: "/etc/frr/frr.conf", content: Buffer.from("hostname r1\n"), mode: 0o640 },
    { path: "empty", content: Buffer.alloc(0), mode: 0o755 },
    { path: "/block", content: Buffer.alloc(512, "x"), mode: 0o644 },
    { path: deep, content: Buffer.from("ü"), mode: 0o644 }
  ])
  t.equal(octets.length % 512, 0)
  t.same(tar(octets, "-t").trim().split("\n"), ["etc/frr/frr.conf", "empty", "block", deep.slice(1)])
  t.match(tar(octets, "-tv"), /^-rw-r----- 0\/0 +12 .*frr\.conf\n-rwxr-xr-x 0\/0 +0 .*empty\n/)
  t.equal(tar(octets, "-x", "-O", "etc/frr/frr.conf"), "hostname r1\n")
  t.equal(tar(octets, "-x", "-O", "block").length, 512)
})

t.test("archive refuses a path that fits no header", async (t) => {
  t.throws(() => archive([{ path: `/${"x".repeat(101)}`, content: Buffer.alloc(0), mode: 0o644 }]), RangeError)
})
