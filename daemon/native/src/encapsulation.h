// Ethernet frames inside UDP and GRE: the headers of VXLAN (RFC 7348 5), Geneve (RFC 8926 3.4) and GRE (RFC 2784 2.1,
// RFC 2890 2). Pure: octets in, a verdict out, whatever the octets.
//
//     VXLAN    flags, reserved (24 bits) | VNI (24), reserved (8)
//     Geneve   version (2), option length (6) | O C reserved | protocol type | VNI (24), reserved (8) | options
//     GRE      C 0 K S reserved version | protocol type | [checksum, reserved] [key] [sequence number]
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

// As numbered in daemon/native/index.ts.
enum class Encapsulation : int { vxlan, geneve, gre };
constexpr size_t encapsulationCount = 3;

// Why a packet from the underlay is not delivered. TypeScript has the same table.
enum Refusal : int {
  // Too short for its headers, or for an Ethernet header behind them.
  badLength,
  // VXLAN without a VNI; a version other than 0, a control packet or reserved bits that must not be set.
  badFlags,
  // Not an Ethernet frame inside.
  badProtocol,
  // Geneve: a critical option that the tunnel does not know, or options that overrun their space.
  badOptions,
  // GRE: wrong.
  badChecksum,
  // No tunnel has this VNI or key.
  unknownVni,
  // Tunnels have it, but not with this sender.
  wrongSource,
  refusalCount,
  accepted = -1
};

// What every packet of ours begins with: no checksum of GRE's own. Geneve's options follow.
constexpr size_t encapsulationLength = 8;
// RFC 8926 3.4: the header counts them in 6 bits, 4 octets each.
constexpr size_t maxOptionOctets = 252;

struct Inner {
  uint32_t vni = 0;
  // Where the Ethernet frame begins.
  size_t offset = 0;
  // Octets of Geneve options, right before the frame; their lengths add up.
  size_t optionOctets = 0;
};

// Reads the headers of a packet (from behind UDP, or from GRE on): `accepted`, or why not.
Refusal decapsulate(Encapsulation kind, const uint8_t* packet, size_t length, Inner& inner);

// What options mean to who knows those in `known`, by class and type.
enum class Options {
  // All of them are known.
  known,
  // Others are to be passed over.
  ignored,
  // RFC 8926 3.5.1: the packet must be dropped.
  critical
};

// Judges options whose lengths add up, in both.
Options judgeOptions(const uint8_t* options, size_t length, const uint8_t* known, size_t knownLength);

// Whether options could be sent: as long as Geneve can say, with lengths that add up.
bool areOptions(const uint8_t* options, size_t length);

// Writes `encapsulationLength` octets and then the options, which are for Geneve and pass `areOptions`.
void encapsulate(Encapsulation kind, uint32_t vni, uint8_t* target, const uint8_t* options = nullptr, size_t optionOctets = 0);

// A number that is the same for all frames of a flow: of addresses, protocol and ports. `frame` has at least 14 octets.
uint32_t flowHash(const uint8_t* frame, size_t length);

}  // namespace weft
