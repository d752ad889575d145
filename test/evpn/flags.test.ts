import t from "tap"
import { evpnSettings } from "../../daemon/evpn/flags.ts"

t.test("evpnSettings", (t) => {
  t.strictSame(evpnSettings({}, true), { asn: 64_999, port: 179, reflectors: [], peers: [], suppression: true })
  t.equal(evpnSettings({}, false), undefined, "no other hosts, no EVPN")
  t.equal(evpnSettings({ evpn: "off" }, true), undefined)
  t.strictSame(
    evpnSettings(
      {
        "evpn-as": "65000",
        "evpn-port": "1179",
        "evpn-rr": "192.0.2.1,2001:DB8::1",
        "evpn-peer": ["192.0.2.9", "192.0.2.9:65050", "[2001:db8::9]:4200000000", "2001:db8::a"],
        "evpn-suppression": "off"
      },
      true
    ),
    {
      asn: 65_000,
      port: 1179,
      reflectors: ["192.0.2.1", "2001:db8::1"],
      peers: [
        { address: "192.0.2.9", asn: 65_000 },
        { address: "192.0.2.9", asn: 65_050 },
        { address: "2001:db8::9", asn: 4_200_000_000 },
        { address: "2001:db8::a", asn: 65_000 }
      ],
      suppression: false
    }
  )
  const bad: ReadonlyArray<readonly [flags: Parameters<typeof evpnSettings>[0], isFleet: boolean, message: RegExp]> = [
    [{ "evpn-as": "65001" }, false, /^--evpn-as is for one of many hosts: --etcd URL is missing$/],
    [{ "evpn-as": "70000" }, true, /^Bad --evpn-as "70000": a whole number from 1 to 65534 is expected$/],
    [{ "evpn-port": "0" }, true, /^Bad --evpn-port "0"/],
    [{ "evpn-rr": "192.0.2" }, true, /^Bad address "192.0.2" in --evpn-rr/],
    [{ "evpn-peer": ["leaf:65000"] }, true, /^Bad address "leaf" in --evpn-peer: an IPv4/],
    [{ "evpn-peer": ["192.0.2.1:0"] }, true, /^Bad AS number in --evpn-peer "192.0.2.1:0"/],
    [{ evpn: "no" }, true, /^Bad --evpn "no": on or off is expected$/]
  ]
  for (const [flags, isFleet, message] of bad) t.throws(() => evpnSettings(flags, isFleet), message)
  t.end()
})
