/**
 * The RIB against the simplest one that there is: random announcements, withdrawals, sessions, next hops and policies; after each few of
 * them the best paths, the FIB and what each neighbour has been sent must be what the simple one says.
 */
import t from "tap"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import type { RibPolicy } from "../../../daemon/bgp/rib/types.ts"
import { type Random, seeded } from "../../random.ts"
import { anyFamily, attributes, peerConfig, type PeerOptions, TestPeer, TestRib } from "./rib-harness.ts"

const asn = 65000
const noExport = 0xffff_ff01
const noAdvertise = 0xffff_ff02
const routerId = 0x0a0000fe

interface Route {
  readonly given: PathAttributes
  readonly peer: SimplePeer
}

interface SimplePeer {
  readonly options: PeerOptions
  readonly isExternal: boolean
  readonly routes: Map<string, PathAttributes>
  real: TestPeer
  isUp: boolean
  /** Denies what has this MED. */
  denied: number
}

const denies = (med: number): RibPolicy => ({
  usesPrefix: false,
  apply: (given) => (given.med === med ? undefined : { attributes: given })
})

const pathOf = ({ asPath }: PathAttributes): ReadonlyArray<number> => asPath.flatMap(({ asns }) => asns)

/** Below 0: the first is better. `current`: the best until now. */
const compare = (a: Route, b: Route, current: SimplePeer | undefined): number => {
  const x = a.given
  const y = b.given
  const steps = [
    (y.localPref ?? 100) - (x.localPref ?? 100),
    pathOf(x).length - pathOf(y).length,
    x.origin - y.origin,
    pathOf(x)[0] === pathOf(y)[0] ? (x.med ?? 0) - (y.med ?? 0) : 0,
    (a.peer.isExternal ? 0 : 1) - (b.peer.isExternal ? 0 : 1),
    a.peer.isExternal && b.peer.isExternal && a.peer === current ? -1 : 0,
    a.peer.isExternal && b.peer.isExternal && b.peer === current ? 1 : 0,
    (x.originatorId ?? a.peer.options.routerId!) - (y.originatorId ?? b.peer.options.routerId!),
    x.clusterList.length - y.clusterList.length
  ]
  return steps.find((step) => step !== 0) ?? (a.peer.options.address! < b.peer.options.address! ? -1 : 1)
}

const best = (routes: ReadonlyArray<Route>, current: SimplePeer | undefined): Route | undefined => {
  const groups = Map.groupBy(routes, ({ given }) => pathOf(given)[0] ?? 0)
  const champions = [...groups.values()].map((group) => group.toSorted((a, b) => compare(a, b, current))[0]!)
  return champions.toSorted((a, b) => compare(a, b, current))[0]
}

/** What `to` is sent of a route; undefined: nothing. */
const exported = ({ given, peer }: Route, to: SimplePeer): string | undefined => {
  if (peer === to || given.communities.includes(noAdvertise)) return undefined
  const isClient = (one: SimplePeer): boolean => one.options.routeReflectorClient === true
  if (to.isExternal) {
    const { communities, origin } = given
    if (communities.includes(noExport)) return undefined
    return textOf(attributes({ path: [asn, ...pathOf(given)], nextHop: "192.0.2.1", origin, communities }))
  }
  if (peer.isExternal) return textOf({ ...given, localPref: given.localPref ?? 100, clusterList: [] })
  if (!isClient(peer) && !isClient(to)) return undefined
  const originatorId = given.originatorId ?? peer.options.routerId!
  return textOf({ ...given, localPref: given.localPref ?? 100, originatorId, clusterList: [routerId, ...given.clusterList] })
}

const textOf = (of: PathAttributes): string => {
  const { clusterList, communities, localPref, med, nextHop, origin, originatorId } = of
  return [pathOf(of).join(" "), nextHop, origin, med, localPref, communities.join(), originatorId, clusterList.join()].join("|")
}

const prefixes = Array.from({ length: 12 }, (_, i) => `10.${i}.0.0/16`)
const nextHops = ["10.9.9.1", "10.9.9.2", "10.9.9.3"]

const randomAttributes = (random: Random, { isExternal, options }: SimplePeer): PathAttributes => {
  const path = Array.from({ length: random.below(3) }, () => 1 + random.below(4))
  return attributes({
    path: isExternal ? [options.remoteAs!, ...path] : path, origin: random.below(3), nextHop: random.pick(nextHops),
    ...(random.below(2) === 0 ? { med: random.below(3) } : {}),
    ...(isExternal ? {} : { localPref: 100 + random.below(2) }),
    ...(!isExternal && random.below(4) === 0 ? { originatorId: 50 + random.below(3), clusterList: [7] } : {}),
    communities: random.below(6) === 0 ? [random.pick([noExport, noAdvertise, 65000 * 65536 + 1])] : []
  })
}

