/** A lab without a kernel: no node of it exists. What needs one fails as it would fail on a machine that lost it. */
import type { Resource } from "../../daemon/plan/resource.ts"
import { type Daemon, Lab, type LabInit } from "../../daemon/resources/lab.ts"
import type { Snapshot } from "../../daemon/resources/snapshot.ts"

const nothing = { nodes: new Map(), foreign: new Map(), fabricPorts: new Map(), taps: new Map() } as unknown as Snapshot

export const emptyLab = (directory: string, resources: ReadonlyArray<Resource>, records: LabInit["records"] = new Map()): Lab =>
  new Lab({
    name: "unit-test-lab",
    // The program and the engine are not there: whoever asks for them is tested with root.
    daemon: { instance: "unit-test", fabric: { name: "none", fd: -1, inode: 0 }, runDirectory: directory } as unknown as Daemon,
    snapshot: nothing,
    desired: new Map(resources.map((resource) => [resource.id, resource])),
    previous: [],
    records,
    save: async () => {}
  })
