/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`test/ctl/rehearsal-render.test.ts > TAP > comparisonLines > better, narrow 1`] = `
A  one tunnel to two, failed, median of 3 runs, 2026-01-02 03:04:05 UTC
B  one tunnel to two, passed, median of 3 runs, 2026-01-02 03:04:05 UTC

FLOW            IN STEP    A, ms  B, ms  CHANGE, ms  NOISE, ms
pc1 -> db       cut vpn-1   1316    526        −789       ±229  better
(icmp)
pc2 -> db       cut vpn-1   1305    522        −783       ±509  better
(http) 4
pc2 -> web      cut vpn-1    685    274        −411        ±64  better
(tcp)
pc1 -> db       mend it      5.9    2.3        −3.5         ±2  better
(icmp)

new flows: pc2 -> www (icmp) 6
0 worse, 4 better, 21 the same (longest outages by flow and step)
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > comparisonLines > the same 1`] = `
A  one tunnel to two, passed, median of 3 runs, 2026-01-02 03:04:05 UTC
B  one tunnel to two, passed, median of 3 runs, 2026-01-02 03:04:05 UTC

0 worse, 0 better, 30 the same (longest outages by flow and step)
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > comparisonLines > worse 1`] = `
A  one tunnel to two, passed, median of 3 runs, 2026-01-02 03:04:05 UTC
B  one tunnel to two, failed, median of 3 runs, 2026-01-02 03:04:05 UTC

FLOW                IN STEP    A, ms  B, ms  CHANGE, ms  NOISE, ms
pc1 -> db (icmp)    cut vpn-1    526   1316        +789       ±229  worse
pc2 -> db (http) 4  cut vpn-1    522   1305        +783       ±509  worse
pc2 -> web (tcp)    cut vpn-1    274    685        +411        ±64  worse
pc1 -> db (icmp)    mend it      2.3    5.9        +3.5         ±2  worse

flows gone: pc2 -> www (icmp) 6
4 worse, 0 better, 21 the same (longest outages by flow and step)
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > liveLines shows flows, the worst first, in whatever room there is > 120 columns 1`] = `
one tunnel to two · company · run 2 of 5                                                                           9.0 s
▸ 3/5 cut vpn-1  inject link-down vpn-1                                                                            0.8 s
  FLOW                  20 s                                             RTT        OUT      WORST IN STEP
✗ pc1 -> db (tcp) 7                          ▁▁▁▁▁!!▁▁▁▁▁▁▁▁▁▁××      9.7 ms   520.0 ms   520.0 ms cut vpn-1
✗ pc2 -> db (udp) 28                         ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   519.8 ms   519.8 ms cut vpn-1
✗ pc2 -> db (tcp) 22                         ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   519.4 ms   519.4 ms cut vpn-1
✗ pc2 -> web (udp) 8                         ▁▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁××      9.7 ms   518.6 ms   518.6 ms cut vpn-1
✗ pc2 -> web (icmp) 26                       ▁▁▁▁▁!!▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   518.1 ms   518.1 ms cut vpn-1
✗ pc1 -> db (dns) 25                         ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   517.5 ms   517.5 ms cut vpn-1
✗ pc2 -> db (icmp) 16                        ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   516.9 ms   516.9 ms cut vpn-1
✗ pc1 -> web (udp) 23                        ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   516.8 ms   516.8 ms cut vpn-1
✗ pc1 -> db (http) 19                        ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   513.7 ms   513.7 ms cut vpn-1
✗ pc1 -> db (udp) 13                         ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   509.2 ms   509.2 ms cut vpn-1
✗ pc1 -> db (icmp)                           ▁▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁××      9.7 ms   504.7 ms   504.7 ms cut vpn-1
✗ pc2 -> db (dns) 10                         ▁▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   504.5 ms   504.5 ms cut vpn-1
✗ pc1 -> web (tcp) 17                        ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   500.2 ms   500.2 ms cut vpn-1
✓ pc2 -> web (dns) 20                        ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁×!      9.7 ms              354.6 ms cut vpn-1
✓ pc1 -> web (icmp) 11                       ▁▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁×!      9.7 ms              343.4 ms cut vpn-1
✓ pc1 -> web (http) 29                       ▁▁▁▁▁!!▁▁▁▁▁▁▁▁▁▁×▁      9.7 ms              322.1 ms cut vpn-1
✓ pc2 -> db (http) 4                         ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁×▁      9.7 ms              314.2 ms cut vpn-1
✓ pc2 -> web (http) 14                       ▁▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁×▁      9.7 ms              294.0 ms cut vpn-1
✓ pc2 -> web (tcp)                           ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁×▁      9.7 ms              278.0 ms cut vpn-1
✓ pc1 -> web (dns) 5                         ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁!▁      9.7 ms              127.0 ms cut vpn-1
  10 more, none of them was out
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > liveLines shows flows, the worst first, in whatever room there is > 30 columns 1`] = `
one tunnel to two · com… 9.0 s
▸ 3/5 cut vpn-1  inject… 0.8 s
  FLOW           OUT     WORST
✗ pc1 -> …  520.0 ms  520.0 ms
✗ pc2 -> …  519.8 ms  519.8 ms
✗ pc2 -> …  519.4 ms  519.4 ms
✗ pc2 -> …  518.6 ms  518.6 ms
✗ pc2 -> …  518.1 ms  518.1 ms
✗ pc1 -> …  517.5 ms  517.5 ms
  24 more, 7 of them out, at …
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > liveLines shows flows, the worst first, in whatever room there is > 50 columns 1`] = `
one tunnel to two · company · run 2 of 5     9.0 s
▸ 3/5 cut vpn-1  inject link-down vpn-1      0.8 s
  FLOW                       OUT     WORST
✗ pc1 -> db (tcp) 7     520.0 ms  520.0 ms
✗ pc2 -> db (udp) 28    519.8 ms  519.8 ms
✗ pc2 -> db (tcp) 22    519.4 ms  519.4 ms
✗ pc2 -> web (udp) 8    518.6 ms  518.6 ms
✗ pc2 -> web (icmp) 26  518.1 ms  518.1 ms
✗ pc1 -> db (dns) 25    517.5 ms  517.5 ms
✗ pc2 -> db (icmp) 16   516.9 ms  516.9 ms
✗ pc1 -> web (udp) 23   516.8 ms  516.8 ms
  22 more, 5 of them out, at worst 513.7 ms
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > liveLines shows flows, the worst first, in whatever room there is > 79 columns 1`] = `
one tunnel to two · company · run 2 of 5                                  9.0 s
▸ 3/5 cut vpn-1  inject link-down vpn-1                                   0.8 s
  FLOW                  10.5 s                        RTT        OUT      WORST
✗ pc1 -> db (tcp) 7       ▁▁▁▁▁!!▁▁▁▁▁▁▁▁▁▁××      9.7 ms   520.0 ms   520.0 ms
✗ pc2 -> db (udp) 28      ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   519.8 ms   519.8 ms
✗ pc2 -> db (tcp) 22      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   519.4 ms   519.4 ms
✗ pc2 -> web (udp) 8      ▁▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁××      9.7 ms   518.6 ms   518.6 ms
✗ pc2 -> web (icmp) 26    ▁▁▁▁▁!!▁▁▁▁▁▁▁▁▁▁×!      9.7 ms   518.1 ms   518.1 ms
✗ pc1 -> db (dns) 25      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   517.5 ms   517.5 ms
✗ pc2 -> db (icmp) 16     ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   516.9 ms   516.9 ms
✗ pc1 -> web (udp) 23     ▁▁▁▁▁!▁▁▁▁▁▁▁▁▁▁▁××      9.7 ms   516.8 ms   516.8 ms
  22 more, 5 of them out, at worst 513.7 ms
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > liveView redraws in place, and leaves what happened > must match snapshot 1`] = `
   0.0 s  lab company is deployed
   0.0 s  ▸ 1/5 warm-up
   2.0 s  ✓ 1/5 warm-up  no outage
   2.0 s  ▸ 2/5 second tunnel deploy site-to-site-two-tunnels.weft.yaml
   8.2 s  ✓ 2/5 second tunnel  3 of 6 flows out, at worst 28.9 ms: pc2 -> db (http) 4
   8.2 s  ▸ 3/5 cut vpn-1 inject link-down vpn-1
   8.4 s  ⚡ f1 link vpn-1 (fw:tun1 -- vgw:tun1) is down
   9.0 s  ✗ budget: flow pc1 -> db (icmp), step cut vpn-1: out for 505 ms, max-outage is 500ms
  13.6 s  ✗ 3/5 cut vpn-1 broke a budget: 1 flows broke their budget  4 of 6 flows out, at worst 552
.1 ms: pc1 -> db (icmp)
  13.6 s  ▸ 4/5 mend it heal all
  13.8 s  + healed f1 link vpn-1 (fw:tun1 -- vgw:tun1) is down
  17.7 s  ✓ 4/5 mend it  1 of 6 flows out, at worst 1.5 ms: pc1 -> db (icmp)
  17.7 s  ▸ 5/5 still as it should be check company.check.yaml
  19.4 s  ✓ 5/5 still as it should be  no outage

`

