// Numbered datagrams from one namespace to another. One process, two threads.
//
//   flow rate SENDER RECEIVER ADDRESS BPS WARMUP SECONDS
//     Offers BPS of frames of 1442 octets, evenly, in super-frames where that is many, and prints "OFFERED ARRIVED OVERFLOWED":
//     bits per second of frames sent, and of frames that arrived by the kernel's stamps in SECONDS after WARMUP; datagrams
//     that the receiver's socket had no room for, which must be 0.
//   flow loss SENDER RECEIVER ADDRESS COUNT
//     Sends COUNT datagrams of 32 octets, never more than 256 ahead of the last that arrived, so that no queue overflows, and
//     prints "COUNT ARRIVED DIGEST OVERFLOWED". DIGEST is of the numbers of those that did not arrive (FNV-1a).
//
// SENDER and RECEIVER are files of namespaces, ADDRESS is the receiver's.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr uint16_t port = 7008;
constexpr size_t payload = 1400;
constexpr size_t frame = payload + 42;
constexpr size_t superFrame = 40;
constexpr int64_t second = 1'000'000'000;
constexpr int64_t patience = second / 2;

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

int64_t now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * second + time.tv_nsec;
}

int socketIn(const char* path) {
  const int netns = open(path, O_RDONLY | O_CLOEXEC);
  if (netns < 0 || setns(netns, CLONE_NEWNET) != 0) fail(path);
  const int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
  if (descriptor < 0) fail("socket");
  return descriptor;
}

int receiverIn(const char* path) {
  const int descriptor = socketIn(path);
  const int room = 256 << 20;
  const int on = 1;
  const timeval wait{0, 100'000};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  setsockopt(descriptor, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
  // Super-frames that arrive are read as such: fewer calls.
  setsockopt(descriptor, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("bind");
  return descriptor;
}

int senderIn(const char* path, const char* to) {
  const int descriptor = socketIn(path);
  const int room = 8 << 20;
  setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, to, &address.sin_addr) != 1) fail(to);
  if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("connect");
  return descriptor;
}

struct Arrival {
  ssize_t octets;
  int64_t stamp = 0;
  uint32_t overflowed = 0;
};

