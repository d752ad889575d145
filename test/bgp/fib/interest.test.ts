import t from "tap"
import { Interest } from "../../../daemon/bgp/fib/interest.ts"
import { parse, parsePrefix } from "../../../daemon/wire/ip.ts"

const ask = (interest: Interest, prefix: string): boolean => {
  const { address, length } = parsePrefix(prefix)!
  return interest.isUnder(address.length === 4 ? 0 : 1, address, 0, length)
}

t.test("Interest knows prefixes with a tracked address, and few others", async (t) => {
  const interest = new Interest()
  t.notOk(ask(interest, "0.0.0.0/0"), "nothing is tracked")
  const [one, six] = [{}, {}]
  interest.add(parse("192.0.2.77")!, one)
  interest.add(parse("2001:db8:1::77")!, six)
  for (const prefix of ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.77/32", "2001:db8::/32", "2001:db8:1::/64", "2001:db8:1::77/128"]) {
    t.ok(ask(interest, prefix), prefix)
  }
  for (const prefix of ["192.0.2.76/32", "192.0.3.0/24", "10.0.0.0/8", "2001:db8:2::/48", "2001:db9::/32"]) {
    t.notOk(ask(interest, prefix), prefix)
  }
  interest.remove(parse("192.0.2.77")!, one)
  t.notOk(ask(interest, "192.0.2.0/24"))
})
