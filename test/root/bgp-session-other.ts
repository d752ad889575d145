/** A process of its own with the other end of a session, in the namespace that its argument names; it lives until its input ends. */
import { Transport } from "../../daemon/bgp/session/transport.ts"
import { addon } from "../../daemon/native/index.ts"
import { neighborOf, speakerOf, startSession } from "./bgp-session-harness.ts"

const transport = new Transport(addon.netnsOpen(process.argv[2]!))
const neighbor = neighborOf({ remote: { kind: "address", address: "10.0.0.1" }, remoteAs: 65001 })
startSession(transport, speakerOf(65002, "2.2.2.2"), neighbor, { idleHoldS: 0.002, idleHoldMaxS: 0.002 })
process.stdin.on("end", () => process.exit())
process.stdin.resume()
