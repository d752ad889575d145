// Cutting super-frames into packets as net/ipv4/tcp_offload.c (tcp_gso_segment), net/ipv4/udp_offload.c
// (__udp_gso_segment) and net/ipv4/af_inet.c (inet_gso_segment) of Linux do.
#include "segment.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "addon.h"

namespace weft {
namespace {

constexpr uint16_t ethertypeV4 = 0x0800;
constexpr uint16_t ethertypeV6 = 0x86dd;
constexpr uint8_t tcpFin = 0x01;
constexpr uint8_t tcpPush = 0x08;
constexpr uint8_t tcpCwr = 0x80;

VnetHeader headerOf(const uint8_t* frame) {
  VnetHeader header;
  memcpy(&header, frame, sizeof header);
  return header;
}

uint16_t word(const uint8_t* at) {
  uint16_t value;
  memcpy(&value, at, 2);
  return value;
}

void setWord(uint8_t* at, uint16_t value) { memcpy(at, &value, 2); }

// The Ethernet type behind any VLAN tags, and where what it announces begins.
uint16_t networkOf(const uint8_t* ethernet, size_t length, size_t& offset) {
  offset = 14;
  while (offset <= length) {
    const uint16_t type = ntohs(word(ethernet + offset - 2));
    if (type != 0x8100 && type != 0x88a8) return type;
    offset += 4;
  }
  return 0;
}

}  // namespace

uint16_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// Compiled for wide vectors too, of which the machine takes what it has: every octet of a tunnel's packets passes here.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("avx2", "default")))
#endif
uint64_t sumOf(const uint8_t* at, size_t length) {
  uint64_t sum = 0;
  const size_t words = length / 4;
  for (size_t i = 0; i < words; i++) {
    uint32_t value;
    memcpy(&value, at + i * 4, 4);
    sum += value;
  }
  at += words * 4;
  length -= words * 4;
  if (length >= 2) {
    sum += word(at);
    at += 2;
    length -= 2;
  }
  if (length > 0) {
    uint16_t last = 0;
    memcpy(&last, at, 1);
    sum += last;
  }
  return sum;
}

bool isSuperFrame(const uint8_t* frame) { return frame[1] != 0; }

bool describe(const uint8_t* frame, size_t length, Segments& result) {
  return describe(headerOf(frame), frame + vnetLength, length - vnetLength, result);
}

bool describe(const VnetHeader& header, const uint8_t* ethernet, size_t length, Segments& result) {
  const uint8_t type = header.gsoType & ~gsoEcn;
  if (!(header.flags & needsChecksum) || header.gsoSize == 0 || length < 14) return false;
  const uint16_t ethertype = networkOf(ethernet, length, result.network);
  result.isV4 = ethertype == ethertypeV4;
  if (!result.isV4 && ethertype != ethertypeV6) return false;
  result.isTcp = type == gsoTcpV4 || type == gsoTcpV6;
  if (!result.isTcp && type != gsoUdp) return false;
  result.transport = header.checksumStart;
  if (result.transport < result.network + (result.isV4 ? 20 : 40)) return false;
  if (result.transport + (result.isTcp ? 20 : 8) > length) return false;
  if (result.isV4 && result.transport != result.network + (ethernet[result.network] & 15) * 4u) return false;
  if (header.checksumOffset != (result.isTcp ? tcpChecksum : udpChecksum)) return false;
  const size_t own = result.isTcp ? (ethernet[result.transport + 12] >> 4) * 4u : 8;
  if (own < 8 || (result.isTcp && own < 20)) return false;
  result.header = result.transport + own;
  if (result.header > length) return false;
  result.size = header.gsoSize;
  result.payload = length - result.header;
  result.count = std::max<size_t>(1, (result.payload + result.size - 1) / result.size);
  return result.count <= maxSegments;
}

size_t cut(const Segments& segments, const uint8_t* frame, size_t index, uint8_t* target) {
  VnetHeader header;
  header.flags = needsChecksum;
  header.headerLength = segments.header;
  header.checksumStart = segments.transport;
  header.checksumOffset = segments.isTcp ? tcpChecksum : udpChecksum;
  memcpy(target, &header, vnetLength);
  const Slice slice = cutHeaders(segments, frame + vnetLength, index, target + vnetLength);
  memcpy(target + vnetLength + segments.header, frame + vnetLength + slice.from, slice.size);
  return vnetLength + segments.header + slice.size;
}

Slice cutHeaders(const Segments& segments, const uint8_t* ethernet, size_t index, uint8_t* target) {
  const size_t from = index * segments.size;
  const size_t payload = std::min(segments.size, segments.payload - from);
  const bool isLast = index + 1 == segments.count;
  memcpy(target, ethernet, segments.header);

  uint8_t* network = target + segments.network;
  const size_t total = segments.header - segments.network + payload;
  if (segments.isV4) {
    setWord(network + 2, htons(total));
    setWord(network + 4, htons(ntohs(word(network + 4)) + index));
    setWord(network + 10, 0);
    setWord(network + 10, ~fold(sumOf(network, segments.transport - segments.network)));
  } else {
    setWord(network + 4, htons(total - 40));
  }

  // The checksum field holds the sum of the pseudo header, in which the length changes (tcp_gso_segment: `delta`). Taken
  // from there and not from the addresses: with a routing header the address that counts is another one.
  uint8_t* transport = target + segments.transport;
  uint8_t* checksum = transport + (segments.isTcp ? tcpChecksum : udpChecksum);
  const size_t length = segments.header - segments.transport + payload;
  const uint16_t oldLength =
      segments.isTcp ? htons(segments.header - segments.transport + segments.payload) : word(transport + 4);
  setWord(checksum, fold(uint64_t{word(checksum)} + static_cast<uint16_t>(~oldLength) + htons(length)));
  if (segments.isTcp) {
    uint32_t sequence;
    memcpy(&sequence, transport + 4, 4);
    sequence = htonl(ntohl(sequence) + static_cast<uint32_t>(from));
    memcpy(transport + 4, &sequence, 4);
    if (!isLast) transport[13] &= ~(tcpFin | tcpPush);
    if (index > 0) transport[13] &= ~tcpCwr;
  } else {
    setWord(transport + 4, htons(length));
  }
  return {segments.header + from, payload};
}

void closeChecksum(uint8_t* field, uint64_t sum) {
  const uint16_t checksum = ~fold(sum);
  // RFC 768: a UDP checksum of zero means that there is none. TCP takes either representation of zero.
  setWord(field, checksum == 0 ? 0xffff : checksum);
}

bool completeChecksum(const VnetHeader& header, uint8_t* ethernet, size_t length) {
  if (!(header.flags & needsChecksum)) return true;
  const size_t field = size_t{header.checksumStart} + header.checksumOffset;
  if (field + 2 > length) return false;
  closeChecksum(ethernet + field, sumOf(ethernet + header.checksumStart, length - header.checksumStart));
  return true;
}

bool completeChecksum(uint8_t* frame, size_t length) {
  const VnetHeader header = headerOf(frame);
  if (!(header.flags & needsChecksum)) return true;
  if (!completeChecksum(header, frame + vnetLength, length - vnetLength)) return false;
  memset(frame, 0, vnetLength);
  return true;
}

size_t wirePackets(const uint8_t* frame, size_t length, size_t* octets) {
  return wirePackets(headerOf(frame), frame + vnetLength, length - vnetLength, octets);
}

size_t wirePackets(const VnetHeader& header, const uint8_t* ethernet, size_t length, size_t* octets) {
  Segments segments;
  *octets = length;
  if (header.gsoType == 0 || !describe(header, ethernet, length, segments)) return 1;
  *octets += (segments.count - 1) * segments.header;
  return segments.count;
}

namespace {

// segmentFrame(frame, complete): the packets of a frame that has a virtio-net header, each with one of its own, their
// checksums left open or, if `complete`, filled in. Empty when the frame is not what its header claims. For tests.
napi_value segmentFrame(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  const uint8_t* frame = arguments.octets(0, &length);
  napi_value result;
  napi_create_array(env, &result);
  Segments segments;
  std::vector<uint8_t> packet(frame, frame + length);
  const bool isOne = length >= vnetLength && !isSuperFrame(frame);
  if (!isOne && (length < vnetLength || !describe(frame, length, segments))) return result;
  for (size_t index = 0; index < (isOne ? 1 : segments.count); index++) {
    const size_t size = isOne ? length : cut(segments, frame, index, packet.data());
    if (arguments.flag(1) && !completeChecksum(packet.data(), size)) return result;
    napi_set_element(env, result, static_cast<uint32_t>(index), fromOctets(env, packet.data(), size));
  }
  return result;
}

}  // namespace

void registerSegment(napi_env env, napi_value exports) { define(env, exports, "segmentFrame", segmentFrame); }

}  // namespace weft
