// Random and mutated packets into everything that reads what the underlay or a node sent, compiled with the address and
// undefined behaviour sanitizers: each packet lies in memory of exactly its length.
//
//   fuzz-tunnels COUNT SEED    COUNT packets for each decoder; prints "KIND VERDICT NUMBER" lines, VERDICT -1 is "accepted", and
//                              "options MEANING NUMBER" lines for Geneve's of accepted packets
//
// Kinds: vxlan, geneve, gre (headers, then the frame inside is looked at and joined with the one before), frame (a TAP's frame with its
// virtio-net header is described, cut and completed).
#include <arpa/inet.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "../../../daemon/native/src/encapsulation.h"
#include "../../../daemon/native/src/segment.h"
#include "../../../daemon/native/src/train.h"

namespace {

using namespace weft;

// xorshift64*
struct Random {
  uint64_t state;
  uint64_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dull;
  }
  size_t below(size_t limit) { return limit == 0 ? 0 : static_cast<size_t>(next() % limit); }
};

// Adds nothing to the optimizer's knowledge, and reads every octet.
uint64_t consumed = 0;
void consume(const uint8_t* at, size_t length) {
  for (size_t i = 0; i < length; i++) consumed = consumed * 31 + at[i];
}

void put16(std::vector<uint8_t>& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

// An Ethernet frame with TCP or UDP in it, its checksums right: what mutation starts from.
std::vector<uint8_t> frameOf(Random& random, size_t& transport) {
  std::vector<uint8_t> out(12, 2);
  const bool isV4 = random.below(2) == 0, isTcp = random.below(2) == 0;
  if (random.below(4) == 0) out.insert(out.end(), {0x81, 0, 0, 5});
  put16(out, isV4 ? 0x0800 : 0x86dd);
  const size_t network = out.size();
  const size_t payload = random.below(64);
  const size_t rest = (isTcp ? 20 : 8) + payload;
  if (isV4) {
    out.push_back(0x45), out.push_back(0), put16(out, 20 + rest), put16(out, random.below(3)), put16(out, 0x4000);
    out.push_back(64), out.push_back(isTcp ? 6 : 17), put16(out, 0);
    out.insert(out.end(), {10, 0, 0, 1, 10, 0, 0, 2});
    const uint16_t sum = ~sum16(out.data() + network, 20);
    memcpy(out.data() + network + 10, &sum, 2);
  } else {
    out.insert(out.end(), {0x60, 0, 0, 0}), put16(out, rest), out.push_back(isTcp ? 6 : 17), out.push_back(64);
    out.insert(out.end(), 32, 1);
  }
  transport = out.size();
  put16(out, 1000), put16(out, 2000);
  if (isTcp) {
    out.insert(out.end(), {0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0});
  } else {
    put16(out, rest), put16(out, 0);
  }
  out.resize(out.size() + payload, 7);
  const uint64_t addresses = isV4 ? sumOf(out.data() + network + 12, 8) : sumOf(out.data() + network + 8, 32);
  const uint64_t pseudo = addresses + htons(isTcp ? 6 : 17) + htons(static_cast<uint16_t>(rest));
  closeChecksum(out.data() + transport + (isTcp ? 16 : 6), pseudo + sumOf(out.data() + transport, rest));
  return out;
}

std::vector<uint8_t> packetOf(Random& random, Encapsulation kind) {
  std::vector<uint8_t> out(encapsulationLength);
  encapsulate(kind, static_cast<uint32_t>(random.next()) & 0xffffff, out.data());
  if (kind == Encapsulation::geneve && random.below(2) == 0) {
    const size_t options = random.below(3);
    for (size_t i = 0; i < options; i++) {
      const size_t words = random.below(4);
      out.insert(out.end(), {1, 2, static_cast<uint8_t>(random.below(2) << 7 | 1), static_cast<uint8_t>(words)});
      out.resize(out.size() + words * 4);
      out[0] += static_cast<uint8_t>(1 + words);
    }
  }
  if (kind == Encapsulation::gre && random.below(2) == 0) out[0] |= static_cast<uint8_t>(random.below(2) << 7 | random.below(2) << 4);
  size_t transport;
  const std::vector<uint8_t> frame = frameOf(random, transport);
  out.insert(out.end(), frame.begin(), frame.end());
  return out;
}

void mutate(Random& random, std::vector<uint8_t>& octets, size_t hot) {
  switch (random.below(4)) {
    case 0: {
      octets.resize(random.below(128));
      for (uint8_t& octet : octets) octet = static_cast<uint8_t>(random.next());
      return;
    }
    case 1: octets.resize(random.below(octets.size() + 1)); return;
    case 2: {
      const size_t times = 1 + random.below(4);
      for (size_t i = 0; i < times && !octets.empty(); i++) {
        octets[random.below(std::min(octets.size(), hot))] = static_cast<uint8_t>(random.next());
      }
      return;
    }
    default: return;
  }
}

// Memory of exactly this length.
struct Exact {
  explicit Exact(const std::vector<uint8_t>& octets) : at(new uint8_t[octets.size()]), length(octets.size()) {
    if (length > 0) memcpy(at, octets.data(), length);
  }
  ~Exact() { delete[] at; }
  Exact(const Exact&) = delete;
  uint8_t* const at;
  const size_t length;
};

void joinAndRead(const Packet& first, const Packet& second) {
  Train train;
  train.start(first, true);
  train.add(second);
  int count = 0;
  const iovec* parts = train.finish(&count);
  for (int i = 0; i < count; i++) consume(static_cast<const uint8_t*>(parts[i].iov_base), parts[i].iov_len);
}

// Of `Options`, beside `Refusal`.
constexpr int firstMeaning = 100;

// What the options mean to who knows one of them, or all, or others.
int judge(Random& random, const uint8_t* options, size_t length) {
  const std::vector<uint8_t> others = {1, 2, static_cast<uint8_t>(random.next()), 0, 1, 2, 1, 1, 9, 9, 9, 9};
  const std::vector<uint8_t> all(options, options + length);
  const Exact known(random.below(2) == 0 ? others : all), own(all);
  if (!areOptions(known.at, known.length) || !areOptions(own.at, own.length)) abort();
  const Exact header(std::vector<uint8_t>(encapsulationLength + length));
  encapsulate(Encapsulation::geneve, 7, header.at, own.at, own.length);
  Inner inner;
  if (decapsulate(Encapsulation::geneve, header.at, header.length, inner) != badLength || inner.optionOctets != length) abort();
  return firstMeaning + static_cast<int>(judgeOptions(own.at, own.length, known.at, known.length));
}

using Counts = std::map<int, uint64_t>;
// Packets that mutations start from.
constexpr size_t poolPackets = 1024;

Counts tunnels(Random& random, Encapsulation kind, uint64_t count) {
  Counts counts;
  std::unique_ptr<Exact> before;
  Packet last;
  std::vector<std::vector<uint8_t>> pool;
  while (pool.size() < poolPackets) pool.push_back(packetOf(random, kind));
  std::vector<uint8_t> octets;
  for (uint64_t i = 0; i < count; i++) {
    octets = pool[random.below(poolPackets)];
    mutate(random, octets, 64);
    auto packet = std::make_unique<Exact>(octets);
    Inner inner;
    const Refusal refusal = decapsulate(kind, packet->at, packet->length, inner);
    counts[refusal]++;
    if (refusal != accepted) continue;
    if (inner.offset + 14 > packet->length) abort();
    if (kind == Encapsulation::geneve) counts[judge(random, packet->at + inner.offset - inner.optionOctets, inner.optionOctets)]++;
    const uint8_t* frame = packet->at + inner.offset;
    const size_t length = packet->length - inner.offset;
    consumed += flowHash(frame, length);
    const Packet here = closedPacket(frame, length);
    if (before != nullptr) joinAndRead(last, here);
    before = std::move(packet);
    last = here;
  }
  return counts;
}

Counts superFrames(Random& random, uint64_t count) {
  Counts counts;
  for (uint64_t i = 0; i < count; i++) {
    size_t transport;
    std::vector<uint8_t> octets = frameOf(random, transport);
    VnetHeader header;
    header.flags = needsChecksum;
    const bool isTcp = random.below(2) == 0;
    header.gsoType = static_cast<uint8_t>(random.below(4) == 0 ? random.next() : random.below(2) == 0 ? 0 : isTcp ? gsoTcpV4 : gsoUdp);
    header.gsoSize = static_cast<uint16_t>(random.below(3) == 0 ? random.next() : 1 + random.below(40));
    header.checksumStart = static_cast<uint16_t>(random.below(4) == 0 ? random.next() : transport);
    header.checksumOffset = random.below(8) == 0 ? static_cast<uint16_t>(random.next()) : random.below(2) == 0 ? 16 : 6;
    mutate(random, octets, 64);
    if (octets.size() < 14) octets.resize(14);
    const Exact frame(octets);
    consumed += flowHash(frame.at, frame.length);
    Segments segments;
    const bool isSuper = header.gsoType != 0 && describe(header, frame.at, frame.length, segments);
    counts[isSuper ? 1 : 0]++;
    joinAndRead(openPacket(header, frame.at, frame.length), openPacket(header, frame.at, frame.length));
    for (size_t at = 0; isSuper && at < segments.count; at++) {
      const Exact headers(std::vector<uint8_t>(segments.header));
      const Slice slice = cutHeaders(segments, frame.at, at, headers.at);
      consume(headers.at, headers.length);
      consume(frame.at + slice.from, slice.size);
    }
    completeChecksum(header, frame.at, frame.length);
  }
  return counts;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const auto packets = static_cast<uint64_t>(atoll(arguments[1]));
  Random random{static_cast<uint64_t>(atoll(arguments[2])) * 2 + 1};
  const auto report = [](const char* kind, const Counts& counts) {
    for (const auto& [verdict, number] : counts) {
      if (verdict < firstMeaning) printf("%s %d %" PRIu64 "\n", kind, verdict, number);
      else printf("options %d %" PRIu64 "\n", verdict - firstMeaning, number);
    }
  };
  report("vxlan", tunnels(random, Encapsulation::vxlan, packets));
  report("geneve", tunnels(random, Encapsulation::geneve, packets));
  report("gre", tunnels(random, Encapsulation::gre, packets));
  report("frame", superFrames(random, packets));
  return consumed == 42 ? 3 : 0;
}
