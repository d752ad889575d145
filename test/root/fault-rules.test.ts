/** Faults of NAT, firewalls, ICMP and DNS under real traffic: the symptom that each is known by, and the cure. */
import t from "tap"
import { Connection } from "./daemon-harness.ts"
import { client, lookUp, RulesLab, srv } from "./fault-rules-harness.ts"
import { needsRoot } from "./harness.ts"

t.setTimeout(600_000)

t.test("faults of rules", { skip: needsRoot }, async (t) => {
  const rules = await RulesLab.start(t, "fault-rules")
  const { lab, weftd } = rules

  await rules.symptom(t, "nat-missing fw", async (t) => {
    t.notOk(await rules.reaches(), "nobody out there knows the way back")
    t.ok(await weftd.pings(lab, "pc", "10.1.0.1"), "inside works")
    t.ok(await weftd.pings(lab, "fw", srv), "fw itself does")
  })

  await rules.symptom(t, "nat-exhausted fw 1", async (t) => {
    // One port on each of two ways, whichever the connections take.
    t.match(await rules.says("pc", client(5002, 3)), /timeout/)
  })
  t.equal(await rules.says("pc", client(5002, 3)), "open open open", "healed, there are ports enough")

  await rules.symptom(t, "firewall-missing fw no-9999", async (t) => {
    t.equal(await rules.says("pc", client(9999, 1)), "open")
  })
  t.equal(await rules.says("pc", client(9999, 1)), "timeout", "and the rule is there again")

  await t.test("what was let through", async (t) => {
    const connection = await Connection.open(weftd, lab, "pc", "srv", srv)
    await rules.symptom(t, "conntrack-full fw", async (t) => {
      t.equal(await rules.says("pc", client(5002, 1)), "timeout", "new connections are dropped")
      t.ok(await connection.exchange("still"), "those that are known go on")
    })
    await rules.symptom(t, "firewall-rule fw deny tcp/5002 from office to srv", async (t) => {
      t.equal(await rules.says("pc", client(5002, 1)), "timeout")
      t.ok(await rules.reaches(), "the rule is about nothing else")
    })
    t.ok(await connection.exchange("to the end"), "has lived through all of it")
  })

  await rules.symptom(t, "icmp-blocked fw", async (t) => {
    t.ok(await rules.reaches(), "ping works")
    t.equal(await rules.says("pc", client(5002, 1, 20_000)), "open hangs", "what is large does not")
  })
  t.equal(await rules.says("pc", client(5002, 1, 20_000)), "open whole", "healed, path MTU discovery works")

  await rules.symptom(t, "icmp-blocked fw all", async (t) => {
    t.notOk(await rules.reaches())
    t.equal(await rules.says("pc", client(5002, 1)), "open", "all else does")
  })

  await rules.symptom(t, "dns-failure pc", async (t) => t.equal(await rules.says("pc", lookUp), "ETIMEOUT"))
  await rules.symptom(t, "dns-failure srv reject", async (t) => t.equal(await rules.says("pc", lookUp), "ECONNREFUSED"))
  await rules.symptom(t, "dns-failure pc wrong-server", async (t) => {
    t.match(rules.inside("pc", "cat", "/etc/resolv.conf"), /nameserver 192\.0\.2\.53/)
    t.match(await rules.says("pc", lookUp), /ETIMEOUT|ECONNREFUSED/)
  })
  t.equal(await rules.says("pc", lookUp), "192.0.2.80", "and names are resolved again")
})
