import t from "tap"
import * as Tc from "../../../daemon/wire/rtnetlink/tc.ts"
import { captured, indexOf, mistreats } from "./captured.ts"
import { read } from "./oracle.ts"

interface Says {
  readonly kind: string
  readonly options?: { readonly bpf_name: string; readonly prog: { readonly id: number } }
}

t.test("Tc.decodeFilter agrees with tc", async (t) => {
  const { found, says } = captured<Says>("filters")
  const expected = says.map(({ options }) =>
    options === undefined ? undefined : { index: indexOf.get("eth0"), name: options.bpf_name, programId: options.prog.id }
  )
  t.strictSame(found.map(({ body }) => Tc.decodeFilter(body)), expected)
  t.ok(expected.some((filter) => filter !== undefined))
})

t.test("Tc.decodeFilter survives what no kernel sends", async (t) => t.equal(mistreats("filters", Tc.decodeFilter), undefined))

t.test("addClsact and addIngressFilter say what tc says", async (t) => {
  const qdisc = read("tc", (out) => Tc.addClsact(out, 7))
  t.strictSame([qdisc.type, qdisc.flags], [36, 0x1 | 0x4 | 0x400 | 0x100])
  t.match(qdisc, { data: { ifindex: 7, handle: 0xffff0000, parent: 0xfffffff1 }, attrs: { kind: "clsact" } })
  const filter = read("tc", (out) => Tc.addIngressFilter(out, 7, 33, "weft_port"))
  t.equal(filter.type, 44)
  // Priority 1, ETH_P_ALL in network order.
  t.match(filter.data, { ifindex: 7, handle: 1, parent: 0xfffffff2, info: 0x00010300 })
  // FD 33, NAME, FLAGS direct-action
  const options = "08000600" + "21000000" + "0e000700" + "776566745f706f727400" + "0000" + "08000800" + "01000000"
  t.match(filter.attrs, { kind: "bpf", options })
})
