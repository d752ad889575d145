import t from "tap"
import * as Nftables from "../../daemon/linux/nftables.ts"
import { needsRoot, World } from "./harness.ts"

t.test("listTable tells no table from no nft and no namespace", { skip: needsRoot }, async (t) => {
  const world = new World("nft")
  t.teardown(() => world.close())
  const { name } = world.namespace("n")
  t.equal(await Nftables.listTable(name, "inet", "weft"), undefined, "there is no such table")
  await t.rejects(Nftables.listTable("weft-test-nowhere", "inet", "weft"), { code: "exit code 125", message: /open network namespace/ })
  const path = process.env["PATH"]
  t.teardown(() => (process.env["PATH"] = path))
  process.env["PATH"] = "/nowhere"
  await t.rejects(Nftables.listTable(name, "inet", "weft"), { code: "ENOENT", message: /install nftables/ })
  await t.rejects(Nftables.apply(name, []), { code: "ENOENT", message: /install nftables/ })
})
