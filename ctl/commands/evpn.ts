/** `weft evpn`: what a host knows of networks by EVPN, and from whom. */

import { withClient } from "../client.ts"
import { Exit } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { EvpnNetwork, EvpnPeer, EvpnPrefix, EvpnResponse, EvpnStation } from "../messages.ts"
import { type Style, print, printable, styleOf, widthOf } from "../terminal.ts"
import { table } from "../render/table.ts"
import { printValue } from "../render/value.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.evpn>, context: Context): Promise<number> => {
  const view = await withClient(context.daemon, (client) => client.evpn(input.lab ?? ""))
  if (input.output !== "table") {
    await printValue(input.output, view)
    return Exit.done
  }
  if (!view.running) {
    print("No EVPN here: this weftd is the only host, or was started with --evpn off")
    return Exit.done
  }
  print(lines(view, { style: styleOf(process.stdout), width: widthOf(process.stdout) }).join("\n"))
  return Exit.done
}

interface Look {
  readonly style: Style
  readonly width: number
}

const lines = (view: EvpnResponse, look: Look): ReadonlyArray<string> => {
  const { asn, host, networks, peers, prefixes, routerId, unknown, vtep } = view
  const ignored = unknown === 0 ? "" : `, ${unknown} routes of unknown types ignored`
  return [
    `${look.style.bold(printable(host))}: AS ${asn}, router id ${routerId}, VTEP ${vtep}${ignored}`,
    ...(peers.length === 0 ? [look.style.dim("no other hosts")] : peerLines(peers, look)),
    ...networks.flatMap((network) => ["", ...networkLines(network, look)]),
    ...(prefixes.length === 0 ? [] : ["", "Prefixes (known, not installed)", ...prefixLines(prefixes, view.vtep, look)])
  ]
}

const peerLines = (peers: ReadonlyArray<EvpnPeer>, { style, width }: Look): ReadonlyArray<string> =>
  table(
    [
      { title: "SESSION" },
      { title: "ADDRESS" },
      { title: "AS", align: "right" },
      { title: "STATE" },
      { title: "FOR", align: "right" },
      { title: "RECEIVED", align: "right" },
      { title: "SENT", align: "right" },
      { title: "LAST ERROR", folds: true }
    ],
    peers.map(({ address, advertised, asn, lastError, received, role, sinceMs, state }) => [
      printable(role),
      address,
      String(asn),
      state === "Established" ? style.green(state) : style.yellow(state),
      `${Math.floor(Number(sinceMs) / 1000)} s`,
      String(received),
      String(advertised),
      state === "Established" ? "" : printable(lastError)
    ]),
    { style, width }
  )

const networkLines = ({ answered, floods, lab, name, rd, stations, vni }: EvpnNetwork, look: Look): ReadonlyArray<string> => {
  const { style } = look
  const to = floods.length === 0 ? "nobody else" : floods.join(", ")
  return [
    `${style.bold(printable(`${lab}/${name}`))}: VNI ${vni}, RD ${rd}, floods to ${to}; `
      + `${String(answered)} ARP and ND requests answered here`,
    ...(stations.length === 0 ? [] : stationLines(stations, look))
  ]
}

const stationLines = (stations: ReadonlyArray<EvpnStation>, { style, width }: Look): ReadonlyArray<string> =>
  table(
    [{ title: "MAC" }, { title: "AT" }, { title: "SEQUENCE", align: "right" }, { title: "STATE" }, { title: "ADDRESSES", folds: true }],
    stations.map(({ addresses, frozen, mac, sequence, sticky, vtep }) => [
      mac,
      vtep === "" ? style.dim("here") : vtep,
      String(sequence),
      frozen ? style.red("duplicate") : sticky ? "sticky" : "",
      addresses.join(", ")
    ]),
    { style, width }
  )

const prefixLines = (prefixes: ReadonlyArray<EvpnPrefix>, own: string, { style, width }: Look): ReadonlyArray<string> =>
  table(
    [
      { title: "PREFIX" },
      { title: "FROM" },
      { title: "VNI", align: "right" },
      { title: "NETWORK" },
      { title: "GATEWAY" },
      { title: "WHICH IS" }
    ],
    prefixes.map(({ at, gateway, mac, network, prefix, vni, vtep }) => [
      prefix,
      vtep === own ? style.dim("here") : vtep,
      String(vni),
      network === "" ? style.dim("none here") : printable(network),
      gateway,
      mac !== "" ? `${mac} ${at === "" ? "here" : `at ${at}`}` : network === "" ? "" : style.yellow("not known")
    ]),
    { style, width }
  )
