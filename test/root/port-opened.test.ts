/** When a deploy has ended, its ports send: the kernel has acted on the carriers of all of them. */
import t from "tap"
import { dump } from "../../daemon/linux/rtnetlink.ts"
import * as Link from "../../daemon/wire/rtnetlink/link.ts"
import { ipBatch, needsRoot, until, World } from "./harness.ts"

t.test("isSending is false for a link without carrier, and soon true with one", { skip: needsRoot }, async (t) => {
  const world = new World("opened")
  t.teardown(() => world.close())
  const [fabric, node] = [world.namespace("fabric"), world.namespace("node")]
  ipBatch(fabric, [`link add p1 index 77 type veth peer name e1 netns ${node.name}`, "link set p1 up"])
  const isSending = (): boolean =>
    Array.from(dump(fabric.fd, Link.dumpLinks)).some(({ body }) => Link.decode(body).index === 77 && Link.isSending(body))
  t.equal(isSending(), false, "its other side is down")
  ipBatch(node, ["link set e1 up"])
  await until("the kernel has told itself of the carrier", isSending)
  ipBatch(node, ["link set e1 down"])
  await until("and that it is gone", () => !isSending())
})
