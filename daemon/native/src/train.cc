// The reverse of cutting, by the rules of net/ipv4/tcp_offload.c (tcp_gro_receive) and net/ipv4/udp_offload.c
// (udp_gro_receive_segment): only what cutting the result again would give back. The one exception is the
// identification of datagrams that must not be fragmented, which has no meaning (RFC 6864 4.1): it may be the same in all.
// Packets whose checksum is wrong stay as they are, and with them all that were corrupted.
#include "train.h"

#include <arpa/inet.h>

#include <cstring>

#include "addon.h"
#include "engine.h"

namespace weft {
namespace {

constexpr uint8_t fin = 0x01;
constexpr uint8_t push = 0x08;
constexpr uint8_t ack = 0x10;
constexpr uint8_t protocolTcp = 6;
constexpr uint8_t protocolUdp = 17;
constexpr size_t maxIpLength = 65535;
// RFC 8200 5; and what is no super-frame for sure.
constexpr size_t minimumMtu = 1280;
constexpr size_t maxOpenLength = 1500;

uint16_t word(const uint8_t* at) {
  uint16_t value;
  memcpy(&value, at, 2);
  return value;
}

uint32_t longWord(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return ntohl(value);
}

void setWord(uint8_t* at, uint32_t value) {
  const auto low = static_cast<uint16_t>(value);
  memcpy(at, &low, 2);
}

// Finds the network header: an IP packet that fills its frame and is no fragment.
bool findNetwork(Packet& packet) {
  const uint8_t* frame = packet.frame;
  if (packet.length < 14) return false;
  packet.network = 14;
  uint16_t type = word(frame + 12);
  for (int tags = 0; tags < 2 && (type == htons(0x8100) || type == htons(0x88a8)); tags++) {
    packet.network += 4;
    if (packet.network > packet.length) return false;
    type = word(frame + packet.network - 2);
  }
  const uint8_t* ip = frame + packet.network;
  packet.isV4 = type == htons(0x0800);
  if (!packet.isV4 && type != htons(0x86dd)) return false;
  if (packet.length < packet.network + (packet.isV4 ? 20 : 40)) return false;
  const size_t length = packet.isV4 ? ntohs(word(ip + 2)) : 40u + ntohs(word(ip + 4));
  if (ip[0] >> 4 != (packet.isV4 ? 4 : 6) || length != packet.length - packet.network) return false;
  return !packet.isV4 || (word(ip + 6) & htons(0x3fff)) == 0;
}

// Whether a whole TCP or UDP header is where `transport` says.
bool hasTransport(const Packet& packet, size_t transport) {
  if (transport < packet.network + (packet.isV4 ? (packet.frame[packet.network] & 15) * 4u : 40)) return false;
  if (transport + (packet.isTcp ? 20 : 8) > packet.length) return false;
  return packet.isTcp || ntohs(word(packet.frame + transport + 4)) == packet.length - transport;
}

// A super-frame that crossed virtual devices only and is still whole, its segment size lost: `packet` as one of segments that
// pass every link. Where TCP is cut has no meaning to it.
Packet superFrame(Packet packet, size_t transport) {
  const size_t headers = transport - packet.network + (packet.frame[transport + 12] >> 4) * 4u;
  packet.header.gsoType = packet.isV4 ? gsoTcpV4 : gsoTcpV6;
  packet.header.headerLength = static_cast<uint16_t>(packet.network + headers);
  packet.header.gsoSize = static_cast<uint16_t>(minimumMtu - headers);
  packet.packets = wirePackets(packet.header, packet.frame, packet.length, &packet.octets);
  return packet;
}

}  // namespace

Packet openPacket(const VnetHeader& header, const uint8_t* frame, size_t length) {
  Packet packet;
  packet.frame = frame;
  packet.length = length;
  packet.header = header;
  if (header.gsoType != 0) {
    packet.packets = wirePackets(header, frame, length, &packet.octets);
    return packet;
  }
  if (header.flags != needsChecksum || !findNetwork(packet)) return packet;
  packet.isTcp = header.checksumOffset == tcpChecksum;
  if (!packet.isTcp && header.checksumOffset != udpChecksum) return packet;
  const size_t transport = header.checksumStart;
  if (packet.isV4 && transport != packet.network + (frame[packet.network] & 15) * 4u) return packet;
  if (!hasTransport(packet, transport)) return packet;
  packet.transport = transport;
  packet.pseudo = word(frame + transport + header.checksumOffset);
  return packet;
}

Packet closedPacket(const uint8_t* frame, size_t length) {
  Packet packet;
  packet.frame = frame;
  packet.length = length;
  if (!findNetwork(packet)) return packet;
  const uint8_t* ip = frame + packet.network;
  // With options or extension headers the address that counts in the pseudo header may be another one.
  if (packet.isV4 && ip[0] != 0x45) return packet;
  const uint8_t protocol = packet.isV4 ? ip[9] : ip[6];
  packet.isTcp = protocol == protocolTcp;
  if (!packet.isTcp && protocol != protocolUdp) return packet;
  const size_t transport = packet.network + (packet.isV4 ? 20 : 40);
  if (!hasTransport(packet, transport)) return packet;
  // RFC 768: no checksum. It must not get one.
  if (!packet.isTcp && word(frame + transport + udpChecksum) == 0) return packet;
  if (packet.isV4 && sum16(ip, 20) != 0xffff) return packet;
  const size_t rest = length - transport;
  const uint64_t addresses = packet.isV4 ? sumOf(ip + 12, 8) : sumOf(ip + 8, 32);
  packet.pseudo = fold(addresses + htons(protocol) + htons(static_cast<uint16_t>(rest)));
  const size_t field = packet.isTcp ? tcpChecksum : udpChecksum;
  if (fold(packet.pseudo + sumOf(frame + transport, rest)) == 0xffff) {
    packet.header.flags = hasValidChecksum;
  } else if (word(frame + transport + field) == packet.pseudo) {
    // Left open: a kernel's tunnel leaves that to its device, and a virtual one (veth, virtio) leaves it to us.
    packet.header.flags = needsChecksum;
    packet.header.checksumStart = static_cast<uint16_t>(transport);
    packet.header.checksumOffset = static_cast<uint16_t>(field);
    if (packet.isTcp && length - packet.network > maxOpenLength) return superFrame(packet, transport);
  } else {
    return packet;
  }
  packet.transport = transport;
  return packet;
}

bool Train::start(const Packet& packet, bool udp) {
  first = packet;
  count = 1;
  wireOctets = packet.packets > 1 ? packet.octets : packet.length;
  step = 1;
  isOpen = false;
  if (packet.transport == 0 || (!packet.isTcp && !udp)) return false;
  const uint8_t* transport = packet.frame + packet.transport;
  header = packet.transport + (packet.isTcp ? (transport[12] >> 4) * 4u : 8);
  if (header < packet.transport + (packet.isTcp ? 20 : 8) || header > maxHeader || header >= packet.length) return false;
  size = payload = packet.length - header;
  if (packet.isTcp) {
    // A packet that ends a flight, or carries news, ends the train too.
    if (transport[13] != ack) return false;
    nextSequence = longWord(transport + 4) + static_cast<uint32_t>(payload);
    lastFlags = ack;
  }
  parts[2] = {const_cast<uint8_t*>(packet.frame) + header, payload};
  isOpen = true;
  return true;
}

bool Train::continues(const Packet& packet) {
  const uint8_t* frame = packet.frame;
  const size_t network = first.network;
  if (packet.transport != first.transport || packet.network != network || packet.isV4 != first.isV4) return false;
  if (packet.isTcp != first.isTcp || memcmp(frame, first.frame, network) != 0) return false;
  if (!first.isV4) {
    return memcmp(frame + network, first.frame + network, 4) == 0 &&
           memcmp(frame + network + 6, first.frame + network + 6, first.transport - network - 6) == 0;
  }
  if (word(frame + network) != word(first.frame + network)) return false;
  if (memcmp(frame + network + 6, first.frame + network + 6, 4) != 0) return false;
  if (memcmp(frame + network + 12, first.frame + network + 12, first.transport - network - 12) != 0) return false;
  const uint16_t before = ntohs(word(first.frame + network + 4));
  const uint16_t here = ntohs(word(frame + network + 4));
  const bool isAtomic = !first.isTcp && (frame[network + 6] & 0x40) != 0;
  if (isAtomic && count == 1 && here == before) step = 0;
  return here == static_cast<uint16_t>(before + step * count);
}

bool Train::continuesTcp(const Packet& packet, size_t more) {
  const uint8_t* tcp = packet.frame + packet.transport;
  const uint8_t* ours = first.frame + first.transport;
  if ((tcp[13] & ~(fin | push)) != ack || longWord(tcp + 4) != nextSequence) return false;
  // What is acknowledged and the header's length; then window; urgent pointer and options.
  if (memcmp(tcp + 8, ours + 8, 5) != 0 || word(tcp + 14) != word(ours + 14)) return false;
  if (memcmp(tcp + 18, ours + 18, header - first.transport - 18) != 0) return false;
  nextSequence += static_cast<uint32_t>(more);
  lastFlags = tcp[13];
  return true;
}

bool Train::add(const Packet& packet) {
  if (!isOpen || count == maxPackets || packet.transport == 0 || packet.length <= header) return false;
  const size_t more = packet.length - header;
  if (more > size || header - first.network + payload + more > maxIpLength || !continues(packet)) return false;
  if (memcmp(packet.frame + packet.transport, first.frame + first.transport, 4) != 0) return false;
  if (first.isTcp && !continuesTcp(packet, more)) return false;
  count++;
  parts[count + 1] = {const_cast<uint8_t*>(packet.frame) + header, more};
  payload += more;
  wireOctets += packet.length;
  isOpen = more == size && (!first.isTcp || lastFlags == ack);
  return true;
}

const iovec* Train::finish(int* partCount) {
  vnet = first.header;
  parts[0] = {&vnet, vnetLength};
  if (count == 1) {
    parts[1] = {const_cast<uint8_t*>(first.frame), first.length};
    *partCount = 2;
    return parts;
  }
  memcpy(headers, first.frame, header);
  vnet.flags = needsChecksum;
  vnet.gsoType = !first.isTcp ? gsoUdp : first.isV4 ? gsoTcpV4 : gsoTcpV6;
  vnet.headerLength = static_cast<uint16_t>(header);
  vnet.gsoSize = static_cast<uint16_t>(size);
  vnet.checksumStart = static_cast<uint16_t>(first.transport);
  vnet.checksumOffset = first.isTcp ? tcpChecksum : udpChecksum;
  uint8_t* ip = headers + first.network;
  const uint16_t total = htons(header - first.network + payload);
  if (first.isV4) {
    // RFC 1624: the header checksum follows from the change of the length.
    setWord(ip + 10, ~fold(uint64_t{static_cast<uint16_t>(~word(ip + 10))} + static_cast<uint16_t>(~word(ip + 2)) + total));
    setWord(ip + 2, total);
  } else {
    setWord(ip + 4, htons(header - first.network + payload - 40));
  }
  uint8_t* transport = headers + first.transport;
  const uint16_t before = htons(header - first.transport + size);
  const uint16_t after = htons(header - first.transport + payload);
  setWord(transport + vnet.checksumOffset, fold(uint64_t{first.pseudo} + static_cast<uint16_t>(~before) + after));
  if (first.isTcp) transport[13] = lastFlags;
  else setWord(transport + 4, after);
  parts[1] = {headers, header};
  *partCount = static_cast<int>(count) + 2;
  return parts;
}

void Trains::add(int tap, Passed& passed, const Packet& packet, bool udp, uint32_t hash) {
  Slot& slot = slots[hash % size];
  if (slot.train.packets() > 0) {
    if (slot.tap == tap && slot.train.add(packet)) return;
    flush(slot);
  }
  slot.tap = tap;
  slot.passed = &passed;
  if (!slot.train.start(packet, udp)) flush(slot);
}

void Trains::flush(Slot& slot) {
  int count = 0;
  const iovec* vectors = slot.train.finish(&count);
  const bool isWritten = writev(slot.tap, vectors, count) == static_cast<ssize_t>(slot.train.written());
  const auto packets = static_cast<double>(slot.train.packets());
  if (isWritten) {
    slot.passed->packets += packets;
    slot.passed->octets += static_cast<double>(slot.train.octets());
  } else {
    slot.passed->errors += packets;
  }
  slot.train.clear();
}

void Trains::flush() {
  for (Slot& slot : slots) {
    if (slot.train.packets() > 0) flush(slot);
  }
}

namespace {

// joinPackets(packets, closed): the frame that the first packets make together, and how many they are. Packets have
// virtio-net headers, or with `closed` none and whole checksums. For tests.
napi_value joinPackets(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  uint32_t available = 0;
  napi_get_array_length(env, arguments.value[0], &available);
  const bool isClosed = arguments.flag(1);
  Train train;
  for (uint32_t i = 0; i < available; i++) {
    Arguments element = arguments;
    napi_get_element(env, arguments.value[0], i, &element.value[0]);
    size_t length = 0;
    const uint8_t* octets = element.octets(0, &length);
    VnetHeader header;
    if (!isClosed) memcpy(&header, octets, vnetLength);
    const Packet packet = isClosed ? closedPacket(octets, length) : openPacket(header, octets + vnetLength, length - vnetLength);
    if (i == 0) train.start(packet, true);
    else if (!train.add(packet)) break;
  }
  int parts = 0;
  const iovec* vectors = train.finish(&parts);
  std::vector<uint8_t> frame;
  for (int i = 0; i < parts; i++) {
    const auto* at = static_cast<const uint8_t*>(vectors[i].iov_base);
    frame.insert(frame.end(), at, at + vectors[i].iov_len);
  }
  napi_value result;
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, fromOctets(env, frame.data(), frame.size()));
  napi_set_element(env, result, 1, fromInteger(env, static_cast<int64_t>(train.packets())));
  return result;
}

}  // namespace

void registerTrain(napi_env env, napi_value exports) { define(env, exports, "joinPackets", joinPackets); }

}  // namespace weft
