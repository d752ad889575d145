/** BGP's state machine as a table: every event in every state, to be read beside RFC 4271, 8.2.2. */
import t from "tap"
import { type Action, type Config, type Event, initial, type State, transition } from "../../../daemon/bgp/session/fsm.ts"
import { describe } from "../../../daemon/wire/bgp/notification.ts"

const config: Config = { passive: false, connectRetryS: 120, idleHoldS: 1, idleHoldMaxS: 60, sendHoldS: 480, isSecond: false }
const cease = { code: 6, subcode: 2, data: new Uint8Array(0) }
const agreed = { counter: 2, holdTimeS: 90, keepaliveS: 30, isReplaceable: false }

const states: ReadonlyArray<readonly [string, State, Config?]> = [
  ["Idle, stopped", initial],
  ["Idle", { _tag: "Idle", counter: 2, isStopped: false }],
  ["Connect", { _tag: "Connect", counter: 2, attempts: 1 }],
  ["Active", { _tag: "Active", counter: 2, attempts: 1 }],
  ["Active, passive", { _tag: "Active", counter: 2, attempts: 1 }, { ...config, passive: true }],
  ["OpenSent", { _tag: "OpenSent", counter: 2 }],
  ["OpenSent, second", { _tag: "OpenSent", counter: 0 }, { ...config, isSecond: true }],
  ["OpenConfirm", { _tag: "OpenConfirm", ...agreed }],
  ["OpenConfirm, hold time 0", { _tag: "OpenConfirm", ...agreed, holdTimeS: 0, keepaliveS: 0 }],
  ["Established", { _tag: "Established", ...agreed }],
  ["Established, hold time 0", { _tag: "Established", ...agreed, holdTimeS: 0, keepaliveS: 0 }],
  ["Established, restarts gracefully", { _tag: "Established", ...agreed, isReplaceable: true }]
]

const events: ReadonlyArray<Event> = [
  { _tag: "ManualStart" },
  { _tag: "ManualStop", error: cease },
  { _tag: "AutomaticStart" },
  { _tag: "AutomaticStop", error: { ...cease, subcode: 4 }, restart: 1 },
  { _tag: "AutomaticStop", error: { ...cease, subcode: 1 }, restart: "damped" },
  { _tag: "AutomaticStop", error: { ...cease, subcode: 1 }, restart: "never" },
  { _tag: "ConnectRetryTimerExpires" },
  { _tag: "HoldTimerExpires" },
  { _tag: "KeepaliveTimerExpires" },
  { _tag: "IdleHoldTimerExpires" },
  { _tag: "SendHoldTimerExpires" },
  { _tag: "TcpCrAcked" },
  { _tag: "TcpConnectionConfirmed" },
  { _tag: "TcpConnectionFails" },
  { _tag: "BgpOpen", holdTimeS: 90, keepaliveS: 30, isReplaceable: false },
  { _tag: "BgpOpen", holdTimeS: 0, keepaliveS: 0, isReplaceable: true },
  { _tag: "BgpHeaderErr", error: { code: 1, subcode: 1, data: new Uint8Array(0) } },
  { _tag: "BgpOpenMsgErr", error: { code: 2, subcode: 2, data: new Uint8Array(0) } },
  { _tag: "OpenCollisionDump" },
  { _tag: "NotifMsgVerErr" },
  { _tag: "NotifMsg" },
  { _tag: "KeepAliveMsg" },
  { _tag: "UpdateMsg" },
  { _tag: "UpdateMsgErr", error: { code: 3, subcode: 1, data: new Uint8Array(0) } },
  { _tag: "RouteRefreshMsg" }
]

const values = (of: object): string =>
  Object.entries(of).filter(([key]) => key !== "_tag").map(([key, value]) => `${key} ${value}`).join(", ")

const eventText = (event: Event): string => {
  const { _tag, ...rest } = event as Event & { error?: unknown }
  delete rest.error
  const more = values(rest)
  return more === "" ? _tag : `${_tag}(${more})`
}

const actionText = (action: Action): string => {
  switch (action._tag) {
    case "StartTimer":
      return `start ${action.timer} ${action.seconds}`
    case "StopTimer":
      return `stop ${action.timer}`
    case "SendNotification":
      return `SendNotification ${action.error.code}/${action.error.subcode} (${describe(action.error)})`
    default:
      return action._tag
  }
}

t.test("transition, all states and events", (t) => {
  const lines = states.flatMap(([name, state, own = config]) =>
    events.map((event) => {
      const [next, actions] = transition(own, state, event)
      return `${name} | ${eventText(event)} -> ${next._tag}(${values(next)}) [${actions.map(actionText).join("; ")}]`
    })
  )
  t.equal(lines.length, states.length * events.length)
  t.matchSnapshot(lines.join("\n"))
  t.end()
})

t.test("transition waits longer with each failure, up to a limit", (t) => {
  let state: State = { _tag: "Connect", counter: 0, attempts: 0 }
  const waited: number[] = []
  for (let i = 0; i < 8; i++) {
    const [idle, actions] = transition(config, { ...state, _tag: "OpenSent", counter: state.counter }, { _tag: "NotifMsg" })
    const timer = actions.find((action) => action._tag === "StartTimer" && action.timer === "idleHold")
    waited.push((timer as { readonly seconds: number }).seconds)
    state = transition(config, idle, { _tag: "IdleHoldTimerExpires" })[0]
  }
  t.strictSame(waited, [1, 2, 4, 8, 16, 32, 60, 60])
  t.end()
})

t.test("transition tries to connect again after 1, 2, 4... s, at most the connect retry time", (t) => {
  let state: State = { _tag: "Connect", counter: 0, attempts: 0 }
  const waited: number[] = []
  for (let i = 0; i < 9; i++) {
    const [active, actions] = transition(config, state, { _tag: "TcpConnectionFails" })
    waited.push((actions.find((action) => action._tag === "StartTimer") as { readonly seconds: number }).seconds)
    state = transition(config, active, { _tag: "ConnectRetryTimerExpires" })[0]
  }
  t.strictSame(waited, [1, 2, 4, 8, 16, 32, 64, 120, 120])
  t.end()
})
