/** When a deploy has ended, its ports send: the kernel has acted on the carriers of all of them. */
import t from "tap"
import { opening } from "../../daemon/linux/fabric.ts"
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

t.test("opening tells of links with a carrier that do not send yet, one by one or among all", { skip: needsRoot }, async (t) => {
  const world = new World("opening")
  t.teardown(() => world.close())
  const [fabric, node] = [world.namespace("fabric"), world.namespace("node")]
  const ports = Array.from({ length: 3 }, (_, at) => at + 77)
  ipBatch(fabric, ports.flatMap((index) => [`link add p${index} index ${index} type veth peer name e${index} netns ${node.name}`,
    `link set p${index} up`]))
  const few = new Set(ports)
  const many = new Set(Array.from({ length: 200 }, (_, at) => at + 2))
  t.same(opening(fabric.fd, few), new Set(), "without a carrier there is nothing to wait for")
  t.same(opening(fabric.fd, many), new Set())
  // Whoever asks at once may still see that the kernel has not acted on the carriers, and sees nobody else's links.
  ipBatch(node, ports.map((index) => `link set e${index} up`))
  t.ok(opening(fabric.fd, few).isSubsetOf(few))
  await until("all of them send", () => opening(fabric.fd, few).size === 0 && opening(fabric.fd, many).size === 0)
  ipBatch(fabric, ["link del p78"])
  t.same(opening(fabric.fd, few), new Set(), "one that is gone is not waited for")
})
