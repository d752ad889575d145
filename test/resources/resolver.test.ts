import t from "tap"
import type { ResolverSpec } from "../../daemon/plan/resource.ts"
import { parse, render } from "../../daemon/resources/resolver.ts"

t.test("parse reads what render writes", async (t) => {
  const specs: ReadonlyArray<ResolverSpec> = [
    { node: "pc", servers: ["10.0.0.53", "2001:db8::53"], search: ["corp.example", "example"] },
    { node: "pc", servers: ["10.0.0.53"], search: [] },
    { node: "pc", servers: [], search: ["example"] },
    { node: "pc", servers: [], search: [] }
  ]
  for (const spec of specs) t.strictSame(parse("pc", render(spec)), spec)
  t.equal(render(specs[0]!), "search corp.example example\nnameserver 10.0.0.53\nnameserver 2001:db8::53\n")
})

t.test("parse reads a file that somebody else wrote as resolv.conf(5) does", async (t) => {
  const content = "# mine\nsearch old.example\nnameserver\t10.0.0.1  \n\noptions ndots:2\nsearch new.example  other.example\nnameserver\n"
  t.strictSame(parse("pc", content), { node: "pc", servers: ["10.0.0.1", ""], search: ["new.example", "other.example"] })
})
