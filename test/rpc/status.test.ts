import { status } from "@grpc/grpc-js"
import t from "tap"
import { onlyLabOf, Refused } from "../../daemon/reconciler/control.ts"
import { toStatus } from "../../daemon/rpc/status.ts"

const thrownBy = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

t.test("onlyLabOf finds the only lab; none is missing, several are a question of who asks", async (t) => {
  const labs = [{ name: "branch" }, { name: "office" }]
  t.equal(onlyLabOf(labs.slice(1)), "office")
  t.match(toStatus(thrownBy(() => onlyLabOf([]))), { code: status.NOT_FOUND, details: "No lab is deployed" })
  const details = "Which lab? Deployed: branch, office. Name one"
  t.match(toStatus(thrownBy(() => onlyLabOf(labs))), { code: status.INVALID_ARGUMENT, details })
})

t.test("toStatus keeps what others have to do apart from what nobody expected", async (t) => {
  t.match(toStatus(new Refused("busy", "wait")), { code: status.ABORTED, details: "wait" })
  t.match(toStatus(new Refused("unavailable", "etcd is away")), { code: status.FAILED_PRECONDITION })
  t.match(toStatus(new Error("Cannot add link")), { code: status.INTERNAL, details: "Cannot add link" })
  t.match(toStatus("text"), { code: status.INTERNAL, details: "text" })
})
