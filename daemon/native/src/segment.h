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
constexpr size_t maxSegments = 1500;

// Writes packet `index` of a super-frame, with a virtio-net header of its own that leaves the checksum of TCP or UDP to
// whoever takes the packet next. Returns its length. `target` has room for vnetLength + header + size.
size_t cut(const Segments& segments, const uint8_t* frame, size_t index, uint8_t* target);

// Computes the checksum that the virtio-net header asks for and clears that request. False when it points outside.
bool completeChecksum(uint8_t* frame, size_t length);

// How many packets on the wire a frame stands for, and how many octets they have together.
size_t wirePackets(const uint8_t* frame, size_t length, size_t* octets);

}  // namespace weft
