/**
 * The neighbour in the benches of the RIB, a process of its own: `sender.ts OPTIONS` with an object of JSON. It connects, opens a session,
 * and for each line on stdin (`announce`, `withdraw`) writes the whole stream; when the socket has taken it all, it says so on stdout.
 */
import { createInterface } from "node:readline"
import { connect, type Socket } from "node:net"
import { encodeKeepalive } from "../../daemon/wire/bgp/header.ts"
import { Family, MessageType } from "../../daemon/wire/bgp/iana.ts"
import { encode as encodeOpen } from "../../daemon/wire/bgp/open.ts"
import { StreamParser } from "../../daemon/wire/bgp/stream.ts"
import { makeStream } from "./update-stream.ts"

export interface SenderOptions {
  readonly address: string
  readonly localAddress: string
  readonly asn: number
  readonly prefixes: number
  readonly perSet: number
}

const { address, asn, localAddress, perSet, prefixes } = JSON.parse(process.argv[2]!) as SenderOptions
const stream = makeStream({ prefixes, perSet, asn, nextHop: localAddress, seed: 7 })

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const pause = (ms: number): Promise<void> => new Promise((then) => setTimeout(then, ms))

const open = encodeOpen({
  asn, holdTimeS: 180, bgpIdentifier: 0x0a630002,
  capabilities: [{ kind: "multiprotocol", family: Family.ipv4Unicast }, { kind: "routeRefresh" }, { kind: "fourOctetAs", asn }]
})

/** Resolves with the socket when the session is Established; tries until somebody takes it. */
const establish = async (): Promise<Socket> => {
  for (;;) {
    const socket = connect({ host: address, port: 179, localAddress })
    const parser = new StreamParser()
    const isUp = await new Promise<boolean>((done) => {
      socket.once("connect", () => socket.write(open))
      socket.on("error", () => done(false))
      socket.on("close", () => done(false))
      socket.on("data", (chunk: Buffer) => {
        parser.feed(chunk)
        while (parser.next()) {
          if (parser.type === MessageType.open) socket.write(encodeKeepalive())
          else if (parser.type === MessageType.keepalive) done(true)
          else if (parser.type === MessageType.notification) {
            process.stderr.write(`NOTIFICATION ${parser.bytes[parser.at + 19]}/${parser.bytes[parser.at + 20]}\n`)
          }
        }
      })
    })
    if (isUp) return socket
    socket.destroy()
    await pause(200)
  }
}

const writeAll = async (socket: Socket, octets: Uint8Array): Promise<void> => {
  for (let at = 0; at < octets.length; at += 1 << 18) {
    if (!socket.write(octets.subarray(at, at + (1 << 18)))) await new Promise((then) => socket.once("drain", then))
  }
}

const socket = await establish()
setInterval(() => socket.write(encodeKeepalive()), 30_000).unref()
say(`established ${stream.messages} ${stream.sets}`)
for await (const line of createInterface({ input: process.stdin })) {
  await writeAll(socket, line === "withdraw" ? stream.withdrawals : stream.octets)
  say("written")
}
process.exit(0)