exports[`test/ctl/rehearsal-render.test.ts > TAP > liveView writes plain lines where there is no terminal > must match snapshot 1`] = `
   0.0 s  lab company is deployed
   0.0 s  ▸ 1/5 warm-up
   2.0 s  ✓ 1/5 warm-up  no outage
   2.0 s  ▸ 2/5 second tunnel deploy site-to-site-two-tunnels.weft.yaml
   8.2 s  ✓ 2/5 second tunnel  3 of 6 flows out, at worst 72.2 ms: pc2 -> db (http) 4
   8.2 s  ▸ 3/5 cut vpn-1 inject link-down vpn-1
   8.4 s  ⚡ f1 link vpn-1 (fw:tun1 -- vgw:tun1) is down
   9.0 s  ✗ budget: flow pc1 -> db (icmp), step cut vpn-1: out for 505 ms, max-outage is 500ms
   9.0 s  ✗ budget: flow pc2 -> web (tcp), step cut vpn-1: out for 506 ms, max-outage is 500ms
   9.0 s  ✗ budget: flow pc2 -> db (http) 4, step cut vpn-1: out for 509 ms, max-outage is 500ms
  13.6 s  ✗ 3/5 cut vpn-1 broke a budget: 3 flows broke their budget  4 of 6 flows out, at worst 1.38 s: pc1 -> db (icmp)
  13.6 s  ▸ 4/5 mend it heal all
  13.8 s  + healed f1 link vpn-1 (fw:tun1 -- vgw:tun1) is down
  17.7 s  ✓ 4/5 mend it  1 of 6 flows out, at worst 3.7 ms: pc1 -> db (icmp)
  17.7 s  ▸ 5/5 still as it should be check company.check.yaml
  18.4 s  ✗ pc2 does not reach the vault: it got through
  19.4 s  ✓ 5/5 still as it should be  no outage

`

