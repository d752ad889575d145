/** Address families as rtnetlink spells them (include/linux/socket.h). */
import type { Family } from "../ip.ts"

export const AF_INET = 2
export const AF_INET6 = 10

/** Of an address of 4 or 16 octets. */
export const addressFamily = (address: Uint8Array): number => (address.length === 16 ? AF_INET6 : AF_INET)

export const familyNumber = (family: Family): number => (family === "ipv6" ? AF_INET6 : AF_INET)

export const familyName = (number: number): Family | undefined =>
  number === AF_INET ? "ipv4" : number === AF_INET6 ? "ipv6" : undefined
