// Reading every frame of an interface: AF_PACKET with a TPACKET_V3 ring (Documentation/networking/packet_mmap.rst).
//
//     kernel --filter, copy--> ring of blocks, shared memory --copy--> pcapng blocks in the caller's buffer
//
// The kernel runs the filter, so what nobody wants to see costs no copy, and stamps each frame. It gives a block to us
// when it is full or `blockTimeoutMs` old; while we hold all blocks it drops frames and counts them. So memory is what the
// ring takes, whatever the reader does. Frames are laid out as pcapng Enhanced Packet Blocks here, because doing it for
// each frame in JavaScript takes longer than the copy; daemon/wire/pcapng.ts knows the same layout, and a test compares.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

#include "addon.h"

namespace weft {
namespace {

static_assert(std::endian::native == std::endian::little, "pcapng is written in the order that pcapng.ts reads");

// A block holds the largest frame: a super-frame of 64 KiB and its headers.
constexpr uint32_t blockOctets = 128 * 1024;
constexpr uint32_t blockTimeoutMs = 40;
constexpr size_t vlanTagOffset = 12, vlanTagLength = 4;

bool isOlder(const tpacket3_hdr* a, const tpacket3_hdr* b) {
  return a->tp_sec != b->tp_sec ? a->tp_sec < b->tp_sec : a->tp_nsec < b->tp_nsec;
}

struct Capture {
  int descriptor = -1;
  uint8_t* ring = nullptr;
  uint32_t blocks = 0;
  // The block that is read or will be given to us next, its frames, and how many of them are read.
  uint32_t block = 0;
  std::vector<const tpacket3_hdr*> frames;
  size_t read = 0;
  // The kernel's counters start anew with each look at them.
  uint64_t received = 0, dropped = 0, delivered = 0;

  ~Capture() {
    if (ring != nullptr) munmap(ring, size_t{blocks} * blockOctets);
    if (descriptor >= 0) close(descriptor);
  }

  tpacket_block_desc* current() const { return reinterpret_cast<tpacket_block_desc*>(ring + size_t{block} * blockOctets); }

