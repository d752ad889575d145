/** `Host.Evpn`: what this host knows by EVPN, as messages have it. */
import type { Evpn, EvpnView } from "../evpn/evpn.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

const messageOf = ({ networks, peers, ...view }: EvpnView) => ({
  ...view,
  running: true,
  peers: peers.map(({ address, advertised, asn, received, role, status }) => ({
    address,
    role,
    asn,
    state: status.state,
    sinceMs: Math.round(status.sinceMs),
    received,
    advertised,
    lastError: status.lastError ?? ""
  })),
  networks: networks.map(({ stations, ...network }) => ({
    ...network,
    stations: stations.map(({ vni: _, vtep = "", ...station }) => ({ ...station, vtep }))
  }))
})

/** `evpn` undefined: it is off here. */
export const evpnHandler = (evpn: Pick<Evpn, "view"> | undefined) =>
  unary<{ readonly lab: string }, object>(toStatus, async ({ lab }) =>
    evpn === undefined ? { running: false } : messageOf(evpn.view(lab))
  )
