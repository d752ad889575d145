/** The style of report pages: light and dark, from 360 px on, and for paper. */

import { graphStyle } from "../graph/svg.ts"

const light = `--page:#f6f7f9;--card:#fff;--ink:#17202c;--soft:#566273;--line:#d9dfe7;--band:#eef2f7;--accent:#1d5fd1;
--bad:#b3152f;--badfill:#d11f3d;--badtint:#fdecef;--good:#0b6b45;--goodtint:#e6f6ee;--warn:#8a5200;--warntint:#fdf3e0;--fault:#f3c46b`
const dark = `--page:#0d1117;--card:#151b24;--ink:#e8edf4;--soft:#9aa8bb;--line:#2b3543;--band:#1d2530;--accent:#7fb0ff;
--bad:#ff94a4;--badfill:#ff5c75;--badtint:#35141b;--good:#6fe0b0;--goodtint:#10291f;--warn:#ffc46b;--warntint:#2d2210;--fault:#8a6420`

export const style = (): string => `:root{color-scheme:light dark;${light}}
@media (prefers-color-scheme:dark){:root{${dark}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1560px;margin:0 auto;padding:0 16px}
header{padding-top:24px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:19px;margin:0 0 10px}h3{font-size:16px;margin:18px 0 6px}
p{margin:6px 0}small,.soft,.hint,.legend{color:var(--soft)}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em;overflow-wrap:break-word}
a{color:var(--accent)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px;margin:16px 0;min-width:0}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:4px 16px;margin:12px 0 0;padding:0}
.verdict{display:inline-flex;align-items:center;gap:8px;font-weight:700;border-radius:999px;padding:4px 14px;margin:8px 0;border:2px solid}
.verdict.passed{color:var(--good);background:var(--goodtint)}.verdict.failed{color:var(--bad);background:var(--badtint)}
.verdict.broken-off{color:var(--warn);background:var(--warntint)}
ul.reasons{margin:6px 0;padding-left:20px}ul.reasons li{overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:8px;margin:14px 0 0}
.facts div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:8px 12px}
.facts dt{color:var(--soft);font-size:13px}.facts dd{margin:0;font-weight:650;overflow-wrap:anywhere}dl{margin:0}
.bad{color:var(--bad)}.good{color:var(--good)}.warn{color:var(--warn)}
.scroll{overflow-x:auto;max-width:100%;margin-top:10px}
.scroll:focus-visible,button:focus-visible,input:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{caption-side:top;text-align:left;color:var(--soft);font-size:13px;padding:0 0 6px}
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
tbody th{font-weight:550;max-width:380px;overflow-wrap:break-word}thead th{font-size:13px;color:var(--soft);vertical-align:bottom}
td{max-width:560px;overflow-wrap:break-word}td:not(.n),tbody th:not(.n){min-width:104px}.n{text-align:right;white-space:nowrap}
tr.bad th,tr.bad td{background:var(--badtint);color:var(--ink)}
tr.warn th,tr.warn td{background:var(--warntint);color:var(--ink)}td.over{color:var(--bad);font-weight:700}
button{font:inherit;font-size:13.5px;color:var(--ink);background:var(--band);border:1px solid var(--line);border-radius:7px;
padding:4px 10px;cursor:pointer;min-height:30px}
button:hover{border-color:var(--accent)}button.at{border:0;background:none;padding:0;min-height:0;color:var(--accent);
text-decoration:underline;font-variant-numeric:tabular-nums}
input[type=search]{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:7px;padding:4px 10px;
min-width:0;width:min(260px,60vw)}
.js{display:none}.scripted .js{display:block}.scripted .js.tools{display:flex;flex-wrap:wrap;gap:6px;align-items:center}
.filter{display:none}.scripted .filter{display:flex;flex-wrap:wrap;gap:6px 14px;align-items:center;margin:6px 0}
.window{font-variant-numeric:tabular-nums;font-weight:600;min-width:10em}.hint{font-size:13px}
.legend{display:flex;flex-wrap:wrap;gap:2px 8px;align-items:center;font-size:13px}
.timeline{position:relative}
.row{display:grid;grid-template-columns:minmax(150px,290px) minmax(0,1fr);gap:10px;align-items:center;border-bottom:1px solid var(--line)}
.row .label{display:flex;justify-content:space-between;gap:8px;min-width:0;font-size:13.5px}
.row.axis .label,.row.steps .label,.row.faults .label{color:var(--soft)}
.row .label .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0}.row .label small{white-space:nowrap}
.row.axis,.row.steps{background:var(--card)}
.row.steps{position:sticky;top:0;z-index:2}
svg.track{display:block;width:100%;overflow:hidden;touch-action:pan-y}.row.flow svg.track,.row.steps svg.track{cursor:crosshair}
svg.track text{font-size:11px;fill:var(--ink);stroke:none}.axis line{stroke:var(--soft)}.axis text{fill:var(--soft)}
.band{fill:var(--band)}.band.odd{fill:var(--line)}.s.bad .band{fill:var(--badtint);stroke:var(--badfill);stroke-width:2}
.s.bad text{fill:var(--bad);font-weight:700}
.s.back .band{stroke:var(--warn);stroke-dasharray:4 3}
.sep{stroke:var(--soft);stroke-opacity:.55;stroke-dasharray:3 3}
.fault{fill:var(--fault)}svg.track .f text{fill:var(--ink);font-size:10px}
.o{fill:var(--badfill);stroke:var(--badfill);stroke-width:1.5}.o.on{stroke-dasharray:4 2}.o.at{stroke:var(--ink);stroke-width:2}
.off{fill:var(--soft);fill-opacity:.16}.l{fill:none;stroke:var(--accent);stroke-width:1.3;vector-effect:non-scaling-stroke}
svg.track .x{fill:var(--bad);font-weight:800;font-size:13px;paint-order:stroke;stroke:var(--card);stroke-width:3}
.select{position:absolute;background:var(--accent);opacity:.22;pointer-events:none}
#tip{position:fixed;z-index:9;max-width:min(340px,92vw);background:var(--ink);color:var(--page);border-radius:8px;padding:6px 10px;
font-size:13px;pointer-events:none;overflow-wrap:anywhere}
details{margin:8px 0}summary{cursor:pointer;font-weight:600}
ol.log{list-style:none;margin:0;padding:0;font-size:13.5px;max-height:480px;overflow:auto}
ol.log li{display:grid;grid-template-columns:76px 70px minmax(0,1fr);gap:8px;padding:2px 0;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}
ol.log time{text-align:right;font-variant-numeric:tabular-nums;color:var(--soft)}
.drawings{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,620px),1fr));gap:14px}
figure{margin:0;min-width:0}figcaption{font-weight:600;margin-bottom:4px}
.topology{overflow:auto;border:1px solid var(--line);border-radius:10px}
.topology>svg{display:block;width:100%;max-width:980px;margin:0 auto;min-width:600px;height:auto}
${graphStyle(".topology")}
[hidden]{display:none!important}
footer{color:var(--soft);font-size:13px;padding-bottom:28px}
@media (max-width:700px){body{font-size:14px}section{padding:12px;border-radius:10px}main,header,footer{padding:0 10px}h1{font-size:22px}
.row{grid-template-columns:minmax(0,1fr);gap:0;padding:3px 0}th,td{padding:4px 7px}ol.log li{grid-template-columns:64px minmax(0,1fr)}
ol.log li>:nth-child(3){grid-column:1/-1}
tbody th{max-width:180px}.row.steps .label,.row.axis .label,.row.faults .label{display:none}}
@media (max-width:480px){.ticks text:nth-of-type(even){display:none}}
@media print{:root{${light}}body{background:#fff;font-size:11px}section{break-inside:auto;border:0;padding:8px 0}
.row,tr,figure,li{break-inside:avoid}
nav,.tools,.scripted .js,.scripted .js.tools,.scripted .filter{display:none}ol.log{max-height:none;overflow:visible}
.scroll,.topology{overflow:visible}.row.steps{position:static}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.topology>svg{min-width:0}}
`
