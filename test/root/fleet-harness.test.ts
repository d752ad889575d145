/** The ground that tests of many hosts stand on, without weftd: hosts hear each other, etcd answers, certificates are right. */
import t from "tap"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"
import { run } from "./daemon-harness.ts"

t.test("IPv4, one etcd", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.prepare("ground", { hosts: 3 })
  t.teardown(() => fleet.close())
  const hears = async (from: number, to: number): Promise<boolean> =>
    (await fleet.onHost(from, "ping", "-c", "1", "-W", "1", fleet.address(to))).code === 0

  t.ok(await hears(1, 3))
  fleet.cut(3)
  t.notOk(await hears(1, 3), "a host without its cable")
  t.ok(await hears(1, 2))
  fleet.mend(3)
  await until("host 3 is back", () => hears(1, 3))
  fleet.part(1, 3)
  t.same([await hears(1, 3), await hears(3, 1), await hears(2, 3)], [false, false, true], "two that do not hear each other")
  fleet.join(1, 3)
  t.ok(await hears(1, 3))

  t.equal((await fleet.etcdctl("put", "a", "1")).code, 0)
  await fleet.stopEtcd()
  t.not((await fleet.etcdctl("get", "a")).code, 0)
  fleet.startEtcd()
  await fleet.etcdReady()
  t.match((await fleet.etcdctl("get", "a")).stdout, /a\n1/)
})

t.test("IPv6, three members with TLS", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.prepare("ground6", { hosts: 2, underlay: "ipv6", etcdMembers: 3, etcdTls: true })
  t.teardown(() => fleet.close())
  t.equal((await fleet.onHost(1, "ping", "-c", "1", "-W", "1", "fd99::2")).code, 0)
  const health = await fleet.etcdctl("endpoint", "health")
  t.equal((health.stdout + health.stderr).match(/is healthy/g)?.length, 3)
  await fleet.stopEtcd(2, "SIGKILL")
  const writes = async (): Promise<boolean> => (await fleet.etcdctl("put", "a", "1")).code === 0
  await until("the other two have a leader and write", writes)
  const { ca } = fleet.pki("h1")
  const stranger = ["etcdctl", "--endpoints", fleet.endpoints, "--cacert", ca, "--command-timeout=1s", "get", "a"]
  const refused = await run(["nsenter", `--net=${fleet.netns(1).path}`, "--", ...stranger])
  t.not(refused.code, 0, "no certificate, no answer")
})