exports[`test/ctl/rehearsal-render.test.ts > TAP > rehearsalJunit is what the schema says, in every case > must match snapshot 1`] = `
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="weft rehearse" tests="43" failures="5" errors="0" time="19.700">
  <testsuite name="one tunnel to two" tests="43" failures="5" errors="0" skipped="0" time="19.700" timestamp="2026-01-02T03:04:05">
    <properties>
    </properties>
    <testcase name="step cut vpn-1" classname="company.step" file="one-tunnel-to-two.rehearsal.yaml" line="16" time="5.400">
      <failure message="3 flows broke their budget" type="inject">step: cut vpn-1 (inject link-down vpn-1)
3 flows broke their budget</failure>
    </testcase>
    <testcase name="pc1 -&#62; db (icmp) max-outage in cut vpn-1" classname="company.budget" file="one-tunnel-to-two.rehearsal.yaml" line="9" time="5.400">
      <failure message="pc1 -&#62; db (icmp) in step &#34;cut vpn-1&#34;: 1380 ms, max-outage is 500 ms" type="max-outage">flow:    pc1 -&#62; db (icmp)
step:    cut vpn-1
budget:  max-outage 500 ms
seen:    1380 ms
outages: 1</failure>
    </testcase>
    <testcase name="pc2 -&#62; web (tcp) max-outage in cut vpn-1" classname="company.budget" file="one-tunnel-to-two.rehearsal.yaml" line="9" time="5.400">
      <failure message="pc2 -&#62; web (tcp) in step &#34;cut vpn-1&#34;: 695 ms, max-outage is 500 ms" type="max-outage">flow:    pc2 -&#62; web (tcp)
step:    cut vpn-1
budget:  max-outage 500 ms
seen:    695 ms
outages: 1</failure>
    </testcase>
    <testcase name="pc2 -&#62; db (http) 4 max-outage in cut vpn-1" classname="company.budget" file="one-tunnel-to-two.rehearsal.yaml" line="9" time="5.400">
      <failure message="pc2 -&#62; db (http) 4 in step &#34;cut vpn-1&#34;: 785 ms, max-outage is 500 ms" type="max-outage">flow:    pc2 -&#62; db (http) 4
step:    cut vpn-1
budget:  max-outage 500 ms
seen:    785 ms
outages: 1</failure>
    </testcase>
    <testcase name="pc2 does not reach the vault (still as it should be)" classname="company.reachable" file="company.check.yaml" line="7" time="0.021">
      <failure message="it got through" type="reachable">expected: pc2 does not reach the vault
seen:     it got through
where:    pc1 &#62; fw: fw is the last to answer</failure>
    </testcase>
  </testsuite>
</testsuites>

`

