/**
 * Rehearsals as pages: read by two real parsers, one of HTML that is strict and one of XML; nothing fetched, nothing let through. Where
 * there is
 * Chromium, the page is opened: its policy refuses nothing of its own, and zoom works.
 */
import { execFileSync, spawn } from "node:child_process"
import { accessSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { compareLabs } from "../../ctl/render/graph/compare.ts"
import { escaped, hashOf } from "../../ctl/render/page/html.ts"
import { rehearsalPage } from "../../ctl/render/rehearsal-page.ts"
import { writeReports } from "../../ctl/rehearsal/reports.ts"
import { eventsOf, nasty, recordOfStory } from "./rehearsal-events.ts"

const story = { flows: 6, seed: 3, budgetMs: 500 }
const records = {
  failed: recordOfStory({ ...story, badness: 2.5 }), passed: recordOfStory({ ...story, budgetMs: 900 }),
    many: recordOfStory({ ...story, flows: 20 }),
  repeated: recordOfStory(story, 3), "broke off": recordOfStory({ ...story, breaksOffAtMs: 8900 }),
    "at once": recordOfStory({ ...story, breaksOffAtMs: 0 }),
  "between runs": recordOfStory(story, 3, 1), nasty: recordOfStory({ ...story, name: nasty })
}

const reader = `
import sys, json, html5lib, xml.etree.ElementTree as E
text = sys.stdin.buffer.read()
parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
tree = parser.parse(text)
E.fromstring(text)
def words(e): return " ".join("".join(e.itertext()).split())
every = list(tree.iter())
names = [e for e in every if isinstance(e.tag, str)]
def tag(e): return e.tag.split("}")[-1]
ids = [e.get("id") for e in names if e.get("id")]
out = {
  "errors": [[list(position), code] for position, code, _ in parser.errors],
  "ids": len(ids) - len(set(ids)),
  "dead": [e.get("href") for e in names if (e.get("href") or "").startswith("#") and e.get("href")[1:] not in ids],
  "links": sorted({v for e in names for k, v in e.attrib.items()
    if k.split("}")[-1] in ("src", "href", "action", "srcset", "data") and not v.startswith("#")}),
  "handlers": [k for e in names for k in e.attrib if k.startswith("on") or k == "style"],
  "scripts": [e.text for e in names if tag(e) == "script"],
  "styles": [e.text for e in names if tag(e) == "style"],
  "policy": [e.get("content") for e in names if tag(e) == "meta" and e.get("http-equiv")],
  "unlabelled": [e.get("class") for e in names if tag(e) == "svg" and e.get("role") == "img" and not e.get("aria-label")],
  "headings": [words(e) for e in names if tag(e) in ("h1", "h2")],
  "verdict": [words(e) for e in names if (e.get("class") or "").startswith("verdict")],
  "tables": {words(e.find("caption")): [[words(c) for c in row if tag(c) in ("th", "td")] for row in e.iter("tr")]
    for e in names if tag(e) == "table"},
  "outages": [words(e.find("{http://www.w3.org/2000/svg}title")) for e in names
    if tag(e) == "rect" and (e.get("class") or "").split()[:1] == ["o"] and len(e)],
  "text": words(tree.find("body")),
}
print(json.dumps(out))
`
const known = new Map<string, any>()
/** What the parsers read. Each page is read once: the one of HTML takes its time. */
const parsed = (page: string): any => {
  const read = known.get(page)
    ?? JSON.parse(execFileSync("/usr/bin/python3", ["-c", reader], { input: page, encoding: "utf8", maxBuffer: 64 << 20 }))
  known.set(page, read)
  return read
}

t.test("every page is right HTML and right XML, and fetches nothing", async (t) => {
  for (const [name, record] of Object.entries(records)) {
    const page = rehearsalPage(record)
    const read = parsed(page)
    t.match(read, { errors: [], ids: 0, dead: [], links: [], handlers: [], unlabelled: [] }, name)
    t.equal(read.scripts.length, 1, `${name}: no script but its own`)
    t.equal(read.styles.length, 1)
    t.same(read.policy, [`default-src 'none'; style-src ${hashOf(read.styles[0])}; script-src ${hashOf(
      read.scripts[0])}; base-uri 'none'; form-action 'none'`])
    t.notMatch(page.replaceAll("http://www.w3.org/2000/svg", ""), /https?:|@import|url\(/)
  }
})

t.test("a page says in tables what it shows in pictures", async (t) => {
  const { outages, tables, verdict, headings } = parsed(rehearsalPage(records.failed))
  t.same(verdict, ["✗ failed"])
  t.same(headings, ["one tunnel to two", "Budgets", "Timeline", "Outages by flow and step", "Probes and round trips", "Checks", "Faults",
    "Topology before and after", "Event log"])
  t.same(tables["Longest outage in ms (of how many, if several)"].slice(0, 2), [
    ["Flow", "warm-up", "second tunnel", "cut vpn-1", "mend it", "still as it should be"],
      ["pc1 -> db (icmp)", "0", "12.5", "✗ 1380", "3.7", "0"]])
  t.match(tables["Who broke them"][1], ["pc1 -> db (icmp)", "cut vpn-1", "max-outage 500ms", "1380 ms"])
  t.match(tables["What was injected"][1], ["f1 link-down", "link vpn-1 (fw:tun1 -- vgw:tun1) is down", "cut vpn-1", "8.40 s", "13.81 s"])
  t.match(tables["Results of checks, the failed ones first"][1], [/vault/, "✗ failed"])
  t.same(tables["What changed"].slice(1).map((row: ReadonlyArray<string>) => row.slice(0, 2)),
    [["node vgw", "~ changed"], ["node fw2", "+ new"],
    ["network office", "~ changed"], ["link vpn-2", "+ new"], ["link wan", "~ changed"]])
  t.equal(outages.length, records.failed.runs[0]!.flows.reduce((sum, flow) => sum + flow.outages.length, 0), "an outage each")
  t.equal(outages[1], "out for 1380 ms from 8.50 s: 1380 probes lost, in step “cut vpn-1”")
})

t.test("an outage is drawn to scale", async (t) => {
  const page = rehearsalPage(records.passed)
  const { durationMs, flows } = records.passed.runs[0]!
  const outage = flows[0]!.outages[1]!
  const [, x, width] = /<rect class="o" x="([\d.]+)%" y="3" width="([\d.]+)%" height="20"><title>out for 552 ms/.exec(page)!
  t.ok(Math.abs(Number(x) - (100 * outage.startMs) / durationMs) < 0.001)
  t.ok(Math.abs(Number(width) - (100 * outage.lengthMs) / durationMs) < 0.001)
})

t.test("a record that broke off says so", async (t) => {
  const off = parsed(rehearsalPage(records["broke off"]))
  t.same(off.verdict, ["! broke off"])
  t.match(off.text, /This record is not complete/)
  t.match(off.text, /the daemon went away/)
  t.match(off.text, /not healed when the record ends/)
  t.match(off.tables["Steps"].map((row: ReadonlyArray<string>) => row[3]),
    ["Outcome", "✓ done", "✓ done", /broken off/, "– not begun", "– not begun"])
  t.match(off.tables["Longest outage in ms (of how many, if several)"].map((row: ReadonlyArray<string>) => row[3]), [/cut/, "309 and on"])
  t.match(parsed(rehearsalPage(records["at once"])).text, /This record is not complete/)
  t.match(parsed(rehearsalPage(records["between runs"])).text, /1 of 3 runs were made/)
})

t.test("what users write stays text", async (t) => {
  const { text } = parsed(rehearsalPage(records.nasty))
  t.match(text, "<script>alert(1)</script> \"&'--> ]]>")
  t.equal(escaped(nasty), "&#60;script&#62;alert(1)&#60;/script&#62; &#34;&#38;&#39;--&#62; ]]&#62; \ufffd[31m\ufffd\ufffd \ufffd")
})

t.test("compareLabs", async (t) => {
  const [before, after] = eventsOf(story).flatMap((event) => (event.event === "snapshot" ? [event.snapshot.lab] : []))
  const { changes, marksAfter, marksBefore } = compareLabs(before!, after!)
  t.same(compareLabs(before!, before!).changes, [])
  t.same(changes.find(({ what }) => what === "link wan")?.details, ["prefixes 203.0.113.0/30 → 203.0.113.0/29"])
  t.same(changes.find(({ what }) => what === "node vgw")?.details, ["port + tun2 169.254.11.2/30"])
  t.equal(marksAfter.get("node/fw2"), "added")
  t.equal(marksAfter.get("network/office/fw2:lan"), "added", "the line to a network that was there")
  t.equal(marksBefore.get("node/vgw"), "changed")
  t.equal(compareLabs(after!, before!).marksBefore.get("node/fw2"), "removed")
})

t.test("writeReports writes what it can", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-reports-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  t.throws(() => writeReports(records.passed, { html: join(folder, "no", "r.html"), junit: join(folder, "r.xml") }), {
    message: `Cannot write the report "${join(folder, "no", "r.html")}": ENOENT`
  })
  t.match(readFileSync(join(folder, "r.xml"), "utf8"), /<testsuites /)
})

const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => {
  try {
    accessSync(path)
    return true
  } catch {
    return false
  }
})

