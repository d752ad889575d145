/**
 * Why the data path drops a frame: the mirror of `bpf/lib/drop_reasons.h`. Numbers are never reused. The names are those
 * of the header in camel case; `describe` is what a person reads.
 */
export const DropReason = {
  noPort: 0,
  runt: 1,
  invalidSource: 2,
  linkLocal: 3,
  hairpin: 4,
  noSegment: 5,
  undeliverable: 6,
  unknownVni: 7,
  unknownVtep: 8,
  splitHorizon: 9,
  cut: 10,
  tooLong: 11
} as const

export type DropReason = keyof typeof DropReason

export const dropReasons = Object.keys(DropReason) as ReadonlyArray<DropReason>

/** How many reasons a port's counters have room for (`DROP_REASONS_MAX`). */
export const dropReasonsMax = 16

const descriptions: Readonly<Record<DropReason, string>> = {
  noPort: "no port is known for the interface that it came from or was meant for",
  runt: "shorter than an Ethernet header",
  invalidSource: "the source is a group address or zero",
  linkLocal: "link-local control frame (01:80:c2:00:00:00 to 0f), which no switch forwards",
  hairpin: "the destination is on the port that it came from",
  noSegment: "the port's network does not exist",
  undeliverable: "a copy could not be handed to the port's interface",
  unknownVni: "it came in a tunnel, for a VNI that no segment here has",
  unknownVtep: "it came in a tunnel, from a host that has no port of this VNI's segment",
  splitHorizon: "it came from another host, for a station that is on another host",
  cut: "a fault keeps frames from passing",
  tooLong: "longer than the MTU that a fault gives to the wire"
}

export const describe = (reason: DropReason): string => descriptions[reason]
