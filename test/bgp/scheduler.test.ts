/** Whose turn it is in the routing thread. */
import t from "tap"
import { Scheduler, type Task } from "../../daemon/bgp/scheduler.ts"

/** Works `times` slices, and notes its name for each. */
const worker = (name: string, times: number, notes: string[], after: () => void = () => {}): Task => ({
  run: () => {
    notes.push(name)
    if (--times > 0) return true
    after()
    return false
  }
})

t.test("who can wait works when the others are through", async (t) => {
  const notes: string[] = []
  const scheduler = new Scheduler()
  await new Promise<void>((done) => {
    scheduler.wakeLater(worker("later", 1, notes, done))
    scheduler.wake(worker("first", 3, notes))
    scheduler.wake(worker("second", 2, notes))
    t.ok(scheduler.isBusy)
  })
  t.same(notes, ["first", "second", "first", "second", "first", "later"])
  await new Promise((then) => setImmediate(then))
  t.notOk(scheduler.isBusy)
})

t.test("who can wait does not wait for ever", async (t) => {
  const scheduler = new Scheduler({ laterMs: 200 })
  const began = performance.now()
  let isOver = false
  const endless: Task = { run: () => !isOver }
  scheduler.wake(endless)
  await new Promise<void>((done) => {
    const later: Task = {
      run: () => {
        done()
        return false
      }
    }
    scheduler.wakeLater(later)
    scheduler.wakeLater(later)
  })
  t.ok(performance.now() - began >= 200, "others go first for a while")
  isOver = true
})

t.test("who is forgotten gets no slice", async (t) => {
  const notes: string[] = []
  const scheduler = new Scheduler()
  const [gone, there] = [worker("gone", 1, notes), worker("there", 1, notes)]
  scheduler.wakeLater(gone)
  scheduler.forget(gone)
  await new Promise<void>((done) => {
    scheduler.wakeLater({ run: (budgetMs) => (there.run(budgetMs), done(), false) })
  })
  t.same(notes, ["there"])
})