class Model {
  readonly lab = new TestRib({ asn, routerId, clusterId: routerId })
  readonly peers: ReadonlyArray<SimplePeer>
  readonly current = new Map<string, SimplePeer>()
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
    const kinds: ReadonlyArray<PeerOptions> = [
      { remoteAs: 65001 }, { remoteAs: 65001 }, { remoteAs: 65002 }, {}, { routeReflectorClient: true }, { routeReflectorClient: true }
    ]
    this.peers = kinds.map((kind, i) => {
      const options = { ...kind, name: `p${i}`, routerId: 20 - i, address: `10.0.0.${i + 1}` }
      const real = this.lab.peer(options)
      return { options, real, isExternal: kind.remoteAs !== undefined, routes: new Map(), isUp: true, denied: -1 }
    })
  }

  step(): string {
    const random = this.#random
    const peer = random.pick(this.peers)
    const prefix = random.pick(prefixes)
    const name = peer.options.name!
    switch (random.below(12)) {
      case 0:
        return random.below(3) === 0 ? this.#flap(peer) : this.#toggle(peer)
      case 1: {
        const address = random.pick(nextHops)
        const isReachable = this.lab.nextHops.isLost(address)
        this.lab.nextHops.set(address, { isReachable })
        return `${address} ${isReachable}`
      }
      case 2: {
        peer.denied = random.below(4) - 1
        const importPolicy = denies(peer.denied)
        const families = [{ ...anyFamily, importPolicy }, anyFamily] as const
        this.lab.rib.updatePeer(peer.real.index, peerConfig(asn, { ...peer.options, families }))
        return `${name} denies ${peer.denied}`
      }
      case 3:
      case 4:
      case 5:
        if (!peer.isUp) return ""
        peer.real.withdraw([prefix])
        peer.routes.delete(prefix)
        return `${name} withdraws ${prefix}`
      default: {
        if (!peer.isUp) return ""
        const given = randomAttributes(random, peer)
        const some = [prefix, random.pick(prefixes)]
        peer.real.announce(some, given)
        for (const one of some) peer.routes.set(one, given)
        return `${name} announces ${some.join()} ${textOf(given)}`
      }
    }
  }

  /** The session ends and comes back before the RIB has had a turn; some routes come again, as they were or with other attributes. */
  #flap(peer: SimplePeer): string {
    if (!peer.isUp) return ""
    const before = [...peer.routes]
    peer.routes.clear()
    peer.real.down()
    peer.real.up()
    for (const [prefix, given] of before) {
      const choice = this.#random.below(3)
      if (choice === 0) continue
      const now = choice === 1 ? given : randomAttributes(this.#random, peer)
      peer.real.announce([prefix], now)
      peer.routes.set(prefix, now)
    }
    return `${peer.options.name} flaps, and keeps ${[...peer.routes.keys()].join()}`
  }

  #toggle(peer: SimplePeer): string {
    peer.routes.clear()
    if (peer.isUp) peer.real.down()
    else peer.real.up()
    peer.isUp = !peer.isUp
    return `${peer.options.name} up ${peer.isUp}`
  }

  /** What is wrong, or nothing. */
  check(): string | undefined {
    this.lab.settle()
    for (const prefix of prefixes) {
      const routes = this.peers.flatMap((peer) => {
        const given = peer.routes.get(prefix)
        const isOut = given === undefined || (given.med ?? -2) === peer.denied || this.lab.nextHops.isLost(given.nextHop!)
        return isOut ? [] : [{ given: given!, peer }]
      })
      const wanted = best(routes, this.current.get(prefix))
      const view = this.lab.rib.explain(prefix).find(({ isBest }) => isBest)
      const found = view === undefined ? undefined : `${view.peer} ${textOf(view.attributes)}`
      const expected = wanted === undefined ? undefined : `${wanted.peer.options.name} ${textOf(wanted.given)}`
      if (found !== expected) return `${prefix}: best is ${found}, not ${expected}`
      if (wanted === undefined) this.current.delete(prefix)
      else this.current.set(prefix, wanted.peer)
      const route = this.lab.fib.routes.get(prefix)?.split("|")[0]
      if (route !== wanted?.given.nextHop) return `${prefix}: the FIB has ${route}, not ${wanted?.given.nextHop}`
      for (const peer of this.peers) {
        const sent = peer.real.routes.get(prefix)
        const has = !peer.isUp || sent === undefined ? undefined : textOf(sent)
        const due = wanted === undefined || !peer.isUp ? undefined : exported(wanted, peer)
        if (has !== due) return `${prefix}: ${peer.options.name} has ${has}, not ${due}`
      }
    }
    return undefined
  }
}

t.test("Rib chooses and sends what the simplest RIB does", (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed)
    const model = new Model(random)
    const log: string[] = []
    for (let round = 0; round < 60; round++) {
      for (let steps = 1 + random.below(4); steps > 0; steps--) log.push(model.step())
      const problem = model.check()
      if (problem === undefined) continue
      t.fail(`seed ${seed}, round ${round}: ${problem}`, { log: log.slice(-8) })
      break
    }
    // Nothing is kept of routes that are gone.
    for (const peer of model.peers) if (peer.isUp) peer.real.down()
    model.lab.settle()
    const { attributeSets, paths, prefixes } = model.lab.rib.counts(0)
    if (paths + attributeSets + prefixes > 0) t.fail(`seed ${seed}: ${paths} paths, ${attributeSets} sets, ${prefixes} prefixes are left`)
    if (model.lab.fib.routes.size > 0) t.fail(`seed ${seed}: the FIB keeps ${[...model.lab.fib.routes.keys()]}`)
  }
  t.pass("60 seeds")
  t.end()
})
