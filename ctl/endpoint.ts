/** Addresses of daemons on the network. */

import { isIP } from "node:net"

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** `HOST:PORT` or `[IPV6]:PORT`; undefined for anything else. */
export const parseEndpoint = (address: string): Endpoint | undefined => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([A-Za-z0-9][A-Za-z0-9._-]*)):(\d{1,5})$/i.exec(address)
  const port = Number(match?.[3])
  if (match === null || port < 1 || port > 65_535 || (match[1] !== undefined && isIP(match[1]) !== 6)) return undefined
  return { host: match[1] ?? match[2]!, port }
}
