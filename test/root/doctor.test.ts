import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { doctor } from "../../daemon/linux/doctor.ts"
import { addon } from "../../daemon/native/index.ts"
import { Writer } from "../../daemon/wire/netlink.ts"
import * as Kind from "../../daemon/wire/rtnetlink/kind.ts"
import { checkout, descriptorCount, needsRoot, until } from "./harness.ts"

const dependencies = { bpfObject: join(checkout, ".weft/bpf/port.bpf.o"), dockerSocket: "/var/run/docker.sock", leftovers: () => [] }
const required = ["rights", "kernel", "/run/netns", "namespaces", "veth", "eBPF", "clsact, cls_bpf", "nftables", "nft"]

t.test("doctor", { skip: needsRoot }, async (t) => {
  await t.test("doctor finds what weft needs here, fast, and leaves nothing", async (t) => {
    const before = { descriptors: descriptorCount(), interfaces: readFileSync("/proc/net/dev", "utf8").split("\n").length }
    const start = performance.now()
    const findings = await doctor(dependencies)
    t.ok(performance.now() - start < 10_000, "a moment")
    for (const subject of required) t.match(findings.find((finding) => finding.subject === subject), { verdict: "OK", remedy: "" }, subject)
    t.equal(new Set(findings.map(({ subject }) => subject)).size, findings.length, "each subject once")
    for (const { verdict, remedy, subject } of findings) t.ok(verdict === "OK" || remedy !== "", `${subject} says what to do`)
    await until("the descriptors are closed", () => descriptorCount() === before.descriptors).catch(() => undefined)
    t.equal(descriptorCount(), before.descriptors)
    t.equal(readFileSync("/proc/net/dev", "utf8").split("\n").length, before.interfaces)
    t.same(readdirSync("/run/netns").filter((name) => name.includes("doctor")), [])
  })

  await t.test("doctor explains what fails", async (t) => {
    const path = process.env["PATH"]
    process.env["PATH"] = "/nowhere"
    const findings = await doctor({
      dockerSocket: "/var/run/docker.sock",
      bpfObject: "/nowhere/port.bpf.o",
      leftovers: () => [{ instance: "old", namespaces: ["weft.lab.a", "weft.lab.b"] }]
    })
    process.env["PATH"] = path
    const of = (subject: string) => findings.find((finding) => finding.subject === subject)
    t.match(of("eBPF"), { verdict: "MISSING", detail: /port\.bpf\.o/ })
    t.match(of("nftables"), { verdict: "MISSING", detail: "weft: cannot run nft: No such file or directory" })
    t.match(of("leftovers"), { verdict: "WARNING", detail: /2 of instance "old" \(weft\.lab\.a, \.\.\.\)/, remedy: /--instance old/ })
  })

  await t.test("the kernel answers to unknown kinds as Kind says", async (t) => {
    const netns = addon.netnsAnonymous()
    const answer = (write: (out: Writer) => unknown): string | undefined => {
      const out = new Writer(256)
      write(out)
      return addon.netlinkBatch(netns, out.finish())[0]?.[1]
    }
    t.equal(answer((out) => Kind.addLinkOfKind(out, "no-such-kind", "x0")), Kind.unknownLink)
    t.equal(answer((out) => Kind.addQdiscOfKind(out, "no-such-kind", 1)), Kind.unknownQdisc)
    t.equal(answer((out) => Kind.addLinkOfKind(out, "bridge", "x0")), undefined)
    t.equal(answer((out) => Kind.removeLinkOfName(out, "x0")), undefined)
    t.equal(answer((out) => Kind.removeLinkOfName(out, "x0")), "ENODEV")
    addon.close(netns)
  })
})