Arrival receive(int descriptor, uint8_t* data, size_t room) {
  uint8_t control[256];
  iovec part{data, room};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  Arrival arrival{recvmsg(descriptor, &message, 0)};
  if (arrival.octets < 0) return arrival;
  for (cmsghdr* entry = CMSG_FIRSTHDR(&message); entry != nullptr; entry = CMSG_NXTHDR(&message, entry)) {
    if (entry->cmsg_level != SOL_SOCKET) continue;
    if (entry->cmsg_type == SO_RXQ_OVFL) memcpy(&arrival.overflowed, CMSG_DATA(entry), sizeof arrival.overflowed);
    if (entry->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec stamp;
    memcpy(&stamp, CMSG_DATA(entry), sizeof stamp);
    arrival.stamp = stamp.tv_sec * second + stamp.tv_nsec;
  }
  return arrival;
}

void measureRate(int sender, int receiver, double bps, double warmUp, double seconds) {
  const int64_t from = now(CLOCK_REALTIME) + static_cast<int64_t>(warmUp * second);
  const int64_t to = from + static_cast<int64_t>(seconds * second);
  std::atomic<bool> isOver = false;
  int64_t first = 0, last = 0;
  size_t octets = 0;
  uint32_t overflowed = 0;
  std::thread sink([&] {
    static uint8_t data[1 << 16];
    // A full receive buffer is read until its stamps pass the end.
    while (!isOver) {
      const Arrival arrival = receive(receiver, data, sizeof data);
      if (arrival.octets <= 0 || arrival.stamp < from) continue;
      if (arrival.stamp >= to) break;
      overflowed = arrival.overflowed;
      // The first one begins the time; its own octets were sent before.
      if (first == 0) first = arrival.stamp;
      else octets += arrival.octets / payload * frame;
      last = arrival.stamp;
    }
  });
  prctl(PR_SET_TIMERSLACK, 1UL);
  const size_t together = std::clamp<size_t>(static_cast<size_t>(bps / (frame * 8) / 1000), 1, superFrame);
  const int segment = payload;
  if (together > 1 && setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) fail("UDP_SEGMENT");
  static uint8_t data[superFrame * payload] = {};
  const auto gap = static_cast<int64_t>(together * frame * 8 / bps * second);
  const int64_t start = now();
  size_t sent = 0;
  int64_t at = start;
  for (const int64_t end = start + static_cast<int64_t>((warmUp + seconds) * second); at < end; at += gap) {
    const timespec until{at / second, at % second};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    if (send(sender, data, together * payload, 0) > 0) sent += together;
  }
  const double elapsed = static_cast<double>(now() - start) / second;
  // What waits for a slow rate is of the time after the end.
  usleep(300'000);
  isOver = true;
  sink.join();
  const double span = static_cast<double>(last - first) / second;
  printf("%.0f %.0f %u\n", sent * frame * 8 / elapsed, span > 0 ? octets * 8 / span : 0, overflowed);
}

void measureLoss(int sender, int receiver, size_t count) {
  constexpr size_t window = 256;
  std::vector<bool> seen(count, false);
  std::atomic<size_t> highest = 0;
  std::atomic<bool> isOver = false;
  size_t arrived = 0;
  uint32_t overflowed = 0;
  std::thread sink([&] {
    static uint8_t data[1 << 16];
    while (!isOver) {
      const Arrival arrival = receive(receiver, data, sizeof data);
      if (arrival.octets <= 0) continue;
      overflowed = arrival.overflowed;
      for (ssize_t at = 0; at + 32 <= arrival.octets; at += 32) {
        uint64_t number;
        memcpy(&number, data + at, sizeof number);
        if (number >= count || seen[number]) continue;
        seen[number] = true;
        arrived++;
        highest = std::max<size_t>(highest, number);
      }
    }
  });
  constexpr size_t batch = 32;
  static uint8_t data[batch * 32] = {};
  const int segment = 32;
  if (setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) fail("UDP_SEGMENT");
  for (size_t next = 0; next < count;) {
    // All of a window may be lost: then nothing more will come.
    for (const int64_t limit = now() + patience; next > highest + window && now() < limit;) usleep(20);
    const size_t some = std::min(batch, count - next);
    for (size_t i = 0; i < some; i++) {
      const uint64_t number = next + i;
      memcpy(data + i * 32, &number, sizeof number);
    }
    if (send(sender, data, some * 32, 0) > 0) next += some;
  }
  usleep(500'000);
  isOver = true;
  sink.join();
  uint64_t digest = 0xcbf29ce484222325;
  for (uint64_t i = 0; i < count; i++) {
    if (seen[i]) continue;
    for (int shift = 0; shift < 64; shift += 8) digest = (digest ^ (i >> shift & 255)) * 0x100000001b3;
  }
  printf("%zu %zu %016lx %u\n", count, arrived, digest, overflowed);
}

}  // namespace

int main(int count, char** arguments) {
  const bool isRate = count == 8 && strcmp(arguments[1], "rate") == 0;
  if (!isRate && !(count == 6 && strcmp(arguments[1], "loss") == 0)) {
    fprintf(stderr, "usage: flow rate SENDER RECEIVER ADDRESS BPS WARMUP SECONDS | flow loss SENDER RECEIVER ADDRESS COUNT\n");
    return 2;
  }
  const int receiver = receiverIn(arguments[3]);
  const int sender = senderIn(arguments[2], arguments[4]);
  if (isRate) measureRate(sender, receiver, atof(arguments[5]), atof(arguments[6]), atof(arguments[7]));
  else measureLoss(sender, receiver, strtoul(arguments[5], nullptr, 10));
}
