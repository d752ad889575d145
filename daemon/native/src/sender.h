// Frames on their way into a tunnel: encapsulated, cut and sent in as few system calls as can be.
//
// Packets of equal size that leave by the same socket are one send (UDP_SEGMENT, linux/udp.h): the kernel makes packets of
// it, or leaves that to the device. Which socket a frame leaves by follows from its flow, so that the source port does
// too (RFC 7348 5) and a flow keeps its order.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "encapsulation.h"
#include "engine.h"
#include "segment.h"

namespace weft {

// Source ports that a daemon's tunnels use.
constexpr size_t poolSize = 8;

// Where packets go, and what became of them.
struct Destination {
  Encapsulation kind = Encapsulation::vxlan;
  // What packets begin with: as `encapsulate` writes it.
  std::array<uint8_t, encapsulationLength + maxOptionOctets> header{};
  size_t headerLength = encapsulationLength;
  sockaddr_storage address{};
  socklen_t addressLength = 0;
  std::array<int, poolSize> sockets{};
  // Packets longer than this go one by one: the underlay cannot take more at once, as far as is known, until `limitEndsNs`.
  size_t gsoLimit = SIZE_MAX;
  double limitEndsNs = 0;
  Passed sent;
  // No room in the socket's queue, or in the device's.
  double overflows = 0;
  double unreachable = 0;
};

class Sender {
 public:
  // What is added from now on goes there. Everything before has been flushed.
  void begin(Destination& to, double nowNs);
  // A frame with its virtio-net header apart. `encapsulationLength` octets before the frame are ours too, and all must stay until
  // `flush`.
  void add(const VnetHeader& header, uint8_t* frame, size_t length);
  void flush();

 private:
  // The kernel's limits: UDP_MAX_SEGMENTS of older kernels, and what fits into one IP packet.
  static constexpr size_t maxPackets = 64;
  static constexpr size_t maxOctets = 65'000;

  // Packets for one socket. All but the last have the same size, the last may be shorter.
  struct Run {
    size_t size = 0;
    size_t octets = 0;
    size_t count = 0;
    size_t partCount = 0;
    bool isClosed = false;
    std::array<iovec, 2 * maxPackets> parts;
    // By packet: its first part.
    std::array<uint16_t, maxPackets> starts;
  };

  void addSuperFrame(const Segments& segments, uint8_t* frame, size_t length);
  Run& runFor(size_t socket, size_t size);
  void flush(size_t socket);
  bool sendTogether(size_t socket, Run& run);
  void sendSeparately(size_t socket, Run& run);
  void count(bool isSent, size_t packets, size_t octets);

  Destination* to = nullptr;
  std::array<Run, poolSize> runs;
  // Headers of cut packets.
  std::vector<uint8_t> headers = std::vector<uint8_t>(128 * 1024);
  size_t headersUsed = 0;
};

}  // namespace weft
