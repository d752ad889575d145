/** The relays that this weftd has open, by lab: see publish.ts. */
import * as Netns from "../linux/netns.ts"
import { open, type OpenRelay } from "../linux/relay.ts"
import { id, type PublishSpec } from "../plan/resource.ts"

/** All open relays of this weftd. */
export class Relays {
  private readonly opened = new Map<string, { readonly lab: string; readonly spec: PublishSpec; readonly relay: OpenRelay }>()

  of(lab: string): ReadonlyArray<PublishSpec> {
    return [...this.opened.values()].filter((one) => one.lab === lab).map(({ spec }) => spec)
  }

  async open(lab: string, spec: PublishSpec): Promise<void> {
    await this.close(lab, spec)
    const { address, hostPort, port, protocol, targets } = spec
    const netnsPath = Netns.path(Netns.nodeName(lab, spec.node))
    this.opened.set(this.key(lab, spec), { lab, spec, relay: await open({ protocol, address, hostPort, netnsPath, port, targets }) })
  }

  async close(lab: string, spec: PublishSpec): Promise<void> {
    const key = this.key(lab, spec)
    const one = this.opened.get(key)
    this.opened.delete(key)
    await one?.relay.close()
  }

  async closeAll(): Promise<void> {
    await Promise.all(Array.from(this.opened.values(), ({ relay }) => relay.close()))
    this.opened.clear()
  }

  private key(lab: string, spec: PublishSpec): string {
    return `${lab}/${id.publish(spec.node, spec)}`
  }
}