exports[`test/ctl/rehearsal-render.test.ts > TAP > rehearsalLines sums up > broke off 1`] = `
Longest outage in ms
FLOW                 warm-up  second tunnel  cut vpn-1
pc2 -> db (http) 4         0           28.9       309+
pc2 -> web (tcp)           0            5.3       306+
pc1 -> db (icmp)           0              5       305+
pc1 -> web (dns) 5         0              0        127
pc1 -> www (udp)           0              0          0
pc2 -> www (icmp) 6        0              0          0

! the daemon went away
! broke off one tunnel to two: 3 of 5 steps, 8.8 s; what came after that is not known
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > rehearsalLines sums up > broke off between runs 1`] = `
Longest outage in ms, median/worst of 2 runs
FLOW                 warm-up  second tunnel   cut vpn-1  mend it  still as it should be
pc2 -> db (http) 4         0      36.1/72.2  1149/1512!        0                      0
pc1 -> db (icmp)           0       6.2/12.5  1217/1380!  4.8/5.9                      0
pc1 -> web (dns) 5         0      19.6/39.2   699/1081!  3.2/6.3                      0
pc2 -> web (tcp)           0        59/105!    649/695!  4.7/9.4                      0
pc1 -> www (udp)           0              0           0        0                      0
pc2 -> www (icmp) 6        0              0           0        0                      0

✗ run 1: check pc2 does not reach the vault: it got through
✗ run 2: check pc2 does not reach the vault: it got through
✗ run 2: pc2 -> db (http) 4 in step "cut vpn-1": 1512 ms, max-outage is 500 ms
✗ run 1: pc1 -> db (icmp) in step "cut vpn-1": 1380 ms, max-outage is 500 ms
✗ run 2: pc1 -> web (dns) 5 in step "cut vpn-1": 1081 ms, max-outage is 500 ms
✗ run 2: pc1 -> db (icmp) in step "cut vpn-1": 1053 ms, max-outage is 500 ms
✗ run 1: pc2 -> db (http) 4 in step "cut vpn-1": 785 ms, max-outage is 500 ms
✗ run 1: pc2 -> web (tcp) in step "cut vpn-1": 695 ms, max-outage is 500 ms
✗ run 2: pc2 -> web (tcp) in step "cut vpn-1": 603 ms, max-outage is 500 ms
✗ run 2: pc2 -> web (tcp) in step "second tunnel": 105 ms, max-outage is 100 ms
✗ 2 of 4 runs were made
✗ failed one tunnel to two: 2 of 4 runs, 79.7 s
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > rehearsalLines sums up > failed 1`] = `
Longest outage in ms
FLOW                 warm-up  second tunnel  cut vpn-1  mend it  still as it should be
pc1 -> db (icmp)           0              5       552!      1.5                      0
pc2 -> db (http) 4         0           28.9        314        0                      0
pc2 -> web (tcp)           0            5.3        278        0                      0
pc1 -> web (dns) 5         0              0        127        0                      0
pc1 -> www (udp)           0              0          0        0                      0
pc2 -> www (icmp) 6        0              0          0        0                      0

✗ pc1 -> db (icmp) in step "cut vpn-1": 552 ms, max-outage is 500 ms
✗ failed one tunnel to two: 5 of 5 steps, 19.7 s
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > rehearsalLines sums up > narrow 1`] = `
Longest outage in ms
FLOW                 1     2     3    4  5
pc1 -> db (icmp)     0     5  552!  1.5  0
pc2 -> db (http) 4   0  28.9   314    0  0
pc2 -> web (tcp)     0   5.3   278    0  0
pc1 -> web (dns) 5   0     0   127    0  0
pc1 -> www (udp)     0     0     0    0  0
pc2 -> www (icmp) 6  0     0     0    0  0
  1 warm-up
  2 second tunnel
  3 cut vpn-1
  4 mend it
  5 still as it should be

✗ pc1 -> db (icmp) in step "cut vpn-1": 552 ms, max-outage is 500 ms
✗ failed one tunnel to two: 5 of 5 steps, 19.7 s
`

exports[`test/ctl/rehearsal-render.test.ts > TAP > rehearsalLines sums up > repeated 1`] = `
Longest outage in ms, median/worst of 5 runs
FLOW                 warm-up  second tunnel  cut vpn-1  mend it  still as it should be
pc2 -> db (http) 4         0      13.3/28.9    548/683    0/2.3                      0
pc2 -> web (tcp)           0      15.2/41.9    278/646    0/3.8                      0
pc1 -> web (dns) 5         0         0/15.7    432/602  1.6/3.2                      0
pc1 -> db (icmp)           0          0/8.6    523/552  2.4/3.8                      0
pc1 -> www (udp)           0              0          0        0                      0
pc2 -> www (icmp) 6        0              0          0        0                      0

✓ passed one tunnel to two: 5 of 5 runs, 259.7 s
`
