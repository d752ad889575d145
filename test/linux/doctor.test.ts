import t from "tap"
import { kernelVersionFinding } from "../../daemon/linux/doctor.ts"
import { limitFindings } from "../../daemon/linux/doctor-limits.ts"
import { mtuFinding } from "../../daemon/linux/doctor-underlay.ts"

const generous: Readonly<Record<string, string>> = {
  "/proc/sys/net/ipv4/neigh/default/gc_thresh3": "16384\n",
  "/proc/sys/net/ipv6/neigh/default/gc_thresh3": "16384\n",
  "/proc/sys/net/core/netdev_max_backlog": "10000\n",
  "/proc/self/limits": "Limit             Soft Limit   Hard Limit   Units\nMax open files    524288       524288       files\n",
  "/proc/sys/kernel/pid_max": "4194304\n",
  "/proc/sys/kernel/threads-max": "192730\n",
  "/proc/sys/user/max_net_namespaces": "96365\n",
  "/proc/sys/fs/mount-max": "100000\n",
  "/proc/meminfo": "MemTotal:       24683620 kB\nMemAvailable:   16777216 kB\n"
}

const findingsOf = (change: Readonly<Record<string, string | undefined>>) => {
  const files = { ...generous, ...change }
  return limitFindings((path) => files[path])
}

t.test("limitFindings has nothing to say about a generous machine", async (t) => {
  t.same(findingsOf({}).filter(({ verdict, remedy }) => verdict !== "OK" || remedy !== ""), [])
  t.match(findingsOf({}).find(({ subject }) => subject === "memory"), { detail: "16384 MiB available: room for about 104800 nodes" })
})

const cases: ReadonlyArray<readonly [path: string, content: string, subject: string, remedy: RegExp]> = [
  ["/proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024", "ipv4 neighbour table", /^sysctl -w net\.ipv4\.neigh\.default\.gc_thresh3=/],
  ["/proc/sys/net/ipv6/neigh/default/gc_thresh3", "4095", "ipv6 neighbour table", /^sysctl -w net\.ipv6\./],
  ["/proc/sys/net/core/netdev_max_backlog", "300", "netdev_max_backlog", /^sysctl -w net\.core\.netdev_max_backlog=/],
  ["/proc/self/limits", "Max open files            1024                 4096                 files", "open files", /^ulimit/],
  ["/proc/sys/kernel/pid_max", "4096", "processes", /^sysctl -w kernel\.pid_max=/],
  ["/proc/sys/user/max_net_namespaces", "100", "namespace limit", /^sysctl -w user\.max_net_namespaces=/],
  ["/proc/meminfo", "MemAvailable:   102400 kB", "memory", /more memory/]
]

for (const [path, content, subject, remedy] of cases) {
  t.test(`limitFindings warns about ${subject} and nothing else when ${path} is low`, async (t) => {
    const warnings = findingsOf({ [path]: content }).filter(({ verdict }) => verdict !== "OK")
    t.match(warnings, [{ subject, verdict: "WARNING", remedy }])
    t.equal(warnings.length, 1)
  })
}

t.test("limitFindings gets along with files that a kernel does not have", async (t) => {
  const findings = limitFindings(() => undefined)
  t.same(findings.filter(({ verdict }) => verdict !== "OK").map(({ subject }) => subject), ["memory"])
})

t.test("mtuFinding wants room for the outer headers", async (t) => {
  const verdict = (address: string, mtu: number) => mtuFinding(address, { name: "eth0", mtu }).verdict
  t.strictSame([1549, 1550, 9000].map((mtu) => verdict("192.0.2.1", mtu)), ["WARNING", "OK", "OK"])
  t.strictSame([1569, 1570].map((mtu) => verdict("2001:db8::1", mtu)), ["WARNING", "OK"])
  t.match(mtuFinding("192.0.2.1", { name: "eth0", mtu: 1500 }), {
    detail: /^eth0 takes 1500 octets: packets of a lab up to 1450 cross whole, longer ones cross in fragments/,
    remedy: "ip link set dev eth0 mtu 1550 where the network allows it, or mtu: 1450 in labs"
  })
  const nowhere = "no interface of this machine has the underlay address 192.0.2.1"
  t.match(mtuFinding("192.0.2.1", undefined), { verdict: "WARNING", detail: nowhere })
})

t.test("kernelVersionFinding wants 5.15", async (t) => {
  for (const version of ["5.15.0-generic", "6.1.0-18-amd64"]) t.equal(kernelVersionFinding(version).verdict, "OK", version)
  for (const version of ["5.14.21", "4.19.0"]) t.equal(kernelVersionFinding(version).verdict, "MISSING", version)
})