/** Opens a page and asks it something. */
const inChromium = async (file: string, folder: string, ask: (evaluate: (expression: string) => Promise<any>) => Promise<void>) => {
  const browser = spawn(chromium!, ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${join(folder, "profile")}`,
    "--remote-debugging-port=0", "--window-size=1000,800", "about:blank"], { stdio: ["ignore", "ignore", "pipe"] })
  const ended = new Promise((resolve) => browser.once("exit", resolve))
  try {
    const base = await new Promise<string>((resolve, reject) => {
      let said = ""
      browser.stderr.on("data", (more) => {
        const found = /DevTools listening on ws:\/\/([^/]+)\//.exec((said += String(more)))
        if (found) resolve(found[1]!)
      })
      browser.once("exit", () => reject(new Error(said)))
    })
    const pages: any = await (await fetch(`http://${base}/json`)).json()
    const socket = new WebSocket(pages.find(({ type }: any) => type === "page").webSocketDebuggerUrl)
    await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }))
    let number = 0
    const send = (method: string, params: object): Promise<any> => new Promise((resolve) => {
      const id = ++number
      const hear = ({ data }: MessageEvent): void => {
        const message = JSON.parse(String(data))
        if (message.id !== id) return
        socket.removeEventListener("message", hear)
        resolve(message.result)
      }
      socket.addEventListener("message", hear)
      socket.send(JSON.stringify({ id, method, params }))
    })
    const problems: Array<string> = []
    socket.addEventListener("message", ({ data }) => {
      const { method, params } = JSON.parse(String(data))
      if (method === "Log.entryAdded") problems.push(params.entry.text)
      if (method === "Runtime.exceptionThrown") problems.push(params.exceptionDetails.exception?.description
        ?? params.exceptionDetails.text)
    })
    await send("Log.enable", {})
    await send("Runtime.enable", {})
    await send("Page.enable", {})
    const loaded = new Promise<void>((resolve) => socket.addEventListener("message", ({ data }) => {
      if (JSON.parse(String(data)).method === "Page.loadEventFired") resolve()
    }))
    await send("Page.navigate", { url: `file://${file}` })
    await loaded
    const evaluate = async (expression: string): Promise<any> => {
      const { exceptionDetails, result } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true })
      if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
      return result.value
    }
    await ask(evaluate)
    t.same(problems, [], "nothing on the console")
    socket.close()
  } finally {
    browser.kill()
    await ended
  }
}

