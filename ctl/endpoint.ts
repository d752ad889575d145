/** Addresses of daemons on the network. */

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** `HOST:PORT` or `[IPV6]:PORT`; undefined for anything else. */
export const parseEndpoint = (address: string): Endpoint | undefined => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([A-Za-z0-9][A-Za-z0-9._-]*)):(\d{1,5})$/i.exec(address)
  const port = Number(match?.[3])
  return match === null || port < 1 || port > 65_535 ? undefined : { host: match[1] ?? match[2]!, port }
}
