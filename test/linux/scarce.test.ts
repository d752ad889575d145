/** What happens when the daemon has no descriptors left: an error that says so, and none of the few is lost. */
import { execFileSync } from "node:child_process"
import { resolve } from "node:path"
import t from "tap"

const daemon = resolve(import.meta.dirname, "../../daemon")

/** Runs `calls` (source text of an array of functions) with `free` descriptors left; prints what each throws and what leaked. */
const withFree = (free: number, calls: string): { readonly errors: ReadonlyArray<string>; readonly leaked: number } => {
  const script = `
    import { openSync, closeSync, readdirSync } from "node:fs"
    import { spawnInNetns } from "${daemon}/linux/process.ts"
    import * as Netns from "${daemon}/linux/netns.ts"
    import { Batch, dump } from "${daemon}/linux/rtnetlink.ts"
    import * as Sysctl from "${daemon}/linux/sysctl.ts"
    import * as Link from "${daemon}/wire/rtnetlink/link.ts"
    const calls = ${calls}
    const count = () => readdirSync("/proc/self/fd").length
    const before = count()
    const taken = []
    try { for (;;) taken.push(openSync("/dev/null")) } catch {}
    for (let i = 0; i < ${free}; i++) closeSync(taken.pop())
    const errors = calls.map((call) => { try { call(); return "" } catch (error) { return error.name + " " + error.message } })
    for (const one of taken) closeSync(one)
    console.log(JSON.stringify({ errors, leaked: count() - before }))
    process.exit()`
  const argv = ["--input-type=module", "--disable-warning=ExperimentalWarning", "-e", script]
  const output = execFileSync("sh", ["-c", 'ulimit -n 64; exec "$0" "$@"', process.execPath, ...argv], { encoding: "utf8" })
  return JSON.parse(output) as ReturnType<typeof withFree>
}

t.test("spawnInNetns closes what it has opened when a later descriptor cannot be had", async (t) => {
  for (let free = 0; free < 6; free++) {
    const { errors, leaked } = withFree(free, `[() => spawnInNetns({ netnsPath: "/nowhere", argv: ["true"] })]`)
    t.match(errors[0], /^KernelError Cannot open "pipes of a command": EMFILE/, `pipes, ${free} free`)
    t.equal(leaked, 0, `pipes, ${free} free: none leaked`)
  }
  for (let free = 0; free < 3; free++) {
    const tty = "{ columns: 80, rows: 24 }"
    const { errors, leaked } = withFree(free, `[() => spawnInNetns({ netnsPath: "/nowhere", argv: ["true"], tty: ${tty} })]`)
    t.match(errors[0], /^KernelError Cannot open "pseudo terminal": EMFILE/, `terminal, ${free} free`)
    t.equal(leaked, 0, `terminal, ${free} free: none leaked`)
  }
})

t.test("what the kernel cannot be asked is a KernelError that says what it was for", async (t) => {
  const { errors, leaked } = withFree(
    0,
    `[
      () => [...dump(-1, Link.dumpLinks)],
      () => {
        const batch = new Batch(-1)
        for (const object of ["pc:eth0", "pc:eth1"]) {
          Link.removeLink(batch.out, 1 << 30)
          batch.note("remove link", object)
        }
        batch.commit()
      },
      () => Netns.open("weft.x.y"),
      () => Sysctl.read(0, ["net.ipv4.ip_forward"]),
      () => Sysctl.write(0, { "net.ipv4.ip_forward": "1" }),
      () => Sysctl.initialValues(["net.ipv4.ip_forward"])
    ]`
  )
  t.match(errors, [
    /^KernelError Cannot read "network namespace": EMFILE/,
    /^KernelError Cannot send requests "remove link pc:eth0, and 1 more": EMFILE/,
    /^KernelError Cannot open network namespace "weft\.x\.y": EMFILE/,
    /^KernelError Cannot read sysctls "net\.ipv4\.ip_forward": EMFILE/,
    /^KernelError Cannot set sysctls "net\.ipv4\.ip_forward": EMFILE/,
    /^KernelError Cannot read sysctls of a new namespace "net\.ipv4\.ip_forward": EMFILE/
  ])
  t.equal(leaked, 0)
})
