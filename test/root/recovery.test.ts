/**
 * What happens without the daemon or behind its back: crashes, changes made by hand, failures of single resources, state
 * that is lost, names that somebody else has.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import t, { type Test } from "tap"
import { needsRoot, until } from "./harness.ts"
import { Connection, identities, inodeOf, sh, Weftd, type TopologyObject } from "./daemon-harness.ts"

const routed = (name: string, extra: Record<string, unknown> = {}): TopologyObject => ({
  name,
  nodes: {
    a: { kind: "host", dns: { servers: "10.1.0.53" }, ...extra },
    r: {
      kind: "router",
      nat: { masquerade: { out: "far", except: "10.2.0.0/24" } },
      routes: [{ to: "10.3.0.0/24", via: ["10.2.0.2", "10.2.0.3"] }]
    },
    d: { kind: "host" }
  },
  networks: {
    lan: { cidr: ["10.1.0.0/24", "2001:db8:1::/64"], gateway: "r", ports: ["r:lan", "a"] },
    far: { cidr: ["10.2.0.0/24", "2001:db8:2::/64"], gateway: "r", ports: ["r:far", "d"] }
  },
  links: [{ name: "wire", endpoints: ["a:wire", "d:wire"], cidr: "10.9.0.0/31" }]
})

const ip = (lab: string, node: string, ...words: ReadonlyArray<string>): string => sh("ip", "-n", `weft.${lab}.${node}`, ...words)
const inside = (lab: string, node: string, ...words: ReadonlyArray<string>): string =>
  sh("ip", "netns", "exec", `weft.${lab}.${node}`, ...words)

interface Drift {
  readonly what: string
  readonly break: (lab: string, weftd: Weftd, fabricName: (port: string) => string) => void
  /** Each of these is in the drift. */
  readonly shows: ReadonlyArray<RegExp>
}

const drifts: ReadonlyArray<Drift> = [
  {
    what: "an address removed",
    break: (lab) => ip(lab, "a", "address", "del", "10.1.0.2/24", "dev", "eth0"),
    shows: [/^\+ address\/a:eth0\/10.1.0.2/, /^\+ route\/a/]
  },
  {
    what: "an address added",
    break: (lab) => ip(lab, "a", "address", "add", "10.66.0.1/24", "dev", "eth0"),
    shows: [/^- address\/a:eth0\/10.66.0.1\/24/]
  },
  { what: "a port set down", break: (lab) => ip(lab, "a", "link", "set", "eth0", "down"), shows: [/^~ port\/a:eth0 state: "down"/] },
  {
    what: "another MTU",
    break: (lab) => ip(lab, "a", "link", "set", "eth0", "mtu", "1300"),
    shows: [/^~ port\/a:eth0 .*mtu: 1300 -> 1500/]
  },
  {
    what: "another MAC address",
    break: (lab) => ip(lab, "a", "link", "set", "eth0", "address", "02:00:00:00:00:99"),
    shows: [/^~ port\/a:eth0 mac: "02:00:00:00:00:99"/]
  },
  { what: "a default route deleted", break: (lab) => ip(lab, "a", "route", "del", "default"), shows: [/^\+ route\/a\/254\/0.0.0.0\/0/] },
  { what: "an ECMP route deleted", break: (lab) => ip(lab, "r", "route", "del", "10.3.0.0/24"), shows: [/^\+ route\/r\/254\/10.3.0.0/] },
  {
    what: "all IPv6 addresses",
    break: (lab) => ip(lab, "a", "-6", "address", "flush", "scope", "global"),
    shows: [/^\+ address\/a:eth0\/2001/]
  },
  { what: "all nexthops deleted", break: (lab) => ip(lab, "r", "nexthop", "flush"), shows: [/^\+ nexthop\/r/, /^\+ route\/r/] },
  { what: "nft flush ruleset", break: (lab) => inside(lab, "r", "nft", "flush", "ruleset"), shows: [/^\+ nat\/r/] },
  {
    what: "an nft rule added to ours",
    break: (lab) => inside(lab, "r", "nft", "add", "rule", "inet", "weft", "forward", "drop"),
    shows: [/^~ nat\/r/]
  },
  {
    what: "a sysctl",
    break: (lab) => inside(lab, "r", "sysctl", "-qw", "net.ipv4.ip_forward=0"),
    shows: [/^~ node\/r sysctls.net.ipv4.ip_forward: "0" -> "1"/]
  },
  {
    what: "the hosts file",
    break: (lab, weftd) => writeFileSync(`/run/weft/${weftd.instance}/labs/${lab}/hosts`, "127.0.0.1 localhost\n"),
    shows: [/^~ hosts-file/]
  },
  { what: "resolv.conf deleted", break: (lab) => rmSync(`/etc/netns/weft.${lab}.a/resolv.conf`), shows: [/^\+ resolver\/a/] },
  {
    what: "the fabric's side deleted",
    break: (_, weftd, fabricName) => sh("ip", "-n", weftd.fabric, "link", "del", fabricName("a:eth0")),
    shows: [/^\+ port\/a:eth0/]
  },
  { what: "the node's side deleted", break: (lab) => ip(lab, "d", "link", "del", "wire"), shows: [/^\+ port\/d:wire/] },
  {
    what: "the eBPF program taken off",
    break: (_, weftd, fabricName) => sh("ip", "netns", "exec", weftd.fabric, "tc", "qdisc", "del", "dev", fabricName("a:eth0"), "clsact"),
    shows: [/^~ port\/a:eth0 state: "without its eBPF program"/]
  },
  {
    what: "a namespace deleted",
    break: (lab) => sh("ip", "netns", "del", `weft.${lab}.d`),
    shows: [/^\+ node\/d/, /^\+ port\/d:eth0/, /^\+ port\/d:wire/, /^\+ segment\/link\/wire/, /^~ segment\/network\/far ports/]
  }
]

