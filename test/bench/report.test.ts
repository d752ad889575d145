import t from "tap"
import * as Report from "../../bench/report.ts"

const subject = { bench: "datapath", case: "link", metric: "tcp", unit: "Gbit/s" }

t.test("median", async (t) => {
  t.equal(Report.median([3, 1, 2]), 2)
  t.equal(Report.median([4, 1, 2, 3]), 2.5)
  t.equal(Report.median([7]), 7)
})

t.test("figure compares sample by sample", async (t) => {
  const samples = [10, 30, 20]
  // The machine was slow for the second pair: the medians' ratio would be 20/25, that of the pairs is 1.
  const reference = { case: "veth", samples: [10, 25, 20] }
  t.strictSame(Report.figure(subject, samples, reference), {
    ...subject, n: 3, min: 10, median: 20, max: 30, ratio: 1, reference: "veth"
  })
  t.notOk("ratio" in Report.figure(subject, samples), "a reference has no ratio")
})

t.test("line and json", async (t) => {
  const figure = Report.figure(subject, [40.123456, 123456.7], { case: "veth", samples: [40, 123456.7] })
  t.equal(Report.line(figure), "datapath link tcp Gbit/s n=2 min=40.12 median=61748 max=123457 ratio=1.00 reference=veth")
  t.equal(
    Report.line(Report.figure({ ...subject, metric: "rtt", unit: "us" }, [0.5])),
    "datapath link rtt us n=1 min=0.5 median=0.5 max=0.5"
  )
  t.strictSame(JSON.parse(Report.json(figure)), figure)
})

t.test("judged compares the median with both ends of the bound", async (t) => {
  const of = (samples: ReadonlyArray<number>, bound: Report.Bound) => Report.judged(Report.figure(subject, samples), bound)
  t.match(of([1, 5, 90], { least: -10, most: 10 }), { bound: "-10..10", verdict: "ok" }, "one outlier does not count")
  t.match(of([11], { least: -10, most: 10 }), { verdict: "missed" })
  t.match(of([-11], { least: -10, most: 10 }), { verdict: "missed" })
  t.match(of([-5], { least: -Infinity, most: 100 }), { bound: "..100", verdict: "ok" })
  t.equal(of([Number.NaN], { least: 0, most: 1 }).verdict, "missed", "nothing measured is nothing reached")
  t.ok(Report.line(of([1], { least: 1, most: 1 })).endsWith("bound=1 ok"))
})
