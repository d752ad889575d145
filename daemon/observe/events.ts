/** What happened: the last thousand events, and everyone who listens for more. */

export interface Event {
  /** RFC 3339, ms. */
  readonly time: string
  /** Empty for what concerns the daemon. */
  readonly lab: string
  /**
   * `daemon.started` `daemon.swept` `lab.changing` `lab.ready` `lab.failed` `lab.adopted` `lab.destroyed` `lab.orphaned`
   * `resource.failed` `tunnel.down` `tunnel.up` `etcd.lost` `etcd.connected` `host.refused` `host.registered`
   * `host.limit` `container.started` `container.ended` `container.healthy` `container.unhealthy` `container.mended`
   * `container.failed` `evpn.up` `evpn.down` `evpn.moved` `evpn.duplicate` `evpn.thawed` `evpn.sticky` `evpn.failed` `evpn.trouble`
   * `fault.injected` `fault.healed` `fault.expired` `fault.lost` `fault.refused` `fault.failed`
   */
  readonly type: string
  /** Resource id, node or lab. */
  readonly subject: string
  readonly message: string
}

const kept = 1000

export class EventLog {
  private readonly past: Event[] = []
  private readonly listeners = new Set<(event: Event) => void>()

  emit(event: Omit<Event, "time">): void {
    const stamped = { time: new Date().toISOString(), ...event }
    this.past.push(stamped)
    if (this.past.length > kept) this.past.shift()
    for (const listener of this.listeners) listener(stamped)
  }

  /** The newest `count` (0: all that are kept) of `lab` (empty: all), oldest first. */
  last(lab: string, count: number): ReadonlyArray<Event> {
    const events = this.past.filter((event) => lab === "" || event.lab === lab)
    return count === 0 ? events : events.slice(-count)
  }

  /** Returns what ends the subscription. */
  listen(listener: (event: Event) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
}
