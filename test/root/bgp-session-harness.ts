/** Sessions of weft's in namespaces of a `World`, and what they told: for tests of BGP sessions with each other and with others'. */
import type { BgpNeighborSpec } from "../../daemon/plan/bgp.ts"
import type { DownReason, LocalSpeaker, Session, SessionCallbacks } from "../../daemon/bgp/session/api.ts"
import { NeighborSession, type SessionOptions } from "../../daemon/bgp/session/session.ts"
import type { Transport } from "../../daemon/bgp/session/transport.ts"
import { ipBatch, type Namespace, until, World } from "./harness.ts"

export const neighborOf = (more: Partial<BgpNeighborSpec> & Pick<BgpNeighborSpec, "remote" | "remoteAs">): BgpNeighborSpec => ({
  name: more.remote.kind === "address" ? more.remote.address : more.remote.kind === "interface" ? more.remote.ifname : more.remote.prefix,
  vrf: "default",
  families: [{ family: "ipv4" }],
  timers: { holdTimeS: 90, keepaliveS: 30, connectRetryS: 5, mraiMs: 0 },
  passive: false,
  shutdown: false,
  multihop: 1,
  routeReflectorClient: false,
  gracefulRestart: { enabled: false, restartTimeS: 120, longLivedStaleS: 0, notification: true },
  allowAsIn: 0,
  removePrivateAs: false,
  asOverride: false,
  sendCommunities: true,
  ...more
})

/** What a session told, in order. */
export interface Heard {
  readonly states: string[]
  readonly updates: Uint8Array[]
  readonly downs: DownReason[]
  readonly stale: string[]
  established: number
  rooms: number
  refreshes: number
}

export const listen = (more: Partial<SessionCallbacks> = {}): readonly [SessionCallbacks, Heard] => {
  const heard: Heard = { states: [], updates: [], downs: [], stale: [], established: 0, rooms: 0, refreshes: 0 }
  const callbacks: SessionCallbacks = {
    established: () => void heard.established++,
    update: (_session, bytes, at, end) => void heard.updates.push(bytes.slice(at, end)),
    routeRefresh: () => void heard.refreshes++,
    down: (_session, reason) => void heard.downs.push(reason),
    stale: (_session, family, what) => void heard.stale.push(`${family} ${what}`),
    stateChanged: (_session, from, to) => void heard.states.push(`${from} ${to}`),
    room: () => void heard.rooms++,
    ...more
  }
  return [callbacks, heard]
}

export const speakerOf = (asn: number, routerId: string, more: Partial<LocalSpeaker> = {}): LocalSpeaker => ({
  asn,
  routerId,
  restarting: false,
  ...more
})

export interface Started {
  readonly session: NeighborSession
  readonly heard: Heard
}

export const startSession = (
  transport: Transport,
  speaker: LocalSpeaker,
  neighbor: BgpNeighborSpec,
  more: Partial<SessionOptions> & { readonly on?: Partial<SessionCallbacks> } = {}
): Started => {
  const [callbacks, heard] = listen(more.on)
  const session = new NeighborSession({ transport, speaker, neighbor, callbacks, ...more })
  session.start()
  return { session, heard }
}

/** Two nodes with a link: 10.0.0.1 and 2001:db8::1, 10.0.0.2 and 2001:db8::2. */
export const pair = (label: string): readonly [World, Namespace, Namespace] => {
  const world = new World(label)
  const one = world.namespace("one", { ipv6: true })
  const two = world.namespace("two", { ipv6: true })
  const addresses = (i: number): string[] => [
    `addr add 10.0.0.${i}/24 dev eth0`, `addr add 2001:db8::${i}/64 dev eth0 nodad`, `addr add 192.0.2.${i}/32 dev lo`, "link set eth0 up"
  ]
  ipBatch(one, [`link add eth0 type veth peer name eth0 netns ${two.name}`, ...addresses(1), "route add 192.0.2.2/32 via 10.0.0.2"])
  ipBatch(two, [...addresses(2), "route add 192.0.2.1/32 via 10.0.0.1"])
  return [world, one, two]
}

export const isUp = (session: Session): boolean => session.state === "Established"

export const untilUp = async (what: string, sessions: ReadonlyArray<Session>, patienceMs = 60_000): Promise<void> => {
  try {
    await until(`${what} is up`, () => sessions.every(isUp), patienceMs)
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${sessions.map((session) => JSON.stringify(session.status())).join(" ")}`)
  }
}