/** Whether a and d reach each other, on both ways. */
const whole = async (weftd: Weftd, lab: string): Promise<boolean> =>
  (await weftd.pings(lab, "a", "10.2.0.2")) && (await weftd.pings(lab, "a", "2001:db8:2::2")) && (await weftd.pings(lab, "a", "10.9.0.1"))

t.test("recovery", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("recovery")
  t.teardown(() => weftd.close())

  t.test("drift: what is changed by hand is shown, planned and mended", async (t) => {
    const lab = weftd.name("drift")
    const topology = routed(lab)
    await weftd.make(topology)
    t.ok(await whole(weftd, lab))
    for (const { break: doBreak, shows, what } of drifts) {
      const inspected = await weftd.inspect(lab)
      const names = new Map(inspected.nodes.flatMap((node) => node.ports.map((port) => [`${node.name}:${port.name}`, port.fabricName])))
      const before = identities(inspected)
      doBreak(lab, weftd, (port) => names.get(port)!)
      let drift: ReadonlyArray<string> = []
      const shown = async (): Promise<boolean> => {
        drift = await weftd.drift(lab)
        return shows.every((pattern) => drift.some((line) => pattern.test(line)))
      }
      // The kernel takes its time to take a namespace apart.
      await until(`inspect shows ${what}`, shown).catch(() => {})
      t.ok(await shown(), `${what}: inspect shows it`, { drift, shows })
      t.same(await weftd.plan(topology), drift, `${what}: plan shows the same`)
      await weftd.make(topology)
      t.same(await weftd.drift(lab), [], `${what}: deploy mends it`)
      t.ok(await whole(weftd, lab), `${what}: packets flow`)
      const after = identities(await weftd.inspect(lab))
      t.equal(after["r"], before["r"])
      t.equal(after["r:lan"], before["r:lan"], "what was not broken is not made anew")
    }
    await weftd.destroy(lab)
  })

  t.test("kill -9: the lab forwards, connections live, the next daemon adopts", async (t) => {
    const lab = weftd.name("crash")
    const topology = routed(lab)
    await weftd.make(topology)
    const before = identities(await weftd.inspect(lab))
    const connection = await Connection.open(weftd, lab, "a", "d", "10.2.0.2")
    // A ping every 10 ms over the whole of it; each lost one counts.
    const ping = weftd.startIn(lab, "a", ["ping", "-i", "0.01", "-q", "10.2.0.2"])
    let summary = ""
    ping.stdout!.on("data", (chunk: Buffer) => (summary += chunk))
    await weftd.kill()
    t.ok(await connection.exchange("while the daemon is dead"))
    await weftd.start()
    t.ok(await connection.exchange("after it came back"))
    const ended = new Promise((resolve) => ping.once("close", resolve))
    ping.kill("SIGINT")
    await ended
    t.match(summary, / 0% packet loss/)
    t.same(identities(await weftd.inspect(lab)), before)
    t.same(await weftd.plan(topology), [])
    const shown = await weftd.weft(["events"])
    t.match(shown.stdout, new RegExp(`${lab} was ready; adopted as it was`))
    await weftd.make({ ...topology, links: [{ name: "wire", endpoints: ["a:wire", "d:wire"], cidr: "10.9.0.0/31", mtu: 1400 }] })
    t.same(await weftd.drift(lab), [])
    t.ok(await connection.exchange("after a change by the new daemon"))
    await weftd.destroy(lab)
  })

  t.test("the file is gone or edited: destroy goes by the state", async (t) => {
    const lab = weftd.name("nofile")
    const file = `${weftd.directory}/lab.weft.yaml`
    writeFileSync(file, JSON.stringify(routed(lab)))
    t.equal((await weftd.weft(["deploy", file])).code, 0)
    rmSync(file)
    t.equal((await weftd.weft(["destroy", lab])).code, 0)
    t.same(await weftd.client.list(), [])
  })

  t.test("leftovers of nothing are removed, what is not ours never", async (t) => {
    const lab = weftd.name("left")
    await weftd.make(routed(lab))
    const foreign = `weft.${weftd.name("foreign")}.x`
    sh("ip", "netns", "add", foreign)
    sh("ip", "-n", foreign, "link", "add", "keep", "type", "veth", "peer", "name", "keep2")
    sh("ip", "-n", weftd.fabric, "link", "add", "half", "type", "veth", "peer", "name", "half2")
    sh("nft", "add", "table", "inet", `weft-${process.pid}`)
    t.teardown(() => sh("nft", "delete", "table", "inet", `weft-${process.pid}`))
    await weftd.kill()
    rmSync(weftd.stateDirectory, { recursive: true })
    await weftd.start()
    t.same(await weftd.client.list(), [])
    t.notOk(existsSync(`/run/netns/weft.${lab}.a`))
    t.notOk(existsSync(`/etc/netns/weft.${lab}.a`))
    t.equal(sh("ip", "-n", weftd.fabric, "-o", "link").trim().split("\n").length, 1)
    t.match(sh("ip", "-n", foreign, "link"), /keep/)
    t.match(sh("nft", "list", "tables"), `weft-${process.pid}`)
    sh("ip", "netns", "del", foreign)
  })

  t.test("the fabric deleted by hand: a restart makes the lab whole again", async (t) => {
    const lab = weftd.name("nofabric")
    await weftd.make(routed(lab))
    const before = inodeOf(lab, "a")
    sh("ip", "netns", "del", weftd.fabric)
    await weftd.kill()
    await weftd.start()
    // Answered when start-up has mended the lab, which it does after it has begun to serve.
    t.same(await weftd.plan(routed(lab)), [])
    t.ok(await whole(weftd, lab))
    t.equal(inodeOf(lab, "a"), before)
    await weftd.destroy(lab)
  })

  t.test("after a reboot only the state and /etc are left: the lab is made again", async (t) => {
    const lab = weftd.name("reboot")
    const file = `${weftd.directory}/booted`
    const topology = routed(lab, { exec: [["sh", "-c", `echo ran >> ${file}`]] })
    await weftd.make(topology)
    await weftd.kill()
    for (const node of ["a", "r", "d"]) sh("ip", "netns", "del", `weft.${lab}.${node}`)
    sh("ip", "netns", "del", weftd.fabric)
    rmSync(`/run/weft/${weftd.instance}`, { recursive: true })
    await weftd.start()
    t.ok(await whole(weftd, lab))
    t.same(await weftd.plan(topology), [])
    t.equal(readFileSync(file, "utf8"), "ran\nran\n", "its commands have run again")
    await weftd.destroy(lab)
  })

  t.test("a namespace deleted by hand, then destroy: its files go, too", async (t) => {
    const lab = weftd.name("byhand")
    await weftd.make(routed(lab))
    sh("ip", "netns", "del", `weft.${lab}.a`)
    t.ok((await weftd.destroy(lab)).changed > 0)
    t.notOk(existsSync(`/etc/netns/weft.${lab}.a`))
  })

  t.test("a removal that was cut short between the mount and the file, then destroy: the file goes, too", async (t) => {
    const lab = weftd.name("cutshort")
    const name = `weft.${lab}.a`
    await weftd.make(routed(lab))
    sh("umount", "-l", `/run/netns/${name}`)
    rmSync(`/etc/netns/${name}`, { recursive: true })
    t.ok(existsSync(`/run/netns/${name}`), "as a daemon leaves it that is killed in there")
    await weftd.destroy(lab)
    t.notOk(existsSync(`/run/netns/${name}`))
  })

  t.test("failures name the resource and the reason; a retry converges", (t) => failures(t, weftd))
  t.test("--rollback goes back", (t) => rollback(t, weftd))

  t.test("a name that somebody else's namespace has", async (t) => {
    const lab = weftd.name("taken")
    const name = `weft.${lab}.r`
    sh("ip", "netns", "add", name)
    const inode = inodeOf(lab, "r")
    const outcome = await weftd.deploy(routed(lab))
    t.match(outcome.message, `"${name}"`)
    t.match(outcome.message, /not made by weft/)
    t.ok(await weftd.pings(lab, "a", "10.9.0.1"), "what does not need it is there")
    t.equal(ip(lab, "r", "-o", "link").trim().split("\n").length, 1, "nothing was put into it")
    t.equal(inodeOf(lab, "r"), inode)
    await weftd.kill()
    await weftd.start()
    t.ok(await weftd.pings(lab, "a", "10.9.0.1"))
    sh("ip", "netns", "del", name)
    await weftd.make(routed(lab))
    t.ok(await whole(weftd, lab))
    await weftd.destroy(lab)
    sh("ip", "netns", "add", name)
    await weftd.deploy(routed(lab))
    t.ok((await weftd.destroy(lab)).changed > 0)
    t.ok(existsSync(`/run/netns/${name}`), "it outlives the lab")
    sh("ip", "netns", "del", name)
  })
})

