/** BFD sessions as a table: one line for each, and below why one is not up. Pure: messages in, lines out. */

import type { BfdResponse, BfdSession, BfdTimes } from "../messages.ts"
import { printable } from "../terminal.ts"
import { type Options, upDown } from "./bgp.ts"
import { table } from "./table.ts"

const milliseconds = (time: number): string => (time === 0 ? "-" : `${Number(time.toFixed(1))}ms`)

/** Transmit, receive, multiplier, as routers show it: `50/50/3`. */
const times = ({ minRxMs, minTxMs, multiplier }: BfdTimes): string => (multiplier === 0 ? "-" : `${minTxMs}/${minRxMs}/${multiplier}`)

const right = "right" as const

/** The page that `weft bfd NODE` prints. */
export const sessionLines = ({ lab, node, sessions }: BfdResponse, { nowMs, style, width }: Options): ReadonlyArray<string> => {
  const head = style.bold(`${lab}/${node}`)
  if (sessions.length === 0) return [head, "", "No BFD sessions"]
  const state = ({ state: own }: BfdSession): string => (own === "up" ? style.green(own) : style.red(own))
  const columns = [
    { title: "PEER" },
    { title: "VIA" },
    { title: "STATE" },
    { title: "UP/DOWN", align: right },
    { title: "TX/RX/MULT" },
    { title: "PEER'S" },
    { title: "SENDS EVERY", align: right },
    { title: "DETECTS IN", align: right },
    { title: "SENT", align: right },
    { title: "RECEIVED", align: right },
    { title: "DOWNS", align: right }
  ]
  const rows = sessions.map((one) => [
    printable(one.peer),
    one.multihop ? "multihop" : printable(one.ifname === "" ? "-" : one.ifname),
    state(one),
    upDown(Math.max(1, nowMs - one.sinceMs), nowMs),
    times(one.configured),
    times(one.remote),
    milliseconds(one.transmitMs),
    milliseconds(one.detectionMs),
    String(one.packetsSent),
    String(one.packetsReceived),
    String(one.downCount)
  ])
  const notes = sessions.flatMap((one) => noteOf(one).map((note) => `${style.red(`${printable(one.peer)}:`)} ${printable(note)}`))
  return [head, "", ...table(columns, rows, { width, style }), ...(notes.length === 0 ? [] : ["", ...notes])]
}

const packets = (count: number): string => (count === 1 ? "1 packet" : `${count} packets`)

const noteOf = (one: BfdSession): ReadonlyArray<string> => {
  const { discarded, lastDownReason, multihop, packetsReceived, remoteState, sendErrors, state, unmatched } = one
  const notes: string[] = []
  if (lastDownReason !== "") notes.push(`went down last because: ${lastDownReason}`)
  if (state === "admin-down") notes.push("administratively down")
  else if (state === "down" && remoteState === "admin-down") notes.push("the peer is administratively down")
  else if (state === "down" && packetsReceived === 0) notes.push("the peer has not said anything: does it run BFD with this node?")
  const reason = multihop ? "TTL or authentication" : "a TTL that is not 255, another interface, or authentication"
  if (discarded > 0) notes.push(`${packets(discarded)} refused: ${reason}`)
  if (unmatched > 0 && state !== "up") notes.push(`${packets(unmatched)} to this node's port: malformed, or of no session`)
  if (sendErrors > 0 && state !== "up") notes.push(`${packets(sendErrors)} could not be sent: no route, or the interface is down`)
  return notes
}
