/** Where a MAC address is: RFC 7432 15. */
import t from "tap"
import { type Claim, compareClaims, maxMoves, periodMs, Stations } from "../../daemon/evpn/stations.ts"

const here = "10.0.0.2"
const id = { vni: 7, mac: "02:00:00:00:00:01" }
const claim = (vtep: string, sequence = 0, sticky = false): Claim => ({ vtep, sequence, sticky })
const nothing = { advertise: [], withdraw: [], tell: [], forget: [], happenings: [] }

t.test("a station of the plan is announced, and let go", (t) => {
  const stations = new Stations(here)
  stations.seen(id, false, 0)
  t.match(stations.take(), { ...nothing, advertise: [{ ...id, sequence: 0 }] })
  stations.seen(id, true, 1)
  t.strictSame(stations.take(), nothing, "once")
  stations.gone(id)
  t.match(stations.take(), { ...nothing, withdraw: [id] })
  t.equal(stations.size, 0, "and is forgotten")
  t.end()
})

t.test("another host's station is told, and moves by its sequence number", (t) => {
  const stations = new Stations(here)
  stations.heard(id, [claim("10.0.0.3")], 0)
  t.match(stations.take(), { ...nothing, tell: [{ ...id, vtep: "10.0.0.3" }] })
  stations.heard(id, [claim("10.0.0.3"), claim("10.0.0.4", 1)], 1)
  t.match(stations.take(), { tell: [{ ...id, vtep: "10.0.0.4" }], happenings: [{ kind: "moved", from: "10.0.0.3", to: "10.0.0.4" }] })
  stations.heard(id, [claim("10.0.0.4", 1)], 2)
  t.strictSame(stations.take(), nothing, "the old one's withdrawal changes nothing")
  stations.heard(id, [], 3)
  t.match(stations.take(), { ...nothing, forget: [id] })
  t.equal(stations.size, 0)
  t.end()
})

t.test("what a port here shows has moved here", (t) => {
  const stations = new Stations(here)
  stations.heard(id, [claim("10.0.0.3", 4)], 0)
  stations.take()
  stations.seen(id, false, 1)
  t.strictSame(stations.take(), nothing, "not because the plan says so")
  stations.seen(id, true, 2)
  t.match(stations.take(), {
    advertise: [{ ...id, sequence: 5 }], tell: [], forget: [], happenings: [{ kind: "moved", from: "10.0.0.3", to: undefined, sequence: 5 }]
  })
  t.match([...stations.views()], [{ vtep: undefined, sequence: 5, moves: 1 }])
  stations.heard(id, [], 3)
  t.strictSame(stations.take(), nothing, "the other has withdrawn it")
  t.end()
})

t.test("and moves away again", (t) => {
  const stations = new Stations(here)
  stations.seen(id, true, 0)
  stations.take()
  stations.heard(id, [claim("10.0.0.3", 1)], 1)
  t.match(stations.take(), { withdraw: [id], tell: [{ ...id, vtep: "10.0.0.3" }], happenings: [{ kind: "moved", to: "10.0.0.3" }] })
  stations.heard(id, [], 2)
  t.match(stations.take(), { advertise: [id], happenings: [] }, "a port here still has it when the other lets go")
  t.end()
})

t.test("equal sequence numbers: the lower VTEP has it (15)", (t) => {
  const stations = new Stations(here)
  stations.seen(id, true, 0)
  stations.take()
  stations.heard(id, [claim("10.0.0.10")], 1)
  t.strictSame(stations.take(), nothing, "ours is lower, as numbers go")
  stations.heard(id, [claim("10.0.0.1")], 2)
  t.match(stations.take(), { withdraw: [id], tell: [{ vtep: "10.0.0.1" }] })
  const order = [claim("10.0.0.9", 2), claim("10.0.0.10", 2), claim("10.0.0.1", 1), claim("10.0.0.8", 0, true)].toSorted(compareClaims)
  t.strictSame(order.map(({ vtep }) => vtep), ["10.0.0.8", "10.0.0.9", "10.0.0.10", "10.0.0.1"], "sticky, then sequence, then address")
  t.end()
})

t.test("a sticky station does not move (15.2), and that is said once", (t) => {
  const stations = new Stations(here)
  stations.heard(id, [claim("10.0.0.3", 0, true)], 0)
  stations.take()
  stations.seen(id, true, 1)
  stations.seen(id, true, 2)
  const work = stations.take()
  t.match(work, { advertise: [], withdraw: [], forget: [] })
  t.strictSame(work.happenings.map(({ kind }) => kind), ["sticky"])
  t.end()
})

t.test("five moves in three minutes are a duplicate (15.1)", (t) => {
  const stations = new Stations(here)
  let sequence = 0
  let moves = 0
  stations.seen(id, true, 0)
  stations.take()
  const kinds: string[] = []
  while (moves < maxMoves) {
    stations.heard(id, [claim("10.0.0.3", ++sequence)], moves * 1000)
    kinds.push(...stations.take().happenings.map(({ kind }) => kind))
    moves += 1
    if (moves === maxMoves) break
    stations.seen(id, true, moves * 1000)
    sequence += 1
    kinds.push(...stations.take().happenings.map(({ kind }) => kind))
    moves += 1
  }
  t.strictSame(kinds, ["moved", "moved", "moved", "moved", "duplicate"])
  t.match([...stations.views()], [{ frozen: true }])
  stations.heard(id, [claim("10.0.0.4", 99)], 6000)
  stations.seen(id, true, 6100)
  t.strictSame(stations.take(), nothing, "nothing is believed, nothing is said")
  stations.thaw(periodMs)
  t.match([...stations.views()], [{ frozen: true }], "not quiet for long enough")
  stations.thaw(periodMs + 4000)
  const thawed = { withdraw: [id], tell: [{ vtep: "10.0.0.4" }], happenings: [{ kind: "thawed" }] }
  t.match(stations.take(), thawed, "then it is where others say")
  t.end()
})

t.test("a duplicate here is shown when nobody else has it any more", (t) => {
  const stations = new Stations(here)
  for (const i of [1, 3, 5]) {
    stations.heard(id, [claim("10.0.0.3", i)], i)
    stations.seen(id, true, i)
  }
  t.match([...stations.views()], [{ vtep: "10.0.0.3", frozen: true }])
  stations.heard(id, [], 10)
  t.match([...stations.views()], [{ vtep: undefined, frozen: true }])
  stations.gone(id)
  t.strictSame([...stations.views()], [])
  t.end()
})

t.test("moves that are further apart are no duplicates", (t) => {
  const stations = new Stations(here)
  stations.seen(id, true, 0)
  for (let i = 1; i <= 20; i++) {
    const nowMs = i * 50_000
    if (i % 2 === 1) stations.heard(id, [claim("10.0.0.3", i)], nowMs)
    else stations.seen(id, true, nowMs)
    t.notMatch(stations.take().happenings, [{ kind: "duplicate" }])
  }
  t.end()
})

t.test("a duplicate whose port is gone is forgotten when it thaws", (t) => {
  const stations = new Stations(here)
  for (let i = 0; i < 10; i++) {
    stations.heard(id, [claim("10.0.0.3", 2 * i + 1)], i)
    stations.seen(id, true, i)
  }
  stations.take()
  stations.heard(id, [], 20)
  stations.gone(id)
  stations.take()
  stations.thaw(2 * periodMs)
  stations.take()
  t.equal(stations.size, 0)
  t.end()
})
