/** The state machine of BFD as a table: to be read against RFC 5880 6.2, 6.8.4, 6.8.6 and 6.8.16. */
import t from "tap"
import { diagnosticName, Event, stateNames, transition } from "../../daemon/bfd/state.ts"

t.test("transition, all states and events", async (t) => {
  const lines = stateNames.flatMap((name, state) =>
    Object.entries(Event).map(([event, number]) => {
      const { diagnostic, to } = transition(state, number)
      return `${name} ${event} -> ${stateNames[to]}${diagnostic === undefined ? "" : `, diagnostic ${diagnosticName(diagnostic)}`}`
    })
  )
  t.equal(lines.length, 28)
  t.matchSnapshot(lines.join("\n"))
})
