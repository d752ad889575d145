/** Every command of `weft`, as data. To add one: describe it here, write `commands/<verb>.ts`, add a line in `main.ts`. */

import type { CommandSpec, Flag, Positional } from "../command.ts"
import { probeSpec } from "./probe-spec.ts"

const file = {
  kind: "optional",
  summary: "topology file; without it the only *.weft.yaml in this folder; - reads standard input",
  complete: "file"
} as const satisfies Positional

const fileFlag = {
  kind: "string",
  short: "f",
  metavar: "FILE",
  summary: "topology file (same as the argument)",
  complete: "file"
} as const satisfies Flag

const labFileFlag = {
  kind: "string",
  short: "f",
  metavar: "FILE",
  summary: "the lab that this topology file names",
  complete: "file"
} as const satisfies Flag

const labOrFormatFlag = {
  ...labFileFlag,
  summary: "the lab that this topology file names (table, json and yaml are taken as -o)"
} as const satisfies Flag

const output = {
  kind: "choice",
  short: "o",
  choices: ["table", "json", "yaml"],
  default: "table",
  summary: "format of the result"
} as const satisfies Flag

const name = { kind: "string", metavar: "NAME", summary: "use this lab name instead of the file's" } as const satisfies Flag

export const specs = {
  demo: {
    summary: "Deploy a hybrid network on this machine, prove it, draw it, remove it",
    description:
      "Deploys an office, an IDC and an AWS-like VPC with the internet between them, out of real kernel objects. "
      + "Pings and connects from every host to every host, shows which sites see the office client un-NATed, cuts a tunnel "
      + "under traffic and measures how long that is felt, writes a drawing to ./weft-demo.svg and removes everything again. "
      + "Uses the running daemon, or starts one of its own.",
    args: {},
    flags: {
      hosts: {
        kind: "string",
        metavar: "N",
        summary: "spread it over 2 to 5 hosts: namespaces of this machine with a weftd each, tunnels between them, and etcd",
        complete: "none"
      },
      keep: { kind: "boolean", summary: "leave the lab running and say what to try next" }
    },
    examples: [
      { command: "sudo weft demo", description: "the whole tour, nothing left behind" },
      { command: "sudo weft demo --hosts 3", description: "the same network over three hosts" },
      { command: "sudo weft demo --keep", description: "stay, and look around" }
    ]
  },
  validate: {
    summary: "Check a topology file; needs no daemon and no root",
    description: "Reports every error at once, each with file:line:column and the closest valid word.",
    args: { file },
    flags: { file: fileFlag, output },
    examples: [
      { command: "weft validate branch.weft.yaml", description: "check one file" },
      { command: "weft validate -o json | jq .diagnostics", description: "errors for an editor or a script" }
    ]
  },
  plan: {
    summary: "Show what deploy would change",
    description:
      "Compares the topology with what is in the kernel now and lists every resource that would be added (+), "
      + "changed in place (~), replaced (-/+) or removed (-). Touches nothing.",
    args: { file },
    flags: {
      file: fileFlag,
      name,
      output,
      "detailed-exitcode": { kind: "boolean", summary: "exit 0 without changes, 1 on errors, 2 with changes" }
    },
    examples: [
      { command: "weft plan", description: "the only topology of this folder" },
      { command: "weft plan branch.weft.yaml --detailed-exitcode", description: "for scripts: has anything drifted?" }
    ]
  },
  deploy: {
    summary: "Make the running lab equal to a topology",
    description: "Creates, changes and removes only what differs; the same file twice changes nothing. Progress goes to stderr.",
    args: { file },
    flags: {
      file: fileFlag,
      name,
      output,
      rollback: { kind: "boolean", summary: "on failure go back to what was deployed before" }
    },
    examples: [
      { command: "weft deploy branch.weft.yaml", description: "new, or the difference to what runs" },
      { command: "weft deploy branch.weft.yaml --name copy", description: "the same topology once more under another name" }
    ]
  },
  destroy: {
    summary: "Remove a lab and everything that belongs to it",
    description: "Works from recorded state: the topology file may be gone or edited. Removing what does not exist is an error.",
    args: { lab: { kind: "optional", summary: "name of the lab", complete: "lab" } },
    flags: {
      file: labFileFlag,
      all: { kind: "boolean", summary: "remove every lab of this daemon" },
      output
    },
    examples: [
      { command: "weft destroy branch", description: "one lab" },
      { command: "weft destroy --all", description: "every lab of this daemon" }
    ]
  },
  check: {
    summary: "Run a suite of checks against a lab, and say what is not as it should be",
    description:
      "A suite (*.check.yaml) says what must be so: who reaches whom, by which way, seen as whom, which routes and sessions there "
      + "are. Each failure tells what was expected, what was seen, and where on the path it stopped. A suite that names a "
      + "topology has it deployed, checked and destroyed; a lab that runs already is checked as it is, and stays. "
      + "Exits 1 when a check failed, 2 when the suite is wrong.",
    args: { file: { kind: "optional", summary: "the suite; without it the only *.check.yaml in this folder", complete: "suite" } },
    flags: {
      lab: { kind: "string", metavar: "LAB", summary: "check this lab, whatever the suite says", complete: "lab" },
      only: { kind: "strings", metavar: "LABEL", summary: "only checks with this label (repeat for more)", complete: "none" },
      junit: { kind: "string", metavar: "FILE", summary: "write a report for CI, as JUnit XML", complete: "path" },
      "code-quality": { kind: "string", metavar: "FILE", summary: "write what failed as GitLab's code quality", complete: "path" },
      tap: { kind: "boolean", summary: "print TAP version 14" },
      keep: { kind: "boolean", summary: "do not destroy the lab that was deployed for the suite" },
      quiet: { kind: "boolean", short: "q", summary: "print failures only" },
      output
    },
    examples: [
      { command: "weft check hybrid.check.yaml", description: "deploy its topology, check it, destroy it" },
      { command: "weft check hybrid.check.yaml --lab staging --only smoke", description: "some of it, against a lab that runs" },
      { command: "weft check --junit report.xml", description: "for CI" }
    ]
  },
  scenario: {
    summary: "Break a lab by a timeline of faults, the same with the same seed, and heal it",
    description:
      "A scenario (*.scenario.yaml) says when which fault comes, for how long, and what must hold meanwhile: at a time, again and "
      + "again, by chance. The schedule comes from the file and its seed alone. Everything is healed at the end, on Ctrl-C too. One "
      + "that names a topology has it deployed and destroyed; a lab that runs already is used as it is, and stays. Exits 1 when a "
      + "check failed or a fault could not be injected, 2 when the scenario is wrong.",
    args: { file: { kind: "optional", summary: "the scenario; without it the only *.scenario.yaml in this folder", complete: "scenario" } },
    flags: {
      plan: { kind: "boolean", summary: "print the schedule and touch nothing; needs no daemon where names need no lab" },
      lab: { kind: "string", metavar: "LAB", summary: "break this lab, whatever the scenario says", complete: "lab" },
      seed: { kind: "string", metavar: "N", summary: "take other chances than with the file's seed", complete: "none" },
      speed: { kind: "string", metavar: "2x", summary: "in half the time, faults too; checks keep their times", complete: "none" },
      junit: { kind: "string", metavar: "FILE", summary: "write a report for CI, as JUnit XML", complete: "path" },
      keep: { kind: "boolean", summary: "do not destroy the lab that was deployed for the scenario" },
      output
    },
    examples: [
      { command: "weft scenario chaos.scenario.yaml --plan", description: "when will what happen?" },
      { command: "weft scenario chaos.scenario.yaml --seed 7 --speed 2x", description: "run it, with other chances, twice as fast" }
    ]
  },
  rehearse: {
    summary: "Try a change step by step under continuous probes, and say what every flow suffered at each step",
    description:
      "A rehearsal (*.rehearsal.yaml) names a topology to start with, flows of probes, steps (deploy another version, inject, heal, run "
      + "commands, check, wait) and budgets: how long a flow may be out, how much it may lose. When a budget breaks or a step fails, its "
      + "steps for rolling back are done. Everything is healed and destroyed at the end, on Ctrl-C too; a lab that runs already is used "
      + "as it is with --lab, and stays. weft rehearse compare A.json B.json puts two results side by side. Exits 1 when a budget broke, "
      + "a step failed, or it was stopped, 2 when the rehearsal is wrong.",
    args: {
      file: { kind: "optional", summary: "the rehearsal; without it the only *.rehearsal.yaml in this folder", complete: "rehearsal" },
      others: { kind: "rest", isOurs: true, summary: "behind compare: two files that -o json wrote", complete: "path" }
    },
    flags: {
      lab: { kind: "string", metavar: "LAB", summary: "in this lab if it runs already; else deployed under this name", complete: "lab" },
      plan: { kind: "boolean", summary: "show the steps and touch nothing; needs no daemon" },
      step: { kind: "boolean", summary: "pause before each step" },
      yes: { kind: "boolean", short: "y", summary: "go on at once at every pause" },
      repeat: { kind: "string", metavar: "N", summary: "N times, each from the beginning: medians and worst cases", complete: "none" },
      html: { kind: "string", metavar: "FILE", summary: "write a report as one HTML page", complete: "path" },
      junit: { kind: "string", metavar: "FILE", summary: "write a report for CI, as JUnit XML", complete: "path" },
      keep: { kind: "boolean", summary: "do not destroy the lab that was deployed for it" },
      "fail-if-worse": { kind: "boolean", summary: "with compare: exit 1 when anything is worse, or not there any more" },
      output
    },
    examples: [
      { command: "weft rehearse static-to-bgp.rehearsal.yaml --html report.html", description: "run it, and look at what happened" },
      { command: "weft rehearse failover.rehearsal.yaml --repeat 5 -o json > after.json", description: "medians and worst" },
      { command: "weft rehearse compare before.json after.json --fail-if-worse", description: "in CI: has the change made it worse?" }
    ]
  },
  inject: {
    summary: "Put a fault into a running lab",
    description:
      "Changes what the lab should be until the fault is healed; then it is again exactly what its topology says, whatever else "
      + "was injected or healed meanwhile. Links are named, or given by one of their ports as NODE:IF. --list shows every kind of "
      + "fault with its words. With several labs deployed, write LAB/NODE:IF or give --lab.",
    args: {
      kind: { kind: "optional", summary: "what happens: link-down, loss, ... (--list)", complete: "fault-kind" },
      words: { kind: "rest", isOurs: true, summary: "to what, and how: its words and KEY=VALUE", complete: "port" }
    },
    flags: {
      for: {
        kind: "string",
        metavar: "TIME",
        summary: "heal it after so long, such as 30s; weftd need not run meanwhile",
        complete: "none"
      },
      lab: { kind: "string", metavar: "LAB", summary: "of this lab; may be left out when there is only one", complete: "lab" },
      list: { kind: "boolean", summary: "show the kinds of faults and their words" },
      output
    },
    examples: [
      { command: "weft inject link-down fw:wan --for 30s", description: "cut a link for half a minute" },
      { command: "weft inject loss fw:wan value=30% direction=out", description: "lose a third of what leaves by that port" },
      { command: "weft inject --list", description: "what else there is" }
    ]
  },
  heal: {
    summary: "Take faults out of a lab",
    description: "What the lab should be is computed anew without them. A fault that has been healed already is no error.",
    args: { ids: { kind: "rest", isOurs: true, summary: "as weft faults shows them: f1, or LAB/f1", complete: "fault" } },
    flags: {
      all: { kind: "boolean", summary: "all faults, of all labs unless --lab names one" },
      lab: { kind: "string", metavar: "LAB", summary: "of this lab; may be left out when there is only one", complete: "lab" },
      output
    },
    examples: [
      { command: "weft heal f1 f2", description: "two of them" },
      { command: "weft heal --all", description: "every one" }
    ]
  },
  faults: {
    summary: "Show the faults that are in force",
    description: "Oldest first, with what is left of those that end by themselves and with who injected them.",
    args: { lab: { kind: "optional", summary: "of this lab only", complete: "lab" } },
    flags: { output },
    examples: [{ command: "weft faults -o json | jq -r '.[].id'", description: "their ids" }]
  },
  list: {
    summary: "List labs",
    description: "Every lab with its state: of this daemon, or of all hosts that share labs with it.",
    args: {},
    flags: { output, format: { kind: "string", short: "f", metavar: "FORMAT", summary: "same as -o, as containerlab has it" } },
    examples: [
      { command: "weft list", description: "as a table" },
      { command: "weft list -o json | jq -r '.[].name'", description: "names only" }
    ]
  },
  hosts: {
    summary: "List the hosts that share labs",
    description: "Every host of the fleet with what it has; the one that was asked in bold. A weftd of its own is the only one.",
    args: {},
    flags: { output },
    examples: [
      { command: "weft hosts", description: "who is there, and with how many nodes" },
      { command: "weft hosts -o json | jq -r '.[] | select(.state == \"lost\").name'", description: "hosts that are gone" }
    ]
  },
  evpn: {
    summary: "Show what a host knows of networks by EVPN",
    description:
      "The BGP sessions by which hosts tell each other where MAC addresses are, and for each network the stations with their host. "
      + "Stations that are in two places at once are marked. It is the view of the host that is asked (--daemon).",
    args: { lab: { kind: "optional", summary: "networks of this lab only", complete: "lab" } },
    flags: { output },
    examples: [
      { command: "weft evpn", description: "sessions, and all networks that are on this host" },
      { command: "weft evpn -o json | jq '.networks[].stations[] | select(.frozen)'", description: "duplicate addresses" }
    ]
  },
  drain: {
    summary: "Move all nodes away from a host",
    description:
      "Places nothing more on the host and moves its nodes to others, lab after lab; nodes elsewhere stay where they are. "
      + "Nodes that their topology wants on this host cannot move and are named.",
    args: { host: { kind: "required", summary: "name of the host, as weft hosts shows it", complete: "none" } },
    flags: {
      undo: { kind: "boolean", summary: "let nodes be placed there again; moves nothing" },
      forget: { kind: "boolean", summary: "also take a lost host out of the list: it will not come back" },
      output
    },
    examples: [
      { command: "weft drain h3", description: "before its maintenance" },
      { command: "weft drain h3 --undo", description: "and after it" }
    ]
  },
  inspect: {
    summary: "Show nodes, ports, addresses and segments of a lab",
    description: "Shows the lab as it is in the kernel now; what differs from the topology is listed under DRIFT.",
    args: { lab: { kind: "optional", summary: "name of the lab; may be left out when there is only one", complete: "lab" } },
    flags: {
      file: labOrFormatFlag,
      routes: { kind: "boolean", short: "r", summary: "also list the routes of every node" },
      counters: { kind: "boolean", short: "c", summary: "also list what every port counted" },
      output
    },
    examples: [
      { command: "weft inspect branch", description: "one lab" },
      { command: "weft inspect branch -o json | jq '.nodes[].ports[].mac'", description: "for scripts" }
    ]
  },
  exec: {
    summary: "Run a command in a node",
    description: "Streams and exit code are the command's own. Signals are passed on. Put -- before the command.",
    args: {
      node: { kind: "required", summary: "NODE, or LAB/NODE where several labs run", complete: "node" },
      command: { kind: "rest", summary: "program and its arguments; no shell is involved", complete: "none" }
    },
    flags: {
      interactive: { kind: "boolean", short: "i", summary: "pass a terminal's input on (pipes and files are always passed on)" },
      tty: { kind: "boolean", short: "t", summary: "give the command a terminal" },
      user: { kind: "string", short: "u", metavar: "USER", summary: "run as this user instead of root", complete: "none" },
      env: {
        kind: "strings",
        short: "e",
        metavar: "K=V",
        summary: "set an environment variable (repeat for more)",
        complete: "none"
      }
    },
    examples: [
      { command: "weft exec pc -- ping -c 3 10.20.0.10", description: "one command" },
      { command: "weft exec -it hybrid/fw -- bash", description: "a shell" },
      { command: "weft exec pc -- tcpdump -w - -i eth0 | wireshark -k -i -", description: "a binary stream through a pipe" }
    ]
  },
  routes: {
    summary: "Show the routes that a node's kernel has",
    description:
      "All routes, whoever made them, with the marks of show ip route and nexthop groups resolved. With PREFIX that one alone, with "
      + "an address the one that is taken there. A backup is in the kernel already and takes over when the other ways are lost.",
    args: {
      node: { kind: "required", summary: "NODE, or LAB/NODE where several labs run", complete: "node" },
      prefix: { kind: "optional", summary: "a prefix, or an address for the longest match", complete: "none" }
    },
    flags: {
      table: {
        kind: "string",
        short: "t",
        metavar: "T",
        summary: "number of the kernel's table, local, or all (default: main)",
        complete: "none"
      },
      family: { kind: "choice", choices: ["both", "ipv4", "ipv6"], default: "both", summary: "only routes of this family" },
      protocol: { kind: "string", metavar: "NAME", summary: "only these: connected, static, bgp, kernel, ...", complete: "none" },
      limit: { kind: "string", short: "n", metavar: "N", summary: "end after so many routes", complete: "none" },
      output
    },
    examples: [
      { command: "weft routes fw", description: "the main table, both families" },
      { command: "weft routes fw 10.20.0.10", description: "which route is taken there" },
      { command: "weft routes fw --table all --protocol bgp", description: "what BGP has put into the kernel" }
    ]
  },
  bfd: {
    summary: "List a node's BFD sessions, with their times and why one went down",
    description:
      "Those that watch next hops of static routes, those of BGP neighbors, and those that the node has under bfd: peers. "
      + "TX/RX/MULT is what is configured: how often packets are sent and wanted, in milliseconds, and how many may be lost.",
    args: { node: { kind: "required", summary: "NODE, or LAB/NODE where several labs run", complete: "node" } },
    flags: { output },
    examples: [
      { command: "weft bfd fw", description: "which next hops are alive" },
      { command: "weft bfd fw -o json", description: "everything that is known of each session" }
    ]
  },
  bgp: {
    summary: "Look into a node's BGP: neighbors, routes, why a path won or lost",
    description:
      "Without more than NODE: its neighbors, one line each. neighbors [PEER] says all about them, rib [PREFIX] lists routes "
      + "or says why each path of a prefix or to an address won or lost, received PEER and advertised PEER are what a neighbor "
      + "sends and is sent, dump writes the table as MRT, or with --updates what neighbors (or one: dump PEER) send from now on until "
      + "Ctrl-C, reset PEER|all [soft|soft-in|soft-out] ends the session or only "
      + "has routes exchanged again. "
      + "PEER is an address, an interface or the node at the other end.",
    args: {
      node: { kind: "required", summary: "NODE, or LAB/NODE where several labs run", complete: "node" },
      what: {
        kind: "optional",
        summary: "summary, neighbors, rib, received, advertised, dump or reset",
        choices: ["summary", "neighbors", "rib", "received", "advertised", "dump", "reset"]
      },
      words: { kind: "rest", summary: "a prefix, an address or a neighbor", complete: "none" }
    },
    flags: {
      family: { kind: "choice", choices: ["both", "ipv4", "ipv6"], default: "both", summary: "only routes of this family" },
      vrf: { kind: "string", metavar: "NAME", summary: "the table to look into (default: default)", complete: "none" },
      limit: { kind: "string", short: "n", metavar: "N", summary: "end after so many prefixes", complete: "none" },
      write: { kind: "string", short: "w", metavar: "FILE", summary: "where dump writes to; - is standard output", complete: "path" },
      updates: { kind: "boolean", summary: "dump what neighbors send, as it comes" },
      duration: { kind: "string", metavar: "TIME", summary: "end --updates after so long: 10s, 5m", complete: "none" },
      output
    },
    examples: [
      { command: "weft bgp fw", description: "are the sessions up, and what came over them" },
      { command: "weft bgp fw rib", description: "all routes, with the marks of show bgp" },
      { command: "weft bgp fw rib 10.20.0.10", description: "which path is taken there, and why" },
      { command: "weft bgp fw advertised isp", description: "what the neighbor is told" },
      { command: "weft bgp fw dump -w - | bgpdump -m -", description: "the table for tools that read MRT" },
      { command: "weft bgp fw dump isp --updates -w - | bgpdump -m -", description: "what the neighbor sends, as it comes" },
      { command: "weft bgp fw reset isp soft", description: "after a change of policy elsewhere" }
    ]
  },
  probe: probeSpec,
  capture: {
    summary: "Record what passes interfaces of nodes, for Wireshark or to read",
    description:
      "Without -w each packet is a line. With -w the packets are written as pcapng: to a file, or with -w - to a pipe, as "
      + "they come. Both directions are seen as the node sees them. Ctrl-C ends the capture; what was dropped because "
      + "nobody read it in time is counted.",
    args: { ports: { kind: "rest", summary: "NODE:IF, or LAB/NODE:IF where several labs run; several at once", complete: "port" } },
    flags: {
      write: { kind: "string", short: "w", metavar: "FILE", summary: "write pcapng to this file; - is standard output", complete: "path" },
      filter: {
        kind: "string",
        metavar: "EXPR",
        summary: "only packets that match, such as 'tcp port 80'; see pcap-filter(7)",
        complete: "none"
      },
      count: { kind: "string", short: "c", metavar: "N", summary: "end after N packets", complete: "none" },
      duration: { kind: "string", metavar: "D", summary: "end after this time: 10s, 500ms, 5m", complete: "none" },
      snaplen: { kind: "string", short: "s", metavar: "N", summary: "keep only the first N octets of each packet", complete: "none" },
      tunnel: { kind: "boolean", summary: "instead, what carries these ports' frames to other hosts: packets of the underlay" }
    },
    examples: [
      { command: "weft capture pc:eth0", description: "look at what passes, a line for each packet" },
      { command: "weft capture pc:eth0 -w - | wireshark -k -i -", description: "live in Wireshark" },
      { command: "weft capture pc:eth0 --tunnel", description: "the same frames inside their tunnel" },
      { command: "weft capture pc:eth0 fw:wan -w trip.pcapng --filter icmp --duration 10s", description: "the same packets at two places" }
    ]
  },
  graph: {
    summary: "Draw a lab as SVG, Mermaid or DOT",
    description:
      "Nodes are grouped by their label `site`, else by group. The SVG needs nothing else and follows the reader's "
      + "light or dark theme. On a terminal the SVG goes to LAB.svg, in a pipe to standard output.",
    args: { lab: { kind: "optional", summary: "name of the lab; may be left out when there is only one", complete: "lab" } },
    flags: {
      file: labFileFlag,
      output: { kind: "choice", short: "o", choices: ["svg", "mermaid", "dot"], default: "svg", summary: "kind of drawing" },
      write: {
        kind: "string",
        short: "w",
        metavar: "FILE",
        summary: "write to this file; - is standard output",
        complete: "path"
      }
    },
    examples: [
      { command: "weft graph branch -w branch.svg", description: "a drawing for the README" },
      { command: "weft graph branch -o dot | dot -Tpdf > branch.pdf", description: "through Graphviz" }
    ]
  },
  events: {
    summary: "Show what happened, and what happens",
    description: "Past events, oldest first; with --follow also those to come.",
    args: { lab: { kind: "optional", summary: "only this lab", complete: "lab" } },
    flags: {
      follow: { kind: "boolean", short: "f", summary: "keep on printing as events happen" },
      last: {
        kind: "string",
        short: "n",
        metavar: "COUNT",
        summary: "how many past events (default: all that are kept)",
        complete: "none"
      },
      output
    },
    examples: [
      { command: "weft events -n 20", description: "the last twenty" },
      { command: "weft events branch -f -o json", description: "follow one lab, one JSON object per line" }
    ]
  },
  doctor: {
    summary: "Say what this machine can and cannot do, and what to do about it",
    description:
      "Asks the daemon what it found. Without a daemon it checks what can be checked from here. "
      + "Exits 1 when something that weft needs is missing.",
    args: {},
    flags: { output },
    examples: [{ command: "weft doctor", description: "what works, what is missing, what to type" }]
  },
  pki: {
    summary: "Make certificates for daemons on the network and for their users",
    description:
      "A daemon listens on the network only with TLS, and answers only to those whose certificate its authority has signed. "
      + "init makes the authority, issue makes a certificate and its key in DIR/NAME, revoke makes one void, show lists them. "
      + "A viewer may look at labs, an operator may change them and run commands in nodes. Nothing is overwritten.",
    args: {
      action: { kind: "required", summary: "init, issue, revoke or show", choices: ["init", "issue", "revoke", "show"] },
      name: { kind: "optional", summary: "whom the certificate is for", complete: "none" }
    },
    flags: {
      dir: { kind: "string", metavar: "DIR", summary: "folder of the authority (default: /etc/weft/pki)", complete: "path" },
      client: { kind: "boolean", summary: "for a user of weft (this is so without --server)" },
      server: { kind: "boolean", summary: "for a daemon; with --client for both" },
      host: {
        kind: "strings",
        metavar: "HOST",
        summary: "name or address under which clients reach the daemon (repeat for more)",
        complete: "none"
      },
      role: {
        kind: "choice",
        choices: ["viewer", "operator", "daemon"],
        default: "viewer",
        summary: "what the user may do; daemon is for a daemon that shares labs with those of other hosts"
      },
      days: { kind: "string", metavar: "DAYS", summary: "how long the certificate is good (default: 365)", complete: "none" },
      output
    },
    examples: [
      { command: "sudo weft pki init", description: "the authority, once" },
      { command: "sudo weft pki issue weftd --server --host lab1.example.net", description: "for the daemon of this machine" },
      { command: "sudo weft pki issue weftd --role daemon --host 192.0.2.7", description: "for one of several hosts that share labs" },
      { command: "sudo weft pki issue alice --role operator", description: "for a user" },
      { command: "sudo weft pki revoke alice", description: "a key that was lost lets nobody in any more" },
      { command: "sudo weft pki show", description: "who has what, and until when" }
    ]
  },
  completion: {
    summary: "Print a completion script for bash, zsh or fish",
    description: "Completes commands, flags, topology files and, when a daemon answers, labs and nodes.",
    args: { shell: { kind: "required", summary: "bash, zsh or fish", choices: ["bash", "zsh", "fish"] } },
    flags: {},
    examples: [
      { command: "source <(weft completion bash)", description: "bash, this session" },
      { command: "weft completion zsh > ~/.zfunc/_weft", description: "zsh, with fpath+=(~/.zfunc)" },
      { command: "weft completion fish > ~/.config/fish/completions/weft.fish", description: "fish" }
    ]
  },
  version: {
    summary: "Show the versions of weft and of the daemon",
    description: "The daemon's version is shown when one answers; without a daemon this still exits 0.",
    args: {},
    flags: { output },
    examples: [{ command: "weft version -o json", description: "for bug reports" }]
  }
} as const satisfies Record<string, CommandSpec>

export type Verb = keyof typeof specs

/** The flags that every command has. */
export const sharedFlags = {
  daemon: {
    kind: "string",
    metavar: "ADDRESS",
    summary: "the daemon to talk to: unix:PATH or HOST:PORT (default: $WEFT_DAEMON, else unix:/run/weft/weftd.sock)",
    complete: "none"
  },
  pki: {
    kind: "string",
    metavar: "DIR",
    summary: "folder with the ca.pem, cert.pem and key.pem to show to HOST:PORT (default: $WEFT_PKI, else ~/.weft/pki)",
    complete: "path"
  },
  help: { kind: "boolean", short: "h", summary: "show help" }
} as const satisfies Record<string, Flag>
