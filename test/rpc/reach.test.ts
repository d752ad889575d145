import { PassThrough } from "node:stream"
import { status } from "@grpc/grpc-js"
import t from "tap"
import { reachHandler } from "../../daemon/rpc/reach.ts"

/** What the handler sees of a grpc-js call: a stream of results with a request. */
const callFor = (request: object) => Object.assign(new PassThrough({ objectMode: true }), { request, cancelled: false })

t.test("reachHandler says NOT_FOUND for a lab or node that does not exist", async (t) => {
  const call = callFor({ lab: "x", nodes: [], timeoutMs: 0, ipv6: false })
  const failed = new Promise((resolve) => call.once("error", resolve))
  reachHandler({ resolveNodes: () => ({ missing: 'There is no lab "x"' }) })(call as never)
  t.match(await failed, { code: status.NOT_FOUND, details: 'There is no lab "x"' })
})

t.test("reachHandler ends the stream of a lab without hosts", async (t) => {
  const call = callFor({ lab: "", nodes: [], timeoutMs: 0, ipv6: false })
  reachHandler({ resolveNodes: async () => [] })(call as never)
  const results = []
  for await (const result of call) results.push(result)
  t.same(results, [])
})

t.test("reachHandler turns an unexpected failure into INTERNAL", async (t) => {
  const call = callFor({ lab: "", nodes: [], timeoutMs: 0, ipv6: false })
  const failed = new Promise((resolve) => call.once("error", resolve))
  reachHandler({ resolveNodes: () => Promise.reject(new Error("the store is closed")) })(call as never)
  t.match(await failed, { code: status.INTERNAL, details: "the store is closed" })
})
