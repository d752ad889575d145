/**
 * Two connections between the same two speakers: which of them stays (RFC 4271, 6.8; RFC 6286, 2.3).
 */

export interface Party {
  readonly asn: number
  /** As an unsigned number in host byte order. */
  readonly bgpIdentifier: number
}

/** Who opened the connection that stays: the speaker with the higher identifier, and of equal ones the one with the higher AS number. */
export const survivor = (local: Party, remote: Party): "local" | "remote" => {
  if (local.bgpIdentifier !== remote.bgpIdentifier) return local.bgpIdentifier > remote.bgpIdentifier ? "local" : "remote"
  return local.asn > remote.asn ? "local" : "remote"
}

/**
 * Which of two connections has to go, now that an OPEN with the peer's identifier has come on `fresh` and `other` is in OpenSent or
 * OpenConfirm. Each is told by who opened it; when both were opened by the same side, the newer one goes.
 */
export const loser = (
  local: Party,
  remote: Party,
  fresh: "local" | "remote",
  other: "local" | "remote",
  isFreshTheNewer: boolean
): "fresh" | "other" => {
  if (fresh === other) return isFreshTheNewer ? "fresh" : "other"
  return survivor(local, remote) === fresh ? "other" : "fresh"
}
