/** The pictures over time of a rehearsal's page: what is drawn in one line does not cover what comes next in it. */
import t from "tap"
import { timelineOf } from "../../ctl/render/page/timeline.ts"
import { recordOfStory } from "./rehearsal-events.ts"

t.test("timelineOf keeps the words of faults from covering each other", async (t) => {
  const [run] = recordOfStory({ flows: 2, seed: 3, budgetMs: 500 }).runs
  const [fault] = run!.faults
  const faults = Array.from({ length: 8 }, (_, index) =>
    ({ ...fault!, id: `f${index + 1}`, startMs: 2000 + 900 * index, endMs: index === 7 ? null : 2000 + 900 * index + 400 }))
  const page = timelineOf({ ...run!, faults }).text
  const bars = [...page.matchAll(/<svg class="f" x="([\d.]+)%" y="(\d+)" width="([\d.]+)%" height="14"\n([^>]*)>/g)]
    .map(([, x, y, width, more]) => ({ from: Number(x), until: Number(x) + Number(width), line: Number(y), more: more! }))
  t.equal(bars.length, faults.length)
  for (const line of Map.groupBy(bars, (bar) => bar.line).values()) {
    t.ok(line.length > 1)
    for (const [index, { from }] of line.slice(1).entries()) t.ok(line[index]!.until <= from + 0.001, "it ends where the next begins")
    t.ok(Math.abs(line.at(-1)!.until - 100) < 0.001, "the last may go on to the end")
  }
  t.notMatch(bars.map(({ more }) => more).join(), /overflow/, "and is cut there")
})
