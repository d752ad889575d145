/** Commands of the topology when the daemon dies among them, and rollbacks that cannot be made whole. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { type TopologyObject, Weftd } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

const single = (name: string, exec: ReadonlyArray<string | ReadonlyArray<string>>): TopologyObject => ({
  name,
  nodes: { a: { kind: "host", exec } }
})

t.test("commands", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("commands")
  t.teardown(() => weftd.close())
  const file = (name: string): string => join(weftd.directory, name)

  t.test("what has run does not run again when weftd is killed during the next one", async (t) => {
    const lab = weftd.name("once")
    const ran = ["sh", "-c", `echo ran >> ${file("ran")}`]
    const waits = ["sh", "-c", `touch ${file("waiting")}; while [ ! -e ${file("go")} ]; do sleep 0.02; done`]
    const deploy = weftd.deploy(single(lab, [ran, "ip link add br0 type bridge", waits]))
    deploy.catch(() => {})
    await until("the last command runs", () => existsSync(file("waiting")))
    await weftd.kill()
    writeFileSync(file("go"), "")
    await weftd.start()
    await until("the lab is ready", async () => (await weftd.client.list())[0]?.state === "ready")
    t.equal(readFileSync(file("ran"), "utf8"), "ran\n")
    t.same(await weftd.plan(single(lab, [ran, "ip link add br0 type bridge", waits])), [])
    await weftd.destroy(lab)
  })

  t.test("a lab whose command hangs at start-up keeps nobody from the daemon", async (t) => {
    const lab = weftd.name("hang")
    const hangs = ["sh", "-c", `touch ${file("hangs")}; while [ ! -e ${file("let-go")} ]; do sleep 0.02; done`]
    weftd.deploy(single(lab, [hangs])).catch(() => {})
    await until("the command runs", () => existsSync(file("hangs")))
    await weftd.kill()
    await weftd.start()
    t.equal((await weftd.client.list())[0]?.name, lab)
    const other = weftd.name("other")
    await weftd.make(single(other, ["true"]))
    await weftd.destroy(other)
    writeFileSync(file("let-go"), "")
    await weftd.destroy(lab)
  })

  t.test("a rollback that fails is not called one", async (t) => {
    const lab = weftd.name("back")
    writeFileSync(file("flag"), "")
    const needsFlag = ["test", "-e", file("flag")]
    await weftd.make(single(lab, [needsFlag]))
    const outcome = await weftd.deploy(single(lab, [["rm", file("flag")], "false"]), { rollback: true })
    t.equal(outcome.rolledBack, false)
    t.match(outcome.message, /exit code 1.*and 1 more/)
    t.equal((await weftd.client.list())[0]?.state, "failed")
    await weftd.destroy(lab)
  })
})