t.test("in Chromium: zoom, details, filter", { skip: chromium === undefined ? "there is no Chromium here" : false, timeout: 600_000 },
  async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-page-"))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, "report.html")
  writeFileSync(file, rehearsalPage(records.failed))
  await inChromium(file, folder, async (evaluate) => {
    const frame = "await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
    t.equal(await evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "the page itself does not scroll sideways")
    const width = () =>
      evaluate(`(async () => { ${frame}; return document.querySelector(".row.flow .o:nth-of-type(2)").getBoundingClientRect().width })()`)
    const before = await width()
    await evaluate('document.querySelector(\'[data-do="in"]\').click()')
    const after = await width()
    t.ok(Math.abs(after / before - 2) < 0.1, `twice as wide: ${before} to ${after}`)
    await evaluate('document.querySelector(\'[data-do="all"]\').click()')
    t.ok(Math.abs((await width()) / before - 1) < 0.01)
    await evaluate('document.querySelector("button[data-zoom]").click()')
    t.match(await evaluate(`(async () => { ${frame}; return document.querySelector(".window").textContent })()`), /^\d.* to \d/)
    await evaluate('document.querySelector(\'[data-do="all"]\').click()')
    const tip = await evaluate(`(async () => { ${frame}
      const one = document.querySelector(".row.flow .o:nth-of-type(2)"), box = one.getBoundingClientRect()
      const how = { pointerType: "mouse", bubbles: true, clientX: box.x + 1, clientY: box.y + 5 }
      one.closest(".track").dispatchEvent(new PointerEvent("pointermove", how))
      return document.getElementById("tip").textContent })()`)
    t.match(tip, /^pc1 -> db \(icmp\)\nout for 1380 ms from 8\.50 s/)
    const shown = "[...document.querySelectorAll('.row.flow')].filter((row) => row.offsetParent !== null).length"
    t.equal(await evaluate(shown), 6)
    await evaluate('document.getElementById("only").click()')
    t.equal(await evaluate(shown), 4)
    await evaluate('filter.value = "db"; filter.dispatchEvent(new Event("input"))')
    t.equal(await evaluate(shown), 2)
  })
})
