// Cutting super-frames into packets as net/ipv4/tcp_offload.c (tcp_gso_segment), net/ipv4/udp_offload.c
// (__udp_gso_segment) and net/ipv4/af_inet.c (inet_gso_segment) of Linux do.
#include "segment.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "addon.h"

namespace weft {
namespace {

// linux/virtio_net.h, which older distributions ship with a field called `class` that C++ cannot read.
struct VnetHeader {
  uint8_t flags;
  uint8_t gsoType;
  uint16_t headerLength;
  uint16_t gsoSize;
  uint16_t checksumStart;
  uint16_t checksumOffset;
};
static_assert(sizeof(VnetHeader) == vnetLength);
constexpr uint8_t needsChecksum = 1;
constexpr uint8_t gsoTcpV4 = 1;
constexpr uint8_t gsoTcpV6 = 4;
constexpr uint8_t gsoUdp = 5;
constexpr uint8_t gsoEcn = 0x80;

constexpr uint16_t ethertypeV4 = 0x0800;
constexpr uint16_t ethertypeV6 = 0x86dd;
constexpr uint8_t tcpFin = 0x01;
constexpr uint8_t tcpPush = 0x08;
constexpr uint8_t tcpCwr = 0x80;
constexpr size_t tcpChecksum = 16;
constexpr size_t udpChecksum = 6;

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

uint16_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

// The one's complement sum in the machine's byte order: RFC 1071 2(B), the order does not matter to it.
uint64_t sumOf(const uint8_t* at, size_t length) {
  uint64_t sum = 0;
  for (; length >= 4; at += 4, length -= 4) {
    uint32_t value;
    memcpy(&value, at, 4);
    sum += value;
  }
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

bool isSuperFrame(const uint8_t* frame) { return frame[1] != 0; }

bool describe(const uint8_t* frame, size_t length, Segments& result) {
  const VnetHeader header = headerOf(frame);
  const uint8_t* ethernet = frame + vnetLength;
  const uint8_t type = header.gsoType & ~gsoEcn;
  length -= vnetLength;
  if (!(header.flags & needsChecksum) || header.gsoSize == 0 || length < 14) return false;
  const uint16_t ethertype = networkOf(ethernet, length, result.network);
  result.isV4 = ethertype == ethertypeV4;
  if (!result.isV4 && ethertype != ethertypeV6) return false;
  result.isTcp = type == gsoTcpV4 || type == gsoTcpV6;
  if (!result.isTcp && type != gsoUdp) return false;
  result.transport = header.checksumStart;
  if (result.transport < result.network + (result.isV4 ? 20 : 40)) return false;
  if (result.isV4 && result.transport != result.network + (ethernet[result.network] & 15) * 4u) return false;
  if (result.transport + (result.isTcp ? 20 : 8) > length) return false;
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
  const uint8_t* source = frame + vnetLength;
  uint8_t* packet = target + vnetLength;
  const size_t from = index * segments.size;
  const size_t payload = std::min(segments.size, segments.payload - from);
  const bool isLast = index + 1 == segments.count;
  memcpy(packet, source, segments.header);
  memcpy(packet + segments.header, source + segments.header + from, payload);

  VnetHeader header{};
  header.flags = needsChecksum;
  header.headerLength = segments.header;
  header.checksumStart = segments.transport;
  header.checksumOffset = segments.isTcp ? tcpChecksum : udpChecksum;
  memcpy(target, &header, vnetLength);

  uint8_t* network = packet + segments.network;
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
  uint8_t* transport = packet + segments.transport;
  uint8_t* checksum = transport + header.checksumOffset;
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
  return vnetLength + segments.header + payload;
}

bool completeChecksum(uint8_t* frame, size_t length) {
  const VnetHeader header = headerOf(frame);
  if (!(header.flags & needsChecksum)) return true;
  const size_t field = vnetLength + header.checksumStart + header.checksumOffset;
  if (field + 2 > length) return false;
  const uint16_t sum = ~fold(sumOf(frame + vnetLength + header.checksumStart, length - vnetLength - header.checksumStart));
  // RFC 768: a UDP checksum of zero means that there is none. TCP takes either representation of zero.
  setWord(frame + field, sum == 0 ? 0xffff : sum);
  memset(frame, 0, vnetLength);
  return true;
}

size_t wirePackets(const uint8_t* frame, size_t length, size_t* octets) {
  Segments segments;
  *octets = length - vnetLength;
  if (!isSuperFrame(frame) || !describe(frame, length, segments)) return 1;
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
