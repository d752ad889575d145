// Reading and writing the headers of VXLAN, Geneve and GRE: see encapsulation.h.
#include "encapsulation.h"

#include <arpa/inet.h>

#include <cerrno>
#include <cstring>
#include <limits>

#include "addon.h"
#include "segment.h"

namespace weft {
namespace {

constexpr size_t ethernetLength = 14;
// RFC 1701: transparent Ethernet bridging; RFC 8926 3.4 takes the same numbers.
constexpr uint16_t transparentEthernet = 0x6558;

constexpr uint8_t vxlanHasVni = 0x08;

constexpr uint8_t geneveControl = 0x80;
constexpr uint8_t geneveCritical = 0x40;
constexpr uint8_t geneveCriticalOption = 0x80;
constexpr size_t optionHeader = 4;

constexpr uint16_t greChecksum = 0x8000;
constexpr uint16_t greKey = 0x2000;
constexpr uint16_t greSequence = 0x1000;

uint16_t bits16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
uint32_t bits24(const uint8_t* at) { return uint32_t{at[0]} << 16 | uint32_t{at[1]} << 8 | at[2]; }

Refusal openVxlan(const uint8_t* packet, size_t length, Inner& inner) {
  if (length < 8) return badLength;
  // RFC 7348 5: the I flag must be set; reserved bits are ignored on receipt.
  if (!(packet[0] & vxlanHasVni)) return badFlags;
  inner.vni = bits24(packet + 4);
  inner.offset = 8;
  return accepted;
}

size_t optionSize(const uint8_t* option) { return optionHeader + (option[3] & 0x1f) * 4u; }

// Whether the options fill their space.
bool addUp(const uint8_t* options, size_t length) {
  size_t at = 0;
  while (length - at >= optionHeader && optionSize(options + at) <= length - at) at += optionSize(options + at);
  return at == length;
}

// By class and type, whether critical or not.
bool isAmong(const uint8_t* option, const uint8_t* known, size_t length) {
  for (size_t at = 0; at < length; at += optionSize(known + at)) {
    const bool isSameType = ((known[at + 2] ^ option[2]) & ~geneveCriticalOption) == 0;
    if (isSameType && known[at] == option[0] && known[at + 1] == option[1]) return true;
  }
  return false;
}

Refusal openGeneve(const uint8_t* packet, size_t length, Inner& inner) {
  if (length < 8) return badLength;
  // RFC 8926 3.4: drop what has an unknown version; never forward a control packet.
  if ((packet[0] & 0xc0) != 0 || (packet[1] & geneveControl)) return badFlags;
  const size_t end = 8 + (packet[0] & 0x3f) * 4u;
  if (length < end) return badLength;
  if (bits16(packet + 2) != transparentEthernet) return badProtocol;
  // RFC 8926 3.5: options whose lengths do not add up make the packet invalid.
  if (!addUp(packet + 8, end - 8)) return badOptions;
  inner.vni = bits24(packet + 4);
  inner.offset = end;
  inner.optionOctets = end - 8;
  return accepted;
}

Refusal openGre(const uint8_t* packet, size_t length, Inner& inner) {
  if (length < 4) return badLength;
  const uint16_t first = bits16(packet);
  // RFC 2784 2.2: bits 1-5 must be zero unless RFC 1701 is implemented, where RFC 2890 gives K and S back their meaning;
  // 2.3: so must the version. The other reserved bits are ignored.
  if ((first & 0x4c07) != 0) return badFlags;
  if (bits16(packet + 2) != transparentEthernet) return badProtocol;
  // Without a key it is nobody's.
  if (!(first & greKey)) return badFlags;
  const size_t beforeKey = 4 + (first & greChecksum ? 4 : 0);
  inner.offset = beforeKey + 4 + (first & greSequence ? 4 : 0);
  if (length < inner.offset) return badLength;
  if ((first & greChecksum) && static_cast<uint16_t>(~sum16(packet, length)) != 0) return badChecksum;
  memcpy(&inner.vni, packet + beforeKey, 4);
  inner.vni = ntohl(inner.vni);
  return accepted;
}

uint32_t mix(uint32_t hash, const uint8_t* at, size_t words) {
  for (size_t i = 0; i < words; i++) {
    uint32_t value;
    memcpy(&value, at + i * 4, 4);
    hash = (hash ^ value) * 0x9e3779b1u;
    hash ^= hash >> 15;
  }
  return hash;
}

}  // namespace

Refusal decapsulate(Encapsulation kind, const uint8_t* packet, size_t length, Inner& inner) {
  inner = {};
  const Refusal refusal = kind == Encapsulation::vxlan    ? openVxlan(packet, length, inner)
                          : kind == Encapsulation::geneve ? openGeneve(packet, length, inner)
                                                          : openGre(packet, length, inner);
  if (refusal != accepted) return refusal;
  return length < inner.offset + ethernetLength ? badLength : accepted;
}

// The C flag of the header alone must not be trusted, nor its absence: it is not looked at.
Options judgeOptions(const uint8_t* options, size_t length, const uint8_t* known, size_t knownLength) {
  Options verdict = Options::known;
  for (size_t at = 0; at < length; at += optionSize(options + at)) {
    if (isAmong(options + at, known, knownLength)) continue;
    if (options[at + 2] & geneveCriticalOption) return Options::critical;
    verdict = Options::ignored;
  }
  return verdict;
}

bool areOptions(const uint8_t* options, size_t length) { return length <= maxOptionOctets && addUp(options, length); }

void encapsulate(Encapsulation kind, uint32_t vni, uint8_t* target, const uint8_t* options, size_t optionOctets) {
  memset(target, 0, encapsulationLength);
  const uint32_t shifted = htonl(kind == Encapsulation::gre ? vni : vni << 8);
  memcpy(target + 4, &shifted, 4);
  if (kind == Encapsulation::vxlan) {
    target[0] = vxlanHasVni;
    return;
  }
  if (kind == Encapsulation::gre) target[0] = greKey >> 8;
  target[2] = transparentEthernet >> 8;
  target[3] = transparentEthernet & 0xff;
  if (optionOctets == 0) return;
  target[0] = static_cast<uint8_t>(optionOctets / 4);
  memcpy(target + encapsulationLength, options, optionOctets);
  for (size_t at = 0; at < optionOctets; at += optionSize(options + at)) {
    if (options[at + 2] & geneveCriticalOption) target[1] = geneveCritical;
  }
}

uint32_t flowHash(const uint8_t* frame, size_t length) {
  size_t network = ethernetLength;
  uint16_t type = bits16(frame + 12);
  for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8) && network + 4 <= length; tags++) {
    type = bits16(frame + network + 2);
    network += 4;
  }
  const uint8_t* ip = frame + network;
  size_t ports = 0;
  uint32_t hash = type;
  if (type == 0x0800 && length >= network + 20) {
    hash = mix(hash ^ ip[9], ip + 12, 2);
    const bool isFragment = (bits16(ip + 6) & 0x3fff) != 0;
    if ((ip[9] == 6 || ip[9] == 17) && !isFragment) ports = network + (ip[0] & 15) * 4u;
  } else if (type == 0x86dd && length >= network + 40) {
    hash = mix(hash ^ ip[6], ip + 8, 8);
    if (ip[6] == 6 || ip[6] == 17) ports = network + 40;
  } else {
    return mix(hash, frame, 3);
  }
  return ports != 0 && ports + 4 <= length ? mix(hash, frame + ports, 1) : hash;
}

