// What a frame with a virtio-net header is: super-frames cut into packets as they would be on the wire, and checksums
// that a sender left to its hardware.
//
//     virtio_net_hdr (VIRTIO 1.2 5.1.6, little-endian here as TAPs are by default on every machine weft runs on)
//     flags (1) gso_type (1) hdr_len (2) gso_size (2) csum_start (2) csum_offset (2)     10 octets, then the frame
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

constexpr size_t vnetLength = 10;

// linux/virtio_net.h, which older distributions ship with a field called `class` that C++ cannot read.
struct VnetHeader {
  uint8_t flags = 0;
  uint8_t gsoType = 0;
  uint16_t headerLength = 0;
  uint16_t gsoSize = 0;
  uint16_t checksumStart = 0;
  uint16_t checksumOffset = 0;
};
static_assert(sizeof(VnetHeader) == vnetLength);
// Flags: the checksum has to be completed; it was found to be right.
constexpr uint8_t needsChecksum = 1;
constexpr uint8_t hasValidChecksum = 2;
constexpr uint8_t gsoTcpV4 = 1;
constexpr uint8_t gsoTcpV6 = 4;
constexpr uint8_t gsoUdp = 5;
constexpr uint8_t gsoEcn = 0x80;
constexpr size_t tcpChecksum = 16;
constexpr size_t udpChecksum = 6;

// The one's complement sum in the machine's byte order (RFC 1071 2(B): the order does not matter to it), and its 16 bits.
uint64_t sumOf(const uint8_t* at, size_t length);
uint16_t fold(uint64_t sum);
inline uint16_t sum16(const uint8_t* at, size_t length) { return fold(sumOf(at, length)); }

// Where the parts of a TCP or UDP super-frame lie. Offsets count from the Ethernet header.
struct Segments {
  size_t network = 0;
  size_t transport = 0;
  // Octets of all headers: what every packet begins with.
  size_t header = 0;
  // Octets of payload in all packets but the last.
  size_t size = 0;
  size_t payload = 0;
  size_t count = 0;
  bool isTcp = false;
  bool isV4 = false;
};

// `frame` begins with its virtio-net header, `length` counts it. True: the frame is a super-frame, described in `result`.
bool isSuperFrame(const uint8_t* frame);
// False when the frame is not what its header claims, or would be cut into more than `maxSegments` packets.
bool describe(const uint8_t* frame, size_t length, Segments& result);
// The same of a frame that begins with its Ethernet header.
bool describe(const VnetHeader& header, const uint8_t* ethernet, size_t length, Segments& result);
constexpr size_t maxSegments = 1500;

// Writes packet `index` of a super-frame, with a virtio-net header of its own that leaves the checksum of TCP or UDP to
// whoever takes the packet next. Returns its length. `target` has room for vnetLength + header + size.
size_t cut(const Segments& segments, const uint8_t* frame, size_t index, uint8_t* target);

// Writes only the headers of packet `index`, `segments.header` octets from the Ethernet header on. The checksum field is
// left open: it holds the sum of the pseudo header. The payload is `size` octets of the super-frame from `from` on.
struct Slice {
  size_t from;
  size_t size;
};
Slice cutHeaders(const Segments& segments, const uint8_t* ethernet, size_t index, uint8_t* target);

// Completes a checksum that is left open: `sum` is that of all that it covers, the open field included.
void closeChecksum(uint8_t* field, uint64_t sum);
// The same by a virtio-net header; false when that points outside the frame, which begins with its Ethernet header.
bool completeChecksum(const VnetHeader& header, uint8_t* ethernet, size_t length);
// Computes the checksum that the virtio-net header asks for and clears that request. False when it points outside.
bool completeChecksum(uint8_t* frame, size_t length);

// How many packets on the wire a frame stands for, and how many octets they have together.
size_t wirePackets(const uint8_t* frame, size_t length, size_t* octets);
size_t wirePackets(const VnetHeader& header, const uint8_t* ethernet, size_t length, size_t* octets);

}  // namespace weft