  void release() {
    __atomic_store_n(&current()->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    block = (block + 1) % blocks;
  }

  // Takes the frames of the block. A frame gets its time before its place, so those of two processors may stand the wrong way round.
  void open(const tpacket_block_desc* descriptor) {
    frames.resize(descriptor->hdr.bh1.num_pkts);
    read = 0;
    const uint8_t* at = reinterpret_cast<const uint8_t*>(descriptor) + descriptor->hdr.bh1.offset_to_first_pkt;
    for (const tpacket3_hdr*& frame : frames) {
      frame = reinterpret_cast<const tpacket3_hdr*>(at);
      at += frame->tp_next_offset;
    }
    std::stable_sort(frames.begin(), frames.end(), isOlder);
  }

  // The oldest unread frame, or nullptr.
  const tpacket3_hdr* peek() {
    while (read == frames.size()) {
      const tpacket_block_desc* descriptor = current();
      if ((__atomic_load_n(&descriptor->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) return nullptr;
      open(descriptor);
      if (frames.empty()) release();
    }
    return frames[read];
  }

  void skip() {
    delivered++;
    if (++read == frames.size()) release();
  }
};

Capture* captureOf(napi_env env, napi_value value) {
  void* data = nullptr;
  napi_get_value_external(env, value, &data);
  return static_cast<Capture*>(data);
}

// The open socket with its filter and ring, bound to the interface. On failure `failed` names the call and errno is set.
bool prepare(Capture* capture, const std::string& name, sock_fprog* filter, const char** failed) {
  const int descriptor = capture->descriptor;
  ifreq request = {};
  strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  *failed = "SIOCGIFINDEX";
  if (ioctl(descriptor, SIOCGIFINDEX, &request) != 0) return false;
  const int index = request.ifr_ifindex;
  *failed = "SIOCGIFHWADDR";
  if (ioctl(descriptor, SIOCGIFHWADDR, &request) != 0) return false;
  const bool loopback = request.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
  if (!loopback && request.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    errno = EPROTONOSUPPORT;
    return false;
  }
  const int version = TPACKET_V3, on = 1;
  *failed = "PACKET_VERSION";
  if (setsockopt(descriptor, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0) return false;
  // What leaves a loopback interface comes in again: once is enough, as libpcap has it.
  if (loopback) setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  *failed = "SO_ATTACH_FILTER";
  if (setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof *filter) != 0) return false;
  tpacket_req3 ring = {};
  ring.tp_block_size = blockOctets;
  ring.tp_block_nr = capture->blocks;
  ring.tp_frame_size = 2048;  // Only checked: frames of version 3 take what they need.
  ring.tp_frame_nr = blockOctets / ring.tp_frame_size * capture->blocks;
  ring.tp_retire_blk_tov = blockTimeoutMs;
  *failed = "PACKET_RX_RING";
  if (setsockopt(descriptor, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) != 0) return false;
  *failed = "mmap";
  void* memory = mmap(nullptr, size_t{capture->blocks} * blockOctets, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) return false;
  capture->ring = static_cast<uint8_t*>(memory);
  // Last, so that nothing gets in that the filter has not seen.
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = index;
  *failed = "bind";
  return bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

// captureOpen(netns, interface, filter, blocks): starts to collect the frames of an Ethernet or loopback interface that
// the filter (from captureCompile) lets through. ENODEV: no such interface; EPROTONOSUPPORT: it carries no Ethernet frames.
napi_value captureOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string name = arguments.text(1);
  size_t length = 0;
  auto* instructions = reinterpret_cast<sock_filter*>(arguments.octets(2, &length));
  sock_fprog filter = {static_cast<unsigned short>(length / sizeof(sock_filter)), instructions};
  auto* capture = new Capture();
  capture->blocks = static_cast<uint32_t>(arguments.integer(3));
  const char* failed = "setns";
  int error;
  {
    InNamespace inside(arguments.integer(0));
    error = inside.error;
    if (error == 0) {
      failed = "socket";
      capture->descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (capture->descriptor < 0 || !prepare(capture, name, &filter, &failed)) error = errno;
    }
  }
  if (error != 0) {
    delete capture;
    return throwErrno(env, error, failed, name);
  }
  napi_value result;
  napi_create_external(env, capture, nullptr, nullptr, &result);
  return result;
}

// captureClose(capture): exactly once for each captureOpen, after its poll was stopped.
napi_value captureClose(napi_env env, napi_callback_info info) {
  delete captureOf(env, Arguments(env, info).value[0]);
  return undefinedValue(env);
}

// captureDescriptor(capture): readable when there are blocks to read, in error (see socketError) when the interface is down.
napi_value captureDescriptor(napi_env env, napi_callback_info info) {
  return fromInteger(env, captureOf(env, Arguments(env, info).value[0])->descriptor);
}

// captureAttached(capture): whether its interface is still there. The kernel puts -1 in its place when it goes.
napi_value captureAttached(napi_env env, napi_callback_info info) {
  sockaddr_ll address = {};
  socklen_t length = sizeof address;
  const int descriptor = captureOf(env, Arguments(env, info).value[0])->descriptor;
  const bool attached = getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0 && address.sll_ifindex > 0;
  napi_value result;
  napi_get_boolean(env, attached, &result);
  return result;
}

// captureCounters(capture, counts): frames that the filter let through, that the kernel dropped of these because the ring
// was full, and that were read.
napi_value captureCounters(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Capture* capture = captureOf(env, arguments.value[0]);
  tpacket_stats_v3 stats = {};
  socklen_t length = sizeof stats;
  if (getsockopt(capture->descriptor, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0) {
    capture->received += stats.tp_packets;
    capture->dropped += stats.tp_drops;
  }
  size_t octets = 0;
  auto* counts = reinterpret_cast<double*>(arguments.octets(1, &octets));
  counts[0] = static_cast<double>(capture->received);
  counts[1] = static_cast<double>(capture->dropped);
  counts[2] = static_cast<double>(capture->delivered);
  return undefinedValue(env);
}

// ---- pcapng (draft-ietf-opsawg-pcapng 4.3) ---------------------------------------------------------------------------

constexpr uint32_t enhancedPacketBlock = 6;
constexpr uint32_t flagsOption = 2 | 4 << 16;  // epb_flags, four octets long
constexpr size_t headerLength = 28, trailerLength = 16;

size_t padded(size_t length) { return (length + 3) & ~size_t{3}; }

bool hasVlanTag(const tpacket3_hdr* frame) {
  return (frame->tp_status & TP_STATUS_VLAN_VALID) != 0 && frame->tp_snaplen >= vlanTagOffset;
}

size_t lengthInFile(const tpacket3_hdr* frame) {
  return headerLength + padded(frame->tp_snaplen + (hasVlanTag(frame) ? vlanTagLength : 0)) + trailerLength;
}

// epb_flags: direction in bits 0-1, how it was addressed in bits 2-4.
uint32_t flagsOf(const tpacket3_hdr* frame) {
  const auto* link = reinterpret_cast<const sockaddr_ll*>(reinterpret_cast<const uint8_t*>(frame) + TPACKET_ALIGN(sizeof *frame));
  switch (link->sll_pkttype) {
    case PACKET_OUTGOING: return 2;
    case PACKET_HOST: return 1 | 1 << 2;
    case PACKET_MULTICAST: return 1 | 2 << 2;
    case PACKET_BROADCAST: return 1 | 3 << 2;
    case PACKET_OTHERHOST: return 1 | 4 << 2;
    default: return 1;
  }
}

void put32(uint8_t* target, uint32_t value) { memcpy(target, &value, sizeof value); }

void writeFrame(const tpacket3_hdr* frame, uint32_t interface, uint8_t* target) {
  const bool vlan = hasVlanTag(frame);
  const uint32_t tag = vlan ? vlanTagLength : 0;
  const uint32_t length = frame->tp_snaplen + tag, total = static_cast<uint32_t>(lengthInFile(frame));
  const uint64_t nanoseconds = uint64_t{frame->tp_sec} * 1'000'000'000 + frame->tp_nsec;
  const uint8_t* octets = reinterpret_cast<const uint8_t*>(frame) + frame->tp_mac;
  put32(target, enhancedPacketBlock);
  put32(target + 4, total);
  put32(target + 8, interface);
  put32(target + 12, static_cast<uint32_t>(nanoseconds >> 32));
  put32(target + 16, static_cast<uint32_t>(nanoseconds));
  put32(target + 20, length);
  put32(target + 24, frame->tp_len + tag);
  uint8_t* data = target + headerLength;
  if (vlan) {
    // The kernel keeps the tag beside the frame; on the wire it stands behind the addresses.
    const uint16_t protocol = (frame->tp_status & TP_STATUS_VLAN_TPID_VALID) != 0 ? frame->hv1.tp_vlan_tpid : ETH_P_8021Q;
    const uint16_t words[2] = {htons(protocol), htons(static_cast<uint16_t>(frame->hv1.tp_vlan_tci))};
    memcpy(data, octets, vlanTagOffset);
    memcpy(data + vlanTagOffset, words, vlanTagLength);
    memcpy(data + vlanTagOffset + vlanTagLength, octets + vlanTagOffset, frame->tp_snaplen - vlanTagOffset);
  } else {
    memcpy(data, octets, length);
  }
  uint8_t* trailer = data + padded(length);
  memset(data + length, 0, static_cast<size_t>(trailer - data) - length);
  put32(trailer, flagsOption);
  put32(trailer + 4, flagsOf(frame));
  put32(trailer + 8, 0);  // opt_endofopt
  put32(trailer + 12, total);
}

// captureRead(captures, target, untilMs, limit, enough): [octets, frames, held]. Writes at most `limit` frames of all captures as
// Enhanced Packet Blocks, oldest first; the interface id is the place in `captures`. Frames later than `untilMs` (the
// kernel's wall clock) stay for another call; `held` is 1 when there are such. Ends when `enough` octets are written or
// `target` is full.
napi_value captureRead(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  uint32_t count = 0;
  napi_get_array_length(env, arguments.value[0], &count);
  std::vector<Capture*> captures(count);
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    napi_get_element(env, arguments.value[0], i, &element);
    captures[i] = captureOf(env, element);
  }
  size_t room = 0;
  uint8_t* target = arguments.octets(1, &room);
  const double untilMs = arguments.number(2), limit = arguments.number(3);
  const auto enough = static_cast<size_t>(arguments.integer(4));
  size_t at = 0, frames = 0;
  bool held = false;
  while (static_cast<double>(frames) < limit && at < enough) {
    uint32_t oldest = 0;
    const tpacket3_hdr* frame = nullptr;
    for (uint32_t i = 0; i < count; i++) {
      const tpacket3_hdr* candidate = captures[i]->peek();
      if (candidate == nullptr || (frame != nullptr && !isOlder(candidate, frame))) continue;
      frame = candidate;
      oldest = i;
    }
    if (frame == nullptr) break;
    held = frame->tp_sec * 1e3 + frame->tp_nsec / 1e6 > untilMs;
    if (held || at + lengthInFile(frame) > room) break;
    writeFrame(frame, oldest, target + at);
    at += lengthInFile(frame);
    frames++;
    captures[oldest]->skip();
  }
  const int64_t values[] = {static_cast<int64_t>(at), static_cast<int64_t>(frames), held ? 1 : 0};
  napi_value result;
  napi_create_array_with_length(env, 3, &result);
  for (uint32_t i = 0; i < 3; i++) napi_set_element(env, result, i, fromInteger(env, values[i]));
  return result;
}

// ---- filters ---------------------------------------------------------------------------------------------------------

struct Compilation {
  std::string expression;
  int snapLength;
  napi_deferred deferred;
  napi_async_work work;
  std::string error;
  std::vector<bpf_insn> instructions;
};

// Names in an expression are looked up, which may take seconds: this runs in a thread of the pool.
void compile(napi_env, void* data) {
  auto* job = static_cast<Compilation*>(data);
  pcap_t* handle = pcap_open_dead(DLT_EN10MB, job->snapLength);
  if (handle == nullptr) {
    job->error = "out of memory";
    return;
  }
  bpf_program program = {};
  if (pcap_compile(handle, &program, job->expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) job->error = pcap_geterr(handle);
  else if (program.bf_len > BPF_MAXINSNS) job->error = "it is too long for the kernel";
  else job->instructions.assign(program.bf_insns, program.bf_insns + program.bf_len);
  pcap_freecode(&program);
  pcap_close(handle);
}

void compiled(napi_env env, napi_status, void* data) {
  auto* job = static_cast<Compilation*>(data);
  if (job->error.empty()) {
    napi_resolve_deferred(env, job->deferred, fromOctets(env, job->instructions.data(), job->instructions.size() * sizeof(bpf_insn)));
  } else {
    napi_value error;
    napi_create_error(env, nullptr, fromText(env, job->error), &error);
    napi_reject_deferred(env, job->deferred, error);
  }
  napi_delete_async_work(env, job->work);
  delete job;
}

// captureCompile(expression, snapLength): a promise of the instructions for captureOpen, which cut frames to `snapLength`
// octets. Rejects with libpcap's message. pcap-filter(7) is the language; the empty expression lets all through.
napi_value captureCompile(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  auto* job = new Compilation{arguments.text(0), arguments.integer(1), nullptr, nullptr, {}, {}};
  napi_value promise;
  napi_create_promise(env, &job->deferred, &promise);
  napi_create_async_work(env, nullptr, fromText(env, "weft:captureCompile"), compile, compiled, job, &job->work);
  napi_queue_async_work(env, job->work);
  return promise;
}

}  // namespace

void registerCapture(napi_env env, napi_value exports) {
  define(env, exports, "captureCompile", captureCompile);
  define(env, exports, "captureOpen", captureOpen);
  define(env, exports, "captureClose", captureClose);
  define(env, exports, "captureDescriptor", captureDescriptor);
  define(env, exports, "captureAttached", captureAttached);
  define(env, exports, "captureRead", captureRead);
  define(env, exports, "captureCounters", captureCounters);
}

}  // namespace weft