namespace {

// openTunnelPacket(encapsulation, packet, known): [verdict, VNI, offset of the frame, octets of options, whether some of them are
// passed over] of a packet for who knows the options `known`. For tests.
napi_value openTunnelPacket(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  const uint8_t* packet = arguments.octets(1, &length);
  Inner inner;
  Refusal refusal = decapsulate(static_cast<Encapsulation>(arguments.integer(0)), packet, length, inner);
  size_t knownLength = 0;
  const uint8_t* known = arguments.octets(2, &knownLength);
  if (!areOptions(known, knownLength)) return throwErrno(env, EINVAL, "tunnel", "options of Geneve");
  Options options = Options::known;
  if (refusal == accepted) options = judgeOptions(packet + inner.offset - inner.optionOctets, inner.optionOctets, known, knownLength);
  if (options == Options::critical) refusal = badOptions;
  napi_value result;
  napi_create_array_with_length(env, 5, &result);
  napi_set_element(env, result, 0, fromInteger(env, refusal));
  napi_set_element(env, result, 1, fromInteger(env, inner.vni));
  napi_set_element(env, result, 2, fromInteger(env, static_cast<int64_t>(inner.offset)));
  napi_set_element(env, result, 3, fromInteger(env, static_cast<int64_t>(inner.optionOctets)));
  napi_set_element(env, result, 4, fromInteger(env, options == Options::ignored ? 1 : 0));
  return result;
}

}  // namespace

void registerEncapsulation(napi_env env, napi_value exports) { define(env, exports, "openTunnelPacket", openTunnelPacket); }

}  // namespace weft
