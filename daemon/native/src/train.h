// Packets of one TCP connection that leave together become a super-frame again, so that the kernel takes them in one go.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace weft {

class Train {
 public:
  // Begins anew with a packet. False when nothing can follow it: it is then written alone.
  bool start(const uint8_t* frame, size_t length);
  // Whether the packet continues the train, in which it then is. The frames must stay until `finish`.
  bool add(const uint8_t* frame, size_t length);
  // The super-frame, or the one packet as it was.
  const iovec* finish(int* parts);
  size_t packets() const { return count; }
  // From the Ethernet header of each packet on.
  size_t octets() const { return wireOctets; }
  // Of what is written.
  size_t written() const { return count == 1 ? firstLength : header + payload; }

 private:
  static constexpr size_t maxPackets = 64;
  static constexpr size_t maxHeader = 256;

  uint8_t headers[maxHeader];
  iovec parts[maxPackets + 1];
  const uint8_t* first = nullptr;
  size_t firstLength = 0;
  // Offsets from the virtio-net header on.
  size_t network = 0;
  size_t transport = 0;
  size_t header = 0;
  size_t size = 0;
  size_t payload = 0;
  size_t count = 0;
  size_t wireOctets = 0;
  uint32_t nextSequence = 0;
  uint8_t lastFlags = 0;
  bool isV4 = false;
  bool isOpen = false;
};

}  // namespace weft