const failures = async (t: Test, weftd: Weftd): Promise<void> => {
  const lab = weftd.name("fails")
  const flag = `${weftd.directory}/flag`
  const command = await weftd.deploy(routed(lab, { exec: [["sh", "-c", "echo no flag >&2; exit 7"]] }))
  t.match(command.failures[0], /^exec\/a\/0: Cannot run command in a .*exit code 7 \(no flag\)/)
  t.match((await weftd.client.list())[0], { state: "failed", error: /exit code 7/ })
  await until("the rest is there", () => whole(weftd, lab))
  const shown = await weftd.weft(["deploy", "-"], { input: JSON.stringify(routed(lab, { exec: [["cat", flag]] })) })
  t.equal(shown.code, 1)
  t.match(shown.stderr, /exec\/a\/0|cat /)
  t.match(shown.stderr, /No such file/)
  writeFileSync(flag, "")
  t.match(await weftd.make(routed(lab, { exec: [["cat", flag]] })), { changed: 1 })
  t.match((await weftd.client.list())[0], { state: "ready", error: "" })

  const sysctl = await weftd.deploy(routed(lab, { sysctls: { "net.ipv4.no_such_setting": 1 } }))
  t.match(sysctl.failures[0], /^node\/a: Cannot set sysctl "net.ipv4.no_such_setting in a": ENOENT \(this kernel has no such setting/)
  const value = await weftd.deploy(routed(lab, { sysctls: { "net.ipv4.tcp_ecn": 99999 } }))
  t.match(value.failures[0], /net.ipv4.tcp_ecn in a": EINVAL/)
  await weftd.make(routed(lab))
  t.same(await weftd.plan(routed(lab)), [])

  inside(lab, "d", "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
  const six = await weftd.deploy(routed(lab))
  t.match(six.failures[0], /Cannot add address "2001:db8:2::2\/64 to d:eth0": EACCES \(ipv6: IPv6 is disabled on this device\)/)
  inside(lab, "d", "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
  await weftd.make(routed(lab))
  t.ok(await whole(weftd, lab))
  await weftd.destroy(lab)
}

const rollback = async (t: Test, weftd: Weftd): Promise<void> => {
  const lab = weftd.name("back")
  const broken = routed(lab, { exec: ["false"], sysctls: { "net.ipv4.ip_default_ttl": 9 } })
  const fresh = await weftd.deploy(broken, { rollback: true })
  t.match(fresh, { changed: -1, rolledBack: true })
  t.same(await weftd.client.list(), [], "a new lab is removed")
  t.notOk(existsSync(`/run/netns/weft.${lab}.a`))
  await weftd.make(routed(lab))
  const before = identities(await weftd.inspect(lab))
  const changed = await weftd.weft(["deploy", "-", "--rollback"], { input: JSON.stringify(broken) })
  t.equal(changed.code, 1)
  t.match(changed.stderr, /rolled back/)
  t.same(identities(await weftd.inspect(lab)), before)
  t.same(await weftd.plan(routed(lab)), [])
  t.equal(inside(lab, "a", "sysctl", "-n", "net.ipv4.ip_default_ttl").trim(), "64")
  t.match((await weftd.client.list())[0], { state: "ready" })
  await weftd.destroy(lab)
}
