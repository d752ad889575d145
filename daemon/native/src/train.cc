// The reverse of cutting, by the rules of net/ipv4/tcp_offload.c (tcp_gro_receive): only what cutting the result again
// would give back exactly. Packets with a checksum of their own stay alone, and with them all that were corrupted.
#include "train.h"

#include <arpa/inet.h>

#include <cstring>

#include "addon.h"
#include "segment.h"

namespace weft {
namespace {

constexpr uint8_t fin = 0x01;
constexpr uint8_t push = 0x08;
constexpr uint8_t ack = 0x10;
constexpr size_t maxIpLength = 65535;

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

uint16_t fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

}  // namespace

bool Train::start(const uint8_t* frame, size_t length) {
  first = frame;
  firstLength = length;
  count = 1;
  wireOctets = length - vnetLength;
  isOpen = false;
  // Of the virtio-net header: a checksum left to us, no super-frame, TCP's checksum field.
  if (frame[0] != 1 || frame[1] != 0 || length < vnetLength + 54 || frame[8] != 16 || frame[9] != 0) return false;
  const size_t start = frame[6] | frame[7] << 8;
  network = vnetLength + 14;
  for (int tags = 0; tags < 2 && (word(frame + network - 2) == htons(0x8100) || word(frame + network - 2) == htons(0x88a8)); tags++) {
    network += 4;
  }
  const uint16_t type = word(frame + network - 2);
  isV4 = type == htons(0x0800);
  if (!isV4 && type != htons(0x86dd)) return false;
  transport = vnetLength + start;
  if (transport < network + (isV4 ? 20 : 40) || transport + 20 > length) return false;
  // Fragments are not for joining.
  if (isV4 && (transport != network + (frame[network] & 15) * 4u || (word(frame + network + 6) & htons(0x3fff)) != 0)) return false;
  header = transport + (frame[transport + 12] >> 4) * 4u;
  if (header < transport + 20 || header > maxHeader || header >= length) return false;
  // A packet that ends a flight, or carries news, ends the train too.
  if (frame[transport + 13] != ack) return false;
  size = payload = length - header;
  nextSequence = longWord(frame + transport + 4) + static_cast<uint32_t>(payload);
  lastFlags = ack;
  parts[1] = {const_cast<uint8_t*>(frame) + header, payload};
  isOpen = true;
  return true;
}

bool Train::add(const uint8_t* frame, size_t length) {
  if (!isOpen || count == maxPackets || length <= header || length - header > size) return false;
  const size_t more = length - header;
  if (header - network + payload + more > maxIpLength) return false;
  const uint8_t flags = frame[transport + 13];
  if ((flags & ~(fin | push)) != ack || longWord(frame + transport + 4) != nextSequence) return false;
  if (memcmp(frame, first, network) != 0) return false;
  if (isV4) {
    const uint16_t expected = ntohs(word(first + network + 4)) + static_cast<uint16_t>(count);
    if (ntohs(word(frame + network + 4)) != expected || word(frame + network) != word(first + network)) return false;
    if (memcmp(frame + network + 6, first + network + 6, 4) != 0) return false;
    if (memcmp(frame + network + 12, first + network + 12, transport - network - 12) != 0) return false;
  } else {
    if (memcmp(frame + network, first + network, 4) != 0) return false;
    if (memcmp(frame + network + 6, first + network + 6, transport - network - 6) != 0) return false;
  }
  // Ports; then what is acknowledged and the header's length; then window; urgent pointer and options.
  if (memcmp(frame + transport, first + transport, 4) != 0 || memcmp(frame + transport + 8, first + transport + 8, 5) != 0) return false;
  if (word(frame + transport + 14) != word(first + transport + 14)) return false;
  if (memcmp(frame + transport + 18, first + transport + 18, header - transport - 18) != 0) return false;
  count++;
  parts[count] = {const_cast<uint8_t*>(frame) + header, more};
  payload += more;
  nextSequence += static_cast<uint32_t>(more);
  wireOctets += length - vnetLength;
  lastFlags = flags;
  isOpen = more == size && flags == ack;
  return true;
}

const iovec* Train::finish(int* partCount) {
  if (count == 1) {
    parts[0] = {const_cast<uint8_t*>(first), firstLength};
    *partCount = 1;
    return parts;
  }
  memcpy(headers, first, header);
  headers[1] = isV4 ? 1 : 4;
  headers[2] = static_cast<uint8_t>(header - vnetLength);
  headers[3] = static_cast<uint8_t>((header - vnetLength) >> 8);
  headers[4] = static_cast<uint8_t>(size);
  headers[5] = static_cast<uint8_t>(size >> 8);
  uint8_t* ip = headers + network;
  const uint16_t total = htons(header - network + payload);
  if (isV4) {
    // RFC 1624: the header checksum follows from the change of the length.
    setWord(ip + 10, ~fold(static_cast<uint16_t>(~word(ip + 10)) + static_cast<uint16_t>(~word(ip + 2)) + total));
    setWord(ip + 2, total);
  } else {
    setWord(ip + 4, htons(header - network + payload - 40));
  }
  uint8_t* tcp = headers + transport;
  const uint16_t before = htons(header - transport + size);
  const uint16_t after = htons(header - transport + payload);
  setWord(tcp + 16, fold(word(tcp + 16) + static_cast<uint16_t>(~before) + after));
  tcp[13] = lastFlags;
  parts[0] = {headers, header};
  *partCount = static_cast<int>(count) + 1;
  return parts;
}

namespace {

// joinPackets(packets): the frame that the first packets make together, and how many they are. For tests.
napi_value joinPackets(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  uint32_t available = 0;
  napi_get_array_length(env, arguments.value[0], &available);
  Train train;
  for (uint32_t i = 0; i < available; i++) {
    Arguments element = arguments;
    napi_get_element(env, arguments.value[0], i, &element.value[0]);
    size_t length = 0;
    const uint8_t* packet = element.octets(0, &length);
    if (i == 0) train.start(packet, length);
    else if (!train.add(packet, length)) break;
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
