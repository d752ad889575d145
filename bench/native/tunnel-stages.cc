// What the engine's own work on a packet of a tunnel costs, without system calls: prints "STAGE OCTETS NANOSECONDS" lines.
//
//   tunnel-stages      octets are those of the inner frame; each figure is the least of several runs
//
// cut: a TCP super-frame into packets, headers written and checksums completed. hash: of the flow, which chooses the source port.
// open: reading the outer header. verify: finding TCP or UDP and verifying its checksum. join: packets to a super-frame.
#include <arpa/inet.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../daemon/native/src/encapsulation.h"
#include "../../daemon/native/src/segment.h"
#include "../../daemon/native/src/train.h"

namespace {

using namespace weft;

constexpr size_t count = 32;
constexpr int repetitions = 2000;
constexpr int runs = 9;
uint64_t consumed = 0;

double seconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

template <typename Body>
void measure(const char* stage, size_t octets, Body body) {
  double least = 1e9;
  for (int run = 0; run < runs; run++) {
    const double from = seconds();
    for (int i = 0; i < repetitions; i++) body();
    least = std::min(least, seconds() - from);
  }
  printf("%s %zu %.1f\n", stage, octets, least * 1e9 / repetitions / count);
}

// A TCP super-frame of `count` packets, each of `octets` octets, as a TAP gives it.
std::vector<uint8_t> superFrame(size_t octets, VnetHeader& header) {
  const size_t size = octets - 54;
  std::vector<uint8_t> frame(54 + size * count, 7);
  const uint8_t ip[] = {0x08, 0x00, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
  memcpy(frame.data() + 12, ip, sizeof ip);
  const uint16_t length = htons(static_cast<uint16_t>(frame.size() - 14));
  memcpy(frame.data() + 16, &length, 2);
  memset(frame.data() + 34, 0, 20);
  frame[46] = 0x50, frame[47] = 0x10;
  const uint16_t pseudo = fold(sumOf(frame.data() + 26, 8) + htons(6) + htons(static_cast<uint16_t>(frame.size() - 34)));
  memcpy(frame.data() + 50, &pseudo, 2);
  header.flags = needsChecksum;
  header.gsoType = gsoTcpV4;
  header.gsoSize = static_cast<uint16_t>(size);
  header.checksumStart = 34;
  header.checksumOffset = tcpChecksum;
  return frame;
}

void stages(size_t octets) {
  VnetHeader header;
  const std::vector<uint8_t> frame = superFrame(octets, header);
  std::vector<uint8_t> packets(count * (encapsulationLength + octets));
  const auto packetAt = [&](size_t i) { return packets.data() + i * (encapsulationLength + octets); };
  Segments segments;
  if (!describe(header, frame.data(), frame.size(), segments)) return;
  measure("cut", octets, [&] {
    for (size_t i = 0; i < count; i++) {
      uint8_t* target = packetAt(i) + encapsulationLength;
      encapsulate(Encapsulation::vxlan, 42, packetAt(i));
      const Slice slice = cutHeaders(segments, frame.data(), i, target);
      closeChecksum(target + 50, sumOf(target + 34, 20) + sumOf(frame.data() + slice.from, slice.size));
    }
  });
  for (size_t i = 0; i < count; i++) memcpy(packetAt(i) + encapsulationLength + 54, frame.data() + 54, octets - 54);
  measure("hash", octets, [&] {
    for (size_t i = 0; i < count; i++) consumed += flowHash(packetAt(i) + encapsulationLength, octets);
  });
  measure("open", octets, [&] {
    Inner inner;
    for (size_t i = 0; i < count; i++) {
      consumed += decapsulate(Encapsulation::vxlan, packetAt(i), encapsulationLength + octets, inner) + inner.vni;
    }
  });
  Packet found[count];
  measure("verify", octets, [&] {
    for (size_t i = 0; i < count; i++) found[i] = closedPacket(packetAt(i) + encapsulationLength, octets);
  });
  static Train train;
  measure("join", octets, [&] {
    train.start(found[0], true);
    for (size_t i = 1; i < count; i++) consumed += train.add(found[i]);
    int parts = 0;
    consumed += train.finish(&parts)->iov_len;
  });
  if (train.packets() != count) fprintf(stderr, "only %zu packets were joined\n", train.packets());
}

}  // namespace

int main() {
  for (const size_t octets : {106, 590, 1464}) stages(octets);
  return consumed == 42 ? 3 : 0;
}
