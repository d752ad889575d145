/**
 * CoDel (RFC 8289): drops from the head of a queue in which packets have waited too long for too long.
 *
 * Deviation: packets are dropped, never marked with ECN. The target is at least the time that one full packet takes at
 * the link's rate (RFC 8289 4.4), so that a slow link can be used at all.
 */

const intervalNs = 100e6
const targetNs = 5e6
const fullPacketOctets = 1514

export class Codel {
  /** What `judge` is told about the packet (see `PacketRing` for why so): the time, and how long it has waited. */
  readonly nowNs = new Float64Array(1)
  readonly waitedNs = new Float64Array(1)
  private target = targetNs
  private firstAboveNs = 0
  private dropNextNs = 0
  private dropped = 0
  private lastDropped = 0
  private isDropping = false
  /** A packet was dropped and the time of the next drop is not known before the next packet is seen. */
  private isDue = false

  configure(rateBps: number): void {
    this.target = Math.max(targetNs, (fullPacketOctets * 8e9) / rateBps)
  }

  /** Whether the packet at the head is dropped. `backlog`: octets behind it. Asked once for each packet that is taken. */
  drops(nowNs: number, waitedNs: number, backlog: number): boolean {
    this.nowNs[0] = nowNs
    this.waitedNs[0] = waitedNs
    return this.judge(backlog)
  }

  /** As `drops`. */
  judge(backlog: number): boolean {
    const isTooLong = this.isAbove(backlog)
    const nowNs = this.nowNs[0]!
    if (this.isDropping) {
      if (!isTooLong) {
        this.isDropping = this.isDue = false
        return false
      }
      if (this.isDue) this.dropNextNs += intervalNs / Math.sqrt(this.dropped)
      this.isDue = nowNs >= this.dropNextNs
      if (this.isDue) this.dropped++
      return this.isDue
    }
    if (!isTooLong) return false
    // RFC 8289 5.5: begins where it left off if it was dropping a short while ago.
    const recent = this.dropped - this.lastDropped
    this.dropped = recent > 1 && nowNs - this.dropNextNs < 16 * intervalNs ? recent : 1
    this.lastDropped = this.dropped
    this.dropNextNs = nowNs + intervalNs / Math.sqrt(this.dropped)
    this.isDropping = true
    return true
  }

  /** Nothing waits any more. */
  idle(): void {
    this.firstAboveNs = 0
  }

  private isAbove(backlog: number): boolean {
    const nowNs = this.nowNs[0]!
    if (this.waitedNs[0]! < this.target || backlog < fullPacketOctets) {
      this.firstAboveNs = 0
      return false
    }
    if (this.firstAboveNs === 0) {
      this.firstAboveNs = nowNs + intervalNs
      return false
    }
    return nowNs >= this.firstAboveNs
  }
}
