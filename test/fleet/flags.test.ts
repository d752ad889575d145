import { networkInterfaces } from "node:os"
import t from "tap"
import { fleetSettings, hostName } from "../../daemon/fleet/flags.ts"

/** Some address of this machine; a machine without any cannot be one of many. */
const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
const own = addresses.find(({ family, internal }) => family === "IPv4" && !internal)?.address
const skip = own === undefined ? "no address" : false

t.test("fleetSettings is nothing without --etcd, and says which flag needs it", async (t) => {
  t.equal(fleetSettings({ host: "h1" }, undefined), undefined)
  for (const [name, value] of [["underlay", "10.0.0.1"], ["capacity", "3"], ["label", ["a=b"]], ["etcd-ca", "x"]] as const) {
    t.throws(() => fleetSettings({ [name]: value }, undefined), { message: `--${name} is for one of many hosts: --etcd URL is missing` })
  }
})

t.test("fleetSettings reads members, labels and capacity", { skip }, async (t) => {
  const members = ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]
  const settings = fleetSettings({ etcd: members.join(), host: "h1", label: ["rack=a", "disk="], capacity: "7" }, own)
  const labels = { rack: "a", disk: "" }
  t.strictSame(settings, { etcd: members, underlay: own, capacity: 7, labels, etcdTls: undefined })
  t.equal(fleetSettings({ etcd: "new", host: "h1", underlay: own }, undefined)!.etcd, "new")
})

const bad: ReadonlyArray<readonly [flags: Record<string, string | ReadonlyArray<string>>, message: RegExp]> = [
  [{}, /needs --underlay ADDR/],
  [{ underlay: "nonsense" }, /Bad underlay address "nonsense"/],
  [{ underlay: "192.0.2.77" }, /The underlay address 192\.0\.2\.77 is none of this machine: it has/],
  [{ underlay: "127.0.0.1" }, /is none of this machine/],
  [{ etcd: "10.0.0.1:2379" }, /Bad address of etcd "10\.0\.0\.1:2379"/],
  [{ etcd: "," }, /needs the URL of a member/],
  [{ host: "Big Host" }, /Bad host name "Big Host"/],
  [{ underlay: own ?? "", capacity: "0" }, /Bad capacity "0"/],
  [{ underlay: own ?? "", label: ["a"] }, /Bad label "a": KEY=VALUE/],
  [{ underlay: own ?? "", label: ["a=1", "a=2"] }, /The label "a" is given twice/],
  [{ underlay: own ?? "", "etcd-ca": "x" }, /belong together/]
]

for (const [flags, message] of bad) {
  t.test(`fleetSettings refuses ${JSON.stringify(flags).replaceAll(own ?? "?", "ADDR")}`, { skip }, async (t) => {
    t.throws(() => fleetSettings({ etcd: "http://10.0.0.1:2379", host: "h1", ...flags }, undefined), { message })
  })
}

t.test("hostName of one of many is short and in small letters", async (t) => {
  t.match(hostName({ etcd: "new" }), /^[^.A-Z]+$/)
  t.equal(hostName({ host: "h-1" }), "h-1")
})
