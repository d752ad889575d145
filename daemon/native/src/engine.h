// The packet engine's state: what engine.cc, lane.cc and tunnel.cc share.
//
// Memory: two arenas of address space, one of small slots for packets and one of large slots for super-frames and jumbo
// frames. Pages are the system's until a packet first needs them, and again after a burst. Free slots form a stack, so
// that the few which are used while little happens stay in the cache.
#pragma once

#include <sys/mman.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "addon.h"
#include "train.h"

namespace weft {

constexpr size_t smallOctets = 2048;
// The longest super-frame, its headers included, in whole pages.
constexpr size_t largeOctets = 68 * 1024;
constexpr int32_t batchCapacity = 4096;
constexpr int32_t eventCapacity = 64;
// Slots in use at once before which giving memory back is not worth a system call.
constexpr int32_t trimFrom = 4096;

// Fields of `result`; TypeScript has the same table.
enum Result : int { clockNs, packets, octets, errors, exhausted, frames, fault, waitedNs, nappedNs, resultCount };

struct Arena {
  uint8_t* memory = nullptr;
  size_t octetsEach = 0;
  int32_t count = 0;
  // Slots from here on were never used since the last trim.
  int32_t untouched = 0;
  std::vector<int32_t> free;

  bool open(size_t size, int32_t slots) {
    octetsEach = size;
    count = slots;
    void* at = mmap(nullptr, size * slots, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memory = at == MAP_FAILED ? nullptr : static_cast<uint8_t*>(at);
    return memory != nullptr;
  }
  ~Arena() {
    if (memory != nullptr) munmap(memory, octetsEach * count);
  }
  // A slot, or -1 when all are in use.
  int32_t take() {
    if (!free.empty()) {
      const int32_t slot = free.back();
      free.pop_back();
      return slot;
    }
    return untouched < count ? untouched++ : -1;
  }
  void give(int32_t slot) { free.push_back(slot); }
  // When nothing is in use after a burst, the memory goes back to the system.
  void trim() {
    if (untouched < trimFrom || static_cast<size_t>(untouched) != free.size()) return;
    madvise(memory, octetsEach * untouched, MADV_DONTNEED);
    untouched = 0;
    free.clear();
    free.shrink_to_fit();
  }
};

// What passed on a way, and what did not: packets as on the wire, octets from the Ethernet header on.
struct Passed {
  double packets = 0;
  double octets = 0;
  // Frames that could not be understood, or that the other side did not take.
  double errors = 0;
};

// A way out of a TAP that needs no decision: its frames are passed on inside `engineWait`.
struct Lane {
  int from = -1;
  // The other TAP, or -1.
  int to = -1;
  // The tunnel, or -1.
  int tunnel = -1;
  // False: its frames are left to TypeScript.
  bool isDirect = false;
  Passed passed;
};

struct Tunnels;

struct Engine {
  int epoll = -1;
  Arena small;
  Arena large;
  // By slot: length with the virtio-net header.
  uint32_t* lengths = nullptr;
  // Where frames are read that are then cut into packets.
  std::vector<uint8_t> scratch = std::vector<uint8_t>(largeOctets);
  // Where frames are read that are passed on at once.
  std::vector<uint8_t> passing = std::vector<uint8_t>(4 * largeOctets);
  Train train;
  Trains trains;
  std::vector<Lane> lanes;
  Tunnels* tunnels = nullptr;
  // Of BFD: closed with the engine, however its thread ends.
  std::set<int> bfdSockets;
  bool isUrgent = false;
  // How many rounds in a row came close to each other.
  int busyRounds = 0;
  // How long after a round the thread stays awake.
  double pollNs = 0;
  double lastRoundNs = 0;
  int32_t* events = nullptr;
  int32_t* slots = nullptr;
  int32_t* sizes = nullptr;
  double* times = nullptr;
  int32_t* outgoing = nullptr;
  double* result = nullptr;

  size_t lengthsOctets() const { return sizeof(uint32_t) * (small.count + large.count); }
  ~Engine();
  uint8_t* at(int32_t slot) {
    return slot < small.count ? small.memory + slot * smallOctets : large.memory + (slot - small.count) * largeOctets;
  }
  int32_t take(size_t length) {
    if (length <= smallOctets) return small.take();
    const int32_t slot = large.take();
    return slot < 0 ? slot : slot + small.count;
  }
  void give(int32_t slot) { slot < small.count ? small.give(slot) : large.give(slot - small.count); }
};

inline double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

// The engine that is the first argument.
Engine* engineOf(const Arguments& arguments);

// Why a read gave nothing: 0 when there is nothing to be read, else the errno. A TAP whose interface was removed reports
// EBADFD, and is readable for ever.
double faultOf(int error);

// Passes on what waits at the lane's TAP. False when the TAP cannot be read any more.
bool pumpLane(Engine& engine, Lane& lane);

// tunnel.cc
constexpr int32_t firstHubKey = -2;
// Delivers what waits at a receiving socket, by its key in the epoll set: `firstHubKey` and below.
void pumpHub(Engine& engine, int32_t key);
// Reads the TAP `from` and sends what it gives through the tunnel. False when the TAP cannot be read any more.
bool pumpIntoTunnel(Engine& engine, Lane& lane);
void closeTunnels(Tunnels* tunnels);

}  // namespace weft
