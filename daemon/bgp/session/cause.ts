/** What ended a session or an attempt, for those who ask: as a kind, in words, and as graceful restart sees it. Pure. */
import { CeaseError, ErrorCode } from "../../wire/bgp/iana.ts"
import * as NotificationCodec from "../../wire/bgp/notification.ts"
import type { DownReason } from "./api.ts"
import type { Ending } from "./graceful-restart.ts"
import type { Cause } from "./machine.ts"

export const downKind = (cause: Cause): DownReason["kind"] => {
  if (cause._tag === "Received") return "notification-received"
  if (cause._tag === "Replaced") return "replaced"
  if (cause._tag === "Lost") return "connection-lost"
  if (cause.event === "HoldTimerExpires") return "hold-timer"
  if (cause.event === "SendHoldTimerExpires") return "send-hold-timer"
  if (cause.error.code === ErrorCode.cease && cause.error.subcode === CeaseError.bfdDown) return "bfd"
  return cause.event === "ManualStop" || cause.event === "AutomaticStop" ? "admin" : "notification-sent"
}

/** One line for people. */
export const causeText = (cause: Cause): string => {
  switch (cause._tag) {
    case "Sent":
      return `we sent: ${NotificationCodec.describe(cause.error)}`
    case "Received":
      return `the peer sent: ${NotificationCodec.describe(cause.error)}`
    case "Lost":
      return cause.text
    case "Replaced":
      return "the peer has restarted and connected again"
    default:
      return cause satisfies never
  }
}

export const endingOf = (cause: Cause): Ending =>
  cause._tag === "Sent" || cause._tag === "Received"
    ? { _tag: "Notification", code: cause.error.code, subcode: cause.error.subcode }
    : { _tag: "ConnectionLost" }
