import t from "tap"
import { ifnameProblem, macProblem, nameProblem, nameSuggestion, sysctlProblem } from "../../daemon/topology/names.ts"

t.test("nameProblem lets through what is safe in paths, hosts files and shells", async (t) => {
  for (const name of ["a", "0", "pc1", "idc-r1", "a--b", "x".repeat(32)]) t.equal(nameProblem(name), undefined, name)
  for (const name of ["", "-a", "a-", "A", "a_b", "a.b", "..", "a/b", "a b", "a\n", "ä", "x".repeat(33)]) {
    t.type(nameProblem(name), "string", JSON.stringify(name))
  }
  t.equal(nameSuggestion("My_Lab"), "my-lab")
  t.equal(nameSuggestion("___"), undefined)
})

t.test("ifnameProblem follows dev_valid_name", async (t) => {
  for (const name of ["eth0", "e1-1", "Gi0.100", "...", "a".repeat(15), "$(x)", "lo0"]) t.equal(ifnameProblem(name), undefined, name)
  for (const name of ["", ".", "..", "lo", "a/b", "a:b", "a b", "a\t", "a%d", "ü", "a\u007f", "a".repeat(16)]) {
    t.type(ifnameProblem(name), "string", JSON.stringify(name))
  }
})

t.test("sysctlProblem keeps to the network namespace", async (t) => {
  t.equal(sysctlProblem("net.ipv4.ip_forward"), undefined)
  t.equal(sysctlProblem("net.ipv6.conf.default.accept_ra"), undefined)
  for (const name of ["net", "net.", "net..x", "kernel.panic", "net.a/b", "net.../x", "net.a b", "netx.y"]) {
    t.type(sysctlProblem(name), "string", name)
  }
})

t.test("macProblem wants a unicast address", async (t) => {
  t.equal(macProblem("02:00:00:00:00:01"), undefined)
  t.equal(macProblem("AA:bb:CC:00:11:22"), undefined)
  for (const mac of ["", "02:00:00:00:00", "02-00-00-00-00-01", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:0g"]) {
    t.type(macProblem(mac), "string", mac)
  }
})
