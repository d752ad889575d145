// Packets of one flow that leave together become a super-frame again, so that the kernel takes them in one go.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "segment.h"

namespace weft {

// A packet that may be joined with others.
struct Packet {
  // From the Ethernet header on.
  const uint8_t* frame = nullptr;
  size_t length = 0;
  // What it is written with when it stays alone.
  VnetHeader header;
  // Offsets; `transport` is 0 when the packet is not one that can be joined.
  size_t network = 0;
  size_t transport = 0;
  bool isTcp = false;
  bool isV4 = false;
  // The sum of its pseudo header, its length included.
  uint16_t pseudo = 0;
  // More than one: a super-frame, which is written as it is. Packets and octets as on the wire.
  size_t packets = 1;
  size_t octets = 0;
};

// A frame of a TAP, behind its virtio-net header: only one whose checksum was left open can be joined.
Packet openPacket(const VnetHeader& header, const uint8_t* frame, size_t length);
// A frame of a wire: only one whose checksum is right, or was left open on its way, can be joined; whoever takes it is told so.
Packet closedPacket(const uint8_t* frame, size_t length);

class Train {
 public:
  static constexpr size_t maxPackets = 64;

  // Begins anew with a packet. False when nothing can follow it: it is then written alone. `udp`: whether datagrams are
  // joined too, for which the kernel must take super-frames of them.
  bool start(const Packet& packet, bool udp);
  // Whether the packet continues the train, in which it then is. The frames must stay until `finish`.
  bool add(const Packet& packet);
  // The super-frame, or the one packet as it was, behind a virtio-net header.
  const iovec* finish(int* parts);
  size_t packets() const { return count == 1 ? first.packets : count; }
  // From the Ethernet header of each packet on.
  size_t octets() const { return wireOctets; }
  // Of what is written.
  size_t written() const { return vnetLength + (count == 1 ? first.length : header + payload); }
  // Begins with nothing.
  void clear() { count = 0; }

 private:
  static constexpr size_t maxHeader = 256;

  bool continues(const Packet& packet);
  bool continuesTcp(const Packet& packet, size_t more);

  VnetHeader vnet;
  uint8_t headers[maxHeader];
  iovec parts[maxPackets + 2];
  Packet first;
  // Octets of all headers.
  size_t header = 0;
  size_t size = 0;
  size_t payload = 0;
  size_t count = 0;
  size_t wireOctets = 0;
  uint32_t nextSequence = 0;
  // By how much identifications grow.
  uint16_t step = 1;
  uint8_t lastFlags = 0;
  bool isOpen = false;
};

struct Passed;

// Trains of several flows at a time: those of one flow keep their order, others may pass each other.
class Trains {
 public:
  // The packet leaves by a TAP, and is counted there. Its frame must stay until `flush`.
  void add(int tap, Passed& passed, const Packet& packet, bool udp, uint32_t hash);
  void flush();

 private:
  static constexpr size_t size = 8;
  struct Slot {
    Train train;
    int tap = -1;
    Passed* passed = nullptr;
  };
  void flush(Slot& slot);
  Slot slots[size];
};

}  // namespace weft
