/**
 * Renews `rtnetlink.json`: what the kernel answers to our dump requests, beside what iproute2 says about the same objects.
 *
 *     sudo .weft/bin/node test/vectors/regenerate.ts
 *
 * It enters a network namespace of its own, fills it with `ip` and `tc`, and leaves nothing behind. A person reads the diff:
 * only what a newer kernel or iproute2 adds should have changed.
 */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { release } from "node:os"
import { join, resolve } from "node:path"
import { addon } from "../../daemon/native/index.ts"
import { Writer } from "../../daemon/wire/netlink.ts"
import * as Address from "../../daemon/wire/rtnetlink/address.ts"
import * as Link from "../../daemon/wire/rtnetlink/link.ts"
import * as Nexthop from "../../daemon/wire/rtnetlink/nexthop.ts"
import * as Route from "../../daemon/wire/rtnetlink/route.ts"
import * as Rule from "../../daemon/wire/rtnetlink/rule.ts"
import * as Tc from "../../daemon/wire/rtnetlink/tc.ts"

const inside = "--inside"
const run = (program: string, line: string): string => execFileSync(program, line.split(" "), { encoding: "utf8" })
const ask = (line: string): unknown => JSON.parse(run("ip", `-json -details -Numeric ${line}`))

const setUp = `
ip link set lo up
ip link add name eth0 index 7 mtu 1450 address 02:5a:00:00:00:07 type veth peer name eth1 index 8 address 02:5a:00:00:00:08
ip link set eth0 group 12
ip link property add dev eth0 altname weft.port.lab.node.eth0 altname short
ip link set eth0 up
ip link set eth1 up
ip tuntap add dev tap0 mode tap
ip link set tap0 address 02:5a:00:00:00:09
ip addr add 10.0.0.1/24 dev eth0
ip addr add 10.9.0.1 peer 10.9.0.2/32 dev eth1
ip addr add 192.0.2.1/31 dev eth1
ip addr add 2001:db8::1/64 dev eth0 nodad
ip addr add 2001:db8::5/128 dev lo nodad
ip route add default via 10.0.0.2 proto 94
ip route add 10.1.0.0/16 dev eth0 proto 94 metric 50
ip route add 10.2.0.0/16 via 10.0.0.3 table 1000 proto 94
ip route add blackhole 10.3.0.0/16 proto 94
ip route add prohibit 10.4.0.0/16 metric 4294967295
ip -6 route add default via 2001:db8::2 dev eth0 proto 94
ip -6 route add unreachable 2001:db8:3::/48 proto 94 metric 7
ip nexthop add id 1 via 10.0.0.2 dev eth0 proto 94
ip nexthop add id 2 via 10.0.0.3 dev eth0 proto 94
ip nexthop add id 3 dev eth1 proto 94
ip nexthop add id 4 via 2001:db8::2 dev eth0 proto 94
ip -6 nexthop add id 5 dev eth1 proto 94
ip nexthop add id 2147483647 group 1/2,256/3,3 proto 94
ip nexthop add id 11 group 4/5,7
ip route add 10.5.0.0/16 nhid 2147483647 proto 94
ip -6 route add 2001:db8:5::/48 nhid 11 proto 94
ip rule add from 10.0.0.0/8 to 192.0.2.0/24 iif eth0 oif eth1 fwmark 255 priority 100 table 1000 protocol 94
ip rule add priority 101 table 7
ip -6 rule add from 2001:db8::/32 priority 4294967295 table 4294967295 protocol 94
tc qdisc add dev eth0 clsact
tc filter add dev eth0 ingress protocol all prio 1 handle 1 bpf da obj .weft/bpf/port.bpf.o sec tc`

const dump = (write: (out: Writer) => void): string => {
  const out = new Writer()
  write(out)
  return Buffer.from(addon.netlinkDump(-1, out.finish())).toString("hex")
}

const capture = (): void => {
  for (const line of setUp.trim().split("\n")) run(line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1))
  const iproute = /iproute2-([\w.]+)/.exec(run("ip", "-V"))?.[1] ?? "unknown"
  const source = `captured from Linux ${release().split("-")[0]}; iproute2 ${iproute} says what it is`
  const rules = (out: Writer): void => {
    Rule.dumpRules(out, "ipv4")
    Rule.dumpRules(out, "ipv6")
  }
  const routes = [...(ask("-4 route show table all") as unknown[]), ...(ask("-6 route show table all") as unknown[])]
  const filters = JSON.parse(run("tc", "-json -details filter show dev eth0 ingress")) as unknown
  const vectors = [
    { name: "links", source, octets: dump(Link.dumpLinks), says: ask("link show") },
    { name: "addresses", source, octets: dump(Address.dumpAddresses), says: ask("address show") },
    { name: "routes", source, octets: dump((out) => Route.dumpRoutes(out)), says: routes },
    { name: "nexthops", source, octets: dump(Nexthop.dumpNexthops), says: ask("nexthop show") },
    { name: "rules", source, octets: dump(rules), says: [...(ask("-4 rule show") as unknown[]), ...(ask("-6 rule show") as unknown[])] },
    { name: "filters", source, octets: dump((out) => Tc.dumpIngressFilters(out, 7)), says: filters }
  ]
  writeFileSync(join(import.meta.dirname, "rtnetlink.json"), `${JSON.stringify(vectors, null, 1)}\n`)
}

if (process.argv.includes(inside)) capture()
else {
  const argv = ["--net", process.execPath, import.meta.filename, inside]
  execFileSync("unshare", argv, { cwd: resolve(import.meta.dirname, "../.."), stdio: "inherit" })
}
