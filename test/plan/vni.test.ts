import t from "tap"
import type { Plan, Resource } from "../../daemon/plan/resource.ts"
import { allocateVnis, vnisOf } from "../../daemon/plan/vni.ts"

const segment = (name: string, vni: number): Resource => ({
  kind: "segment",
  id: `segment/network/${name}`,
  spec: { segmentKind: "network", name, vni, ports: [], ageingS: 300 },
  dependsOn: []
})

const plan = (...resources: ReadonlyArray<Resource>): Plan => ({ lab: "lab", nodes: [], segments: [], resources })

const allocate = (wanted: ReadonlyArray<Resource>, taken: ReadonlyArray<number>, previous: ReadonlyArray<Resource> = []) =>
  vnisOf(allocateVnis(plan(...wanted), new Set(taken), previous).resources)

t.test("allocateVnis leaves alone what collides with nothing", async (t) => {
  const wanted = plan(segment("a", 5), segment("b", 9))
  t.strictSame(allocateVnis(wanted, new Set([6, 8]), []), wanted)
})

t.test("allocateVnis moves past other labs and past itself", async (t) => {
  t.strictSame(allocate([segment("a", 5), segment("b", 6), segment("c", 5)], [5, 7]), [6, 8, 9])
})

t.test("allocateVnis goes on at 1 after the highest: 0 is no VNI", async (t) => {
  t.strictSame(allocate([segment("a", 0xffffff), segment("b", 0xffffff)], [0xffffff, 1]), [2, 3])
})

t.test("a segment that has a VNI keeps it, whoever comes and goes around it", async (t) => {
  const before = allocateVnis(plan(segment("a", 5), segment("b", 5)), new Set([5]), []).resources
  t.strictSame(vnisOf(before), [6, 7])
  t.strictSame(allocate([segment("a", 5), segment("b", 5)], [], before), [6, 7], "the other lab has gone")
  t.strictSame(allocate([segment("new", 6), segment("a", 5), segment("b", 5)], [], before), [8, 6, 7], "a new segment before them")
  t.strictSame(allocate([segment("b", 5)], [], before), [7])
})

t.test("a new segment does not take the VNI of one that goes: it is made first", async (t) => {
  t.strictSame(allocate([segment("new", 5)], [], [segment("old", 5)]), [6])
})

t.test("a segment moves when its VNI has become another lab's", async (t) => {
  t.strictSame(allocate([segment("a", 5)], [5], [segment("a", 5)]), [6])
})
