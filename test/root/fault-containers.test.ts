/** Faults of container nodes: paused by Docker while the kernel forwards, and crashed to be made anew. */
import t from "tap"
import { Weftd } from "./daemon-harness.ts"
import { DockerEngine } from "./docker-engine.ts"
import { healAll, inject } from "./fault-harness.ts"
import { needsRoot, until } from "./harness.ts"

const image = "weft-test/box"
const counting = "i=0; while true; do i=$((i+1)); echo $i > /count; sleep 0.05; done"

t.test("faults of containers", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const docker = await DockerEngine.start()
  t.teardown(() => docker.close())
  docker.importBusybox(image)
  const weftd = await Weftd.start("fault-box")
  t.teardown(() => weftd.close())
  const lab = weftd.name("fault-box")
  await weftd.make({
    name: lab,
    nodes: {
      pc: { kind: "host", routes: [{ to: "default", via: "box:e1" }] },
      box: { kind: "container", image, role: "router", cmd: ["sh", "-c", counting] },
      srv: { kind: "host", routes: [{ to: "default", via: "box:e2" }] }
    },
    links: [
      { endpoints: ["pc:eth0", "box:e1"], cidr: "10.0.0.0/30" },
      { endpoints: ["srv:eth0", "box:e2"], cidr: "10.0.1.0/30" }
    ]
  })
  const name = `weft-${weftd.instance}.${lab}.box`
  const state = (): string => docker.ask(name, "{{.State.Status}} {{.State.StartedAt}} {{.HostConfig.RestartPolicy.Name}}")
  const before = state()
  t.match(before, /^running/)

  await inject(weftd, lab, "node-pause box")
  t.match(state(), /^paused/)
  t.ok(await weftd.pings(lab, "pc", "10.0.1.1"), "what it forwards goes on")
  t.strictSame(await weftd.drift(lab), [])
  await healAll(weftd, lab)
  t.equal(state(), before, "the same container goes on")
  t.strictSame(await weftd.drift(lab), [])

  await inject(weftd, lab, "node-crash box")
  t.throws(() => state(), "it is gone")
  t.notOk(await weftd.pings(lab, "pc", "10.0.1.1"))
  t.strictSame(await weftd.drift(lab), [])
  await healAll(weftd, lab)
  t.match(state(), /^running/)
  t.not(state(), before, "another one has been started")
  t.strictSame(await weftd.drift(lab), [])
  await until("it forwards", () => weftd.pings(lab, "pc", "10.0.1.1"))
})
