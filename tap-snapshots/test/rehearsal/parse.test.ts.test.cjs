/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`test/rehearsal/parse.test.ts > TAP > a rehearsal without anything to start with, to probe or to do > must match snapshot 1`] = `
test.rehearsal.yaml:1:1: the file is empty: a rehearsal has at least flows and steps
test.rehearsal.yaml:1:1: with what does it start? Give "topology", the file of one, or "lab", one that runs
test.rehearsal.yaml:1:8: flows: the list is empty: without flows nothing is measured; for checks alone there is weft check
test.rehearsal.yaml:2:8: steps: the list is empty: there is nothing to rehearse
test.rehearsal.yaml:1:6: lab: lab "two" is not deployed: deploy it, or give "topology", the file to deploy it from
test.rehearsal.yaml:1:11: topology: cannot read it: it was not sent along
`

exports[`test/rehearsal/parse.test.ts > TAP > everything that is wrong is told at once, with its place, in all files > must match snapshot 1`] = `
test.rehearsal.yaml:4:34: flows[1].spacing: "1us": at least 100us
test.rehearsal.yaml:5:5: flows[2]: a flow of DNS needs "query", the name to ask for
test.rehearsal.yaml:6:25: flows[3].path: is for http, and this flow is udp
test.rehearsal.yaml:7:36: flows[4].from-step: no step has the name "nowhere"
test.rehearsal.yaml:8:7: flows[5].form: unknown key (did you mean "from"?)
test.rehearsal.yaml:9:47: flows[6].budget.max-outage: "fast": expected a time such as 500ms or 2m, 0 or none
test.rehearsal.yaml:9:63: flows[6].budget.max-loss: "200%": expected a share such as 0.1%, a number of probes such as 5, or none
test.rehearsal.yaml:10:24: budgets.max-outage: 5: expected a time such as 500ms or 2m, 0 or none
test.rehearsal.yaml:13:7: steps[1].depoly: unknown key: expected one of deploy, inject, heal, exec, wait, check, scenario, pause, probe-only (did you mean "deploy"?)
test.rehearsal.yaml:14:15: steps[2].deploy: cannot read it: it was not sent along
test.rehearsal.yaml:15:26: steps[3].inject.link-dwon: unknown kind of fault; weft inject --list shows all (did you mean "link-down"?)
test.rehearsal.yaml:16:13: steps[4].name: the name "a" is taken: line 15 has it
test.rehearsal.yaml:17:13: steps[5].heal: no step of that name injects: expected all or a (did you mean "a"?)
test.rehearsal.yaml:18:34: steps[6].exec.command: "'": a single quote is not closed
test.rehearsal.yaml:19:50: steps[7].exec.output: "(": Invalid regular expression: /(/: Unterminated group
test.rehearsal.yaml:22:16: steps[10].pause: "wait" is here already: begin another step
test.rehearsal.yaml:23:12: roll-back: expected a list of steps, not the text "none"
broken.weft.yaml:2:21: nodes.a.kind: "hots": expected "host" or "router" or "container" (did you mean "host"?)
suite.check.yaml:1:12: checks[0].reachable: the key "from" is missing
`
