import t from "tap"
import { EventLog } from "../../daemon/observe/events.ts"

const event = (lab: string, n: number) => ({ lab, type: "test", subject: `s${n}`, message: `event ${n}` })
const numbers = (log: EventLog, lab: string, count: number): ReadonlyArray<number> =>
  log.last(lab, count).map(({ subject }) => Number(subject.slice(1)))

t.test("EventLog.last gives the newest of a lab, oldest first", async (t) => {
  const log = new EventLog()
  for (let n = 0; n < 10; n++) log.emit(event(n % 2 === 0 ? "even" : "odd", n))
  t.strictSame(numbers(log, "even", 2), [6, 8])
  t.strictSame(numbers(log, "", 3), [7, 8, 9])
  t.strictSame(numbers(log, "odd", 0), [1, 3, 5, 7, 9], "0 is all")
  t.strictSame(numbers(log, "odd", 100), [1, 3, 5, 7, 9])
  t.strictSame(numbers(log, "other", 0), [])
  t.match(log.last("", 1)[0]!.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})

t.test("EventLog keeps a thousand and forgets the oldest", async (t) => {
  const log = new EventLog()
  for (let n = 0; n < 2500; n++) log.emit(event("a", n))
  const kept = numbers(log, "", 0)
  t.strictSame([kept.length, kept[0], kept.at(-1)], [1000, 1500, 2499])
})

t.test("EventLog.listen tells everyone until they have had enough", async (t) => {
  const log = new EventLog()
  const heard: string[] = []
  const stopFirst = log.listen(({ subject }) => {
    heard.push(`first ${subject}`)
    stopFirst()
  })
  log.listen(({ subject }) => heard.push(`second ${subject}`))
  log.emit(event("a", 1))
  log.emit(event("a", 2))
  t.strictSame(heard, ["first s1", "second s1", "second s2"])
})
