/** On machines that cannot run labs: what is missing, what to do, and the exit code that says so, instead of strange failures. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { lackOfRights } from "../../daemon/linux/rights.ts"
import { environment, run } from "./daemon-harness.ts"
import { checkout, needsRoot } from "./harness.ts"

// Not by bin/: these would set the checkout up again where somebody has touched a source, and not be allowed to.
const weft = [process.execPath, join(checkout, "ctl/main.ts")]
const weftd = [process.execPath, join(checkout, "daemon/main.ts")]

/** Ways to have fewer rights than the root that runs this test. */
const places: Readonly<Record<string, { readonly enter: ReadonlyArray<string>; readonly lack?: RegExp }>> = {
  "a user": { enter: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] },
  "root without CAP_NET_ADMIN": { enter: ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"],
    lack: /root without CAP_NET_ADMIN: / },
  "root of a user namespace": { enter: ["unshare", "-Urnm"], lack: /root of a user namespace only/ }
}

t.test("without rights and without a daemon", { skip: needsRoot }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-rights-"))
  chmodSync(folder, 0o755)
  t.teardown(() => rmSync(folder, { recursive: true }))
  const topology = { name: "small", nodes: { a: { kind: "host" }, b: { kind: "host" } },
    links: [{ name: "wire", endpoints: ["a:eth0", "b:eth0"], cidr: "10.0.0.0/30" }] }
  writeFileSync(join(folder, "small.weft.yaml"), JSON.stringify(topology))
  writeFileSync(join(folder, "small.check.yaml"),
    JSON.stringify({ topology: "small.weft.yaml", checks: [{ reachable: { from: "a", to: "b" } }] }))
  writeFileSync(join(folder, "small.scenario.yaml"),
    JSON.stringify({ topology: "small.weft.yaml", timeline: [{ at: "1s", inject: { "link-down": "wire" }, for: "1s" }] }))
  const env = environment({ WEFT_DAEMON: `unix:${folder}/none.sock` })
  const all = { cwd: folder, env }

  for (const [who, { enter, lack }] of Object.entries(places)) {
    await t.test(who, async (t) => {
      // Those of a user are told of all verbs; the others differ in one line, which is the same for all.
      const verbs = lack === undefined ? [["check"], ["deploy"], ["scenario"], ["inject", "link-down", "wire"]] : [["check"]]
      for (const verb of verbs) {
        const { code, stderr, stdout } = await run([...enter, ...weft, ...verb], all)
        t.equal(code, 3, `${verb[0]}: ${stdout}${stderr}`)
        t.match(stderr, /^error: Cannot reach the daemon at unix:.*no such socket\n/)
        t.match(stderr, lack ?? /Start it with: sudo bin\/weftd\n.*weft doctor/)
        if (lack !== undefined) t.match(stderr, /Run weftd on the machine itself, or in a container started with --privileged/)
      }
      if (lack === undefined) {
        const planned = await run([...enter, ...weft, "scenario", "--plan"], all)
        t.match(planned, { code: 0, stdout: /1\.000 +inject +link a:eth0 -- b:eth0 is down/ }, "a schedule needs no rights")
        t.equal((await run([...enter, ...weft, "validate"], all)).code, 0, "nor does validating")
      }
      const daemon = await run([...enter, ...weftd, "--instance", `test-rights-${process.pid}`, "--state", join(folder, "state")], { env })
      t.equal(daemon.code, 1)
      t.match(daemon.stderr, lack ?? /needs root\. Type: sudo bin\/weftd/)
      t.equal(daemon.stderr.trim().split("\n").length, lack === undefined ? 1 : 2, "and nothing else")
      if (who === "root without CAP_NET_ADMIN") return
      const doctor = await run([...enter, ...weft, "doctor"], all)
      t.equal(doctor.code, 3)
      t.match(doctor.stdout, lack ?? /rights\n +uid 65534/)
      const { WEFT_DAEMON: _, ...plain } = env
      const demo = await run([...enter, ...weft, "demo"], { cwd: folder, env: plain })
      if (!demo.stdout.includes("Use the weftd")) {
        t.equal(demo.code, 1)
        t.match(demo.stderr, lack === undefined ? /needs root\n +Type: sudo bin\/weft demo/ : lack)
      }
    })
  }
})

t.test("lackOfRights reads what the kernel says", async (t) => {
  const first = "         0          0 4294967295\n"
  t.equal(lackOfRights("CapEff:\t000001ffffffffff\n", first), undefined)
  t.match(lackOfRights("CapEff:\t00000000a80425fb\n", first), /root without CAP_NET_ADMIN, CAP_SYS_ADMIN/, "Docker's own choice")
  t.match(lackOfRights("CapEff:\t000001ffffffffff\n", "         0       1000          1\n"), /user namespace/)
})
