// What the packet engine needs of the machine: waiting with nanoseconds, frames in and out in batches, and the memory in
// which packets wait. Which packet goes when is decided elsewhere; here a packet is a slot number.
//
// Frames that need no decision (a lane without a profile, packets of a tunnel) are passed on inside `engineWait`.
//
// Arguments and results that are lists live in arrays that are shared for good (engineOpen returns them): a call passes
// nothing but numbers, and allocates nothing.
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "addon.h"
#include "engine.h"
#include "segment.h"
#include "tap.h"

namespace weft {

Engine::~Engine() {
  closeTunnels(tunnels);
  for (const int descriptor : bfdSockets) close(descriptor);
  if (epoll >= 0) close(epoll);
  if (lengths != nullptr) munmap(lengths, lengthsOctets());
}

Engine* engineOf(const Arguments& arguments) {
  void* data = nullptr;
  napi_get_value_external(arguments.env, arguments.value[0], &data);
  return static_cast<Engine*>(data);
}

double faultOf(int error) { return error == EAGAIN || error == EINTR ? 0 : error; }

namespace {

// Adds a typed array of `length` elements to `target` and returns its memory, which stays where it is.
template <typename T>
T* share(napi_env env, napi_value target, const char* name, napi_typedarray_type type, size_t length) {
  void* data = nullptr;
  napi_value buffer, array;
  napi_create_arraybuffer(env, length * sizeof(T), &data, &buffer);
  napi_create_typedarray(env, type, length, buffer, 0, &array);
  napi_set_named_property(env, target, name, array);
  napi_ref kept;
  napi_create_reference(env, array, 1, &kept);
  return static_cast<T*>(data);
}

// engineOpen(small, large): room for so many packets, and the arrays that calls share. Freed with `handle`.
napi_value engineOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  auto* engine = new Engine();
  bool isOpen = engine->small.open(smallOctets, arguments.integer(0)) && engine->large.open(largeOctets, arguments.integer(1));
  if (isOpen) {
    void* lengths = mmap(nullptr, engine->lengthsOctets(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    engine->lengths = lengths == MAP_FAILED ? nullptr : static_cast<uint32_t*>(lengths);
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    isOpen = engine->lengths != nullptr && engine->epoll >= 0;
  }
  if (!isOpen) {
    const int error = errno;
    delete engine;
    return throwErrno(env, error, "mmap", "packet memory");
  }
  napi_value result, handle;
  napi_create_object(env, &result);
  napi_create_external(env, engine, [](napi_env, void* data, void*) { delete static_cast<Engine*>(data); }, nullptr, &handle);
  napi_set_named_property(env, result, "handle", handle);
  engine->events = share<int32_t>(env, result, "events", napi_int32_array, eventCapacity);
  engine->slots = share<int32_t>(env, result, "slots", napi_int32_array, batchCapacity);
  engine->sizes = share<int32_t>(env, result, "sizes", napi_int32_array, batchCapacity);
  engine->times = share<double>(env, result, "times", napi_float64_array, batchCapacity);
  engine->outgoing = share<int32_t>(env, result, "outgoing", napi_int32_array, batchCapacity);
  engine->result = share<double>(env, result, "result", napi_float64_array, resultCount);
  return result;
}

// struct sched_attr of linux/sched/types.h, which cannot be included beside sched.h everywhere.
struct Scheduling {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};

// engineThread(): makes the calling thread the engine's: no timer slack, and a name to find it by.
napi_value engineThread(napi_env env, napi_callback_info) {
  prctl(PR_SET_TIMERSLACK, 1UL);
  prctl(PR_SET_NAME, "weft-engine");
  return undefinedValue(env);
}

// engineUrgent(handle, urgent): whether the calling thread wakes up before ordinary threads, which on a busy machine would
// delay packets by tens of milliseconds. A real-time thread that never sleeps leaves the others a twentieth of its CPU, by
// the kernel's own limit (sched(7): sched_rt_runtime_us), and the other CPUs. Otherwise it takes its turn, if an early
// one: threads that send and receive get to do so, and frames come in batches.
napi_value engineUrgent(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  engine->isUrgent = arguments.flag(1);
  Scheduling scheduling{};
  scheduling.size = sizeof scheduling;
  scheduling.policy = SCHED_RR;
  scheduling.priority = 1;
  if (engine->isUrgent && syscall(SYS_sched_setattr, 0, &scheduling, 0) == 0) return undefinedValue(env);
  // EPERM, for instance where a control group has no real-time share. Since Linux 6.12 an ordinary thread may ask for a
  // short slice instead and goes before those with longer ones. If that fails too, the thread is only less exact.
  scheduling.policy = SCHED_OTHER;
  scheduling.priority = 0;
  scheduling.nice = engine->isUrgent ? -19 : -10;
  scheduling.runtime = 100'000;
  syscall(SYS_sched_setattr, 0, &scheduling, 0);
  return undefinedValue(env);
}

// engineLane(handle, lane, from, to, tunnel, direct): what becomes of the frames of the TAP `from`, whose key `lane` is.
// They go to the TAP `to` or, if that is negative, into the tunnel, inside `engineWait` if `direct`. A negative `from`
// ends the lane.
napi_value engineLane(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const auto index = static_cast<size_t>(arguments.integer(1));
  if (index >= engine->lanes.size()) engine->lanes.resize(index + 1);
  Lane& lane = engine->lanes[index];
  if (arguments.integer(2) != lane.from) lane.passed = {};
  lane.from = arguments.integer(2);
  lane.to = arguments.integer(3);
  lane.tunnel = arguments.integer(4);
  lane.isDirect = lane.from >= 0 && arguments.flag(5);
  return undefinedValue(env);
}

// engineLaneCounters(handle, lane): sets `result`: packets, octets, errors of what passed directly.
napi_value engineLaneCounters(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const Passed& passed = engine->lanes[static_cast<size_t>(arguments.integer(1))].passed;
  engine->result[packets] = passed.packets;
  engine->result[octets] = passed.octets;
  engine->result[errors] = passed.errors;
  return undefinedValue(env);
}

// engineWatch(handle, descriptor, key): readable descriptors are reported by their key.
napi_value engineWatch(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = static_cast<uint32_t>(arguments.integer(2));
  if (epoll_ctl(engineOf(arguments)->epoll, EPOLL_CTL_ADD, arguments.integer(1), &event) != 0) {
    return throwErrno(env, errno, "epoll_ctl", "descriptor " + std::to_string(arguments.integer(1)));
  }
  return undefinedValue(env);
}

// engineUnwatch(handle, descriptor): fine when it is not watched.
napi_value engineUnwatch(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  epoll_ctl(engineOf(arguments)->epoll, EPOLL_CTL_DEL, arguments.integer(1), nullptr);
  return undefinedValue(env);
}

// Waits for descriptors or `timeout` nanoseconds, for ever if negative. Returns how many events there are, 0 too when a
// signal came.
int waitOnce(int epoll, epoll_event* events, double timeout) {
  timespec limit;
  limit.tv_sec = static_cast<time_t>(timeout / 1e9);
  limit.tv_nsec = static_cast<long>(std::fmod(timeout, 1e9));
  int count = epoll_pwait2(epoll, events, eventCapacity, timeout < 0 ? nullptr : &limit, nullptr);
  // ENOSYS: before Linux 5.11 there are only milliseconds.
  if (count < 0 && errno == ENOSYS) {
    count = epoll_wait(epoll, events, eventCapacity, timeout < 0 ? -1 : static_cast<int>(timeout / 1e6));
  }
  return count < 0 ? 0 : count;
}

// Going to sleep and being woken costs more than a frame's whole way through here, so while frames follow each other
// closely the thread looks for the next one a little longer before it sleeps, and lets whoever else wants to run do so.
// As KVM's halt polling (virt/kvm/kvm_main.c, grow_halt_poll_ns): a sleep that polling would have saved makes it longer, a
// longer sleep shorter, so that a quiet link costs nothing.
constexpr double firstPollNs = 20'000;
constexpr double maxPollNs = 100'000;

// As `waitOnce`, awake for up to `engine.pollNs` after the last round. `start`: now. An urgent thread never polls: nobody
// else would run.
int waitAwake(Engine& engine, epoll_event* events, double start, double timeout) {
  double time = start;
  if (timeout != 0 && !engine.isUrgent && engine.pollNs > 0) {
    const double end = std::min(engine.lastRoundNs + engine.pollNs, timeout < 0 ? HUGE_VAL : start + timeout);
    while (time < end) {
      const int count = waitOnce(engine.epoll, events, 0);
      if (count > 0) return count;
      sched_yield();
      time = now();
    }
  }
  const int count = waitOnce(engine.epoll, events, timeout <= 0 ? timeout : std::max(0.0, timeout - (time - start)));
  if (now() - engine.lastRoundNs > maxPollNs) engine.pollNs = engine.pollNs > firstPollNs ? engine.pollNs / 2 : 0;
  else if (count > 0) engine.pollNs = std::min(maxPollNs, std::max(firstPollNs, engine.pollNs * 2));
  return count;
}

// When that many rounds came closer to each other than `busyNs`, frames are left to gather for `busyNapNs` before each.
constexpr int manyRounds = 8;
constexpr double busyNs = 40'000;
constexpr long busyNapNs = 20'000;

// Does what needs no decision; false when TypeScript must hear of it.
bool passOn(Engine& engine, int32_t key) {
  if (key <= firstHubKey) {
    pumpHub(engine, key);
    return true;
  }
  if (key < 0 || static_cast<size_t>(key) >= engine.lanes.size()) return false;
  Lane& lane = engine.lanes[key];
  if (!lane.isDirect) return false;
  lane.isDirect = lane.tunnel >= 0 ? pumpIntoTunnel(engine, lane) : pumpLane(engine, lane);
  return lane.isDirect;
}

// engineWait(handle, timeout): passes frames on until there are other events, or for `timeout` nanoseconds, for ever if
// negative. Returns how many `events` there are; `result[clockNs]` is the time then, `result[waitedNs]` how long there
// was nothing to do before, `result[nappedNs]` how long nobody looked.
napi_value engineWait(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const double timeout = arguments.number(1);
  if (timeout < 0) {
    engine->small.trim();
    engine->large.trim();
  }
  epoll_event events[eventCapacity];
  double time = now();
  const double end = time + timeout;
  engine->result[nappedNs] = 0;
  // Under load an urgent thread would wake up for every single frame, and keep everybody else from running.
  if (engine->isUrgent && engine->busyRounds >= manyRounds) {
    const timespec nap = {0, busyNapNs};
    nanosleep(&nap, nullptr);
    const double before = time;
    time = now();
    engine->result[nappedNs] = time - before;
  }
  for (;;) {
    const double before = time;
    const int count = waitAwake(*engine, events, before, timeout <= 0 ? timeout : std::max(0.0, end - before));
    time = now();
    engine->result[clockNs] = time;
    engine->result[waitedNs] = time - before;
    engine->busyRounds = time - engine->lastRoundNs < busyNs ? engine->busyRounds + 1 : 0;
    engine->lastRoundNs = time;
    int32_t left = 0;
    for (int i = 0; i < count; i++) {
      const auto key = static_cast<int32_t>(events[i].data.u32);
      if (!passOn(*engine, key)) engine->events[left++] = key;
    }
    if (left > 0 || count == 0) return fromInteger(env, left);
    if (timeout >= 0) {
      time = now();
      if (time >= end) {
        engine->result[clockNs] = time;
        return fromInteger(env, 0);
      }
    }
  }
}

// engineClock(handle): sets `result[clockNs]`.
napi_value engineClock(napi_env env, napi_callback_info info) {
  engineOf(Arguments(env, info))->result[clockNs] = now();
  return undefinedValue(env);
}

// Puts one packet into the batch, in a slot of its own. False when there is no room.
bool store(Engine* engine, int32_t index, int32_t slot, size_t length, double time) {
  if (slot < 0) {
    engine->result[exhausted]++;
    return false;
  }
  engine->lengths[slot] = static_cast<uint32_t>(length);
  engine->slots[index] = slot;
  engine->sizes[index] = static_cast<int32_t>(length - vnetLength);
  engine->times[index] = time;
  return true;
}

// engineRead(handle, descriptor, frames, cut): reads up to `frames` frames and returns how many packets that gave:
// `slots`, `sizes` (from the Ethernet header on) and `times` (when it was read). With `cut`, super-frames become packets.
napi_value engineRead(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const int tap = arguments.integer(1);
  const int32_t limit = arguments.integer(2);
  const bool isCut = arguments.flag(3);
  double* result = engine->result;
  result[errors] = result[exhausted] = result[fault] = 0;
  int32_t count = 0;
  int32_t frame = 0;
  for (; frame < limit && count + static_cast<int32_t>(maxSegments) <= batchCapacity; frame++) {
    // Super-frames that stay whole are read into the slot where they will wait.
    const int32_t whole = isCut ? -1 : engine->take(largeOctets);
    uint8_t* target = whole < 0 ? engine->scratch.data() : engine->at(whole);
    const ssize_t length = read(tap, target, largeOctets);
    if (length < static_cast<ssize_t>(vnetLength + 14)) {
      const int error = errno;
      if (whole >= 0) engine->give(whole);
      if (length < 0) {
        result[fault] = faultOf(error);
        break;
      }
      result[errors]++;
      continue;
    }
    const double time = now();
    if (isCut && isSuperFrame(target)) {
      Segments segments;
      if (!describe(target, length, segments)) {
        result[errors]++;
        continue;
      }
      for (size_t i = 0; i < segments.count; i++) {
        const int32_t slot = engine->take(vnetLength + segments.header + segments.size);
        const size_t size = slot < 0 ? 0 : cut(segments, target, i, engine->at(slot));
        if (store(engine, count, slot, size, time)) count++;
      }
    } else if (whole >= 0 && length > static_cast<ssize_t>(smallOctets)) {
      if (store(engine, count, whole, length, time)) count++;
    } else {
      const int32_t slot = engine->take(length);
      if (slot >= 0) memcpy(engine->at(slot), target, length);
      if (whole >= 0) engine->give(whole);
      if (store(engine, count, slot, length, time)) count++;
    }
  }
  result[frames] = frame;
  return fromInteger(env, count);
}

// engineWrite(handle, descriptor, count): writes the packets in `outgoing`, those together that may go together, and
// frees their slots. `result` as above.
napi_value engineWrite(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const int tap = arguments.integer(1);
  const int32_t count = arguments.integer(2);
  engine->result[packets] = engine->result[octets] = engine->result[errors] = 0;
  Train& train = engine->train;
  const bool udp = takesUdpSuperFrames();
  const auto packetOf = [&](int32_t index) {
    const int32_t slot = engine->outgoing[index];
    VnetHeader header;
    memcpy(&header, engine->at(slot), vnetLength);
    return openPacket(header, engine->at(slot) + vnetLength, engine->lengths[slot] - vnetLength);
  };
  for (int32_t i = 0; i < count;) {
    const int32_t begin = i;
    train.start(packetOf(begin), udp);
    for (i++; i < count && train.add(packetOf(i)); i++) {
    }
    int parts = 0;
    const iovec* vectors = train.finish(&parts);
    const bool isWritten = writev(tap, vectors, parts) == static_cast<ssize_t>(train.written());
    engine->result[isWritten ? packets : errors] += static_cast<double>(train.packets());
    if (isWritten) engine->result[octets] += static_cast<double>(train.octets());
    for (int32_t done = begin; done < i; done++) engine->give(engine->outgoing[done]);
  }
  return undefinedValue(env);
}

// engineFree(handle, slot)
napi_value engineFree(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  engineOf(arguments)->give(arguments.integer(1));
  return undefinedValue(env);
}

// engineCopy(handle, slot): a slot with the same packet, or -1 when there is no room.
napi_value engineCopy(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const int32_t source = arguments.integer(1);
  const int32_t slot = engine->take(engine->lengths[source]);
  if (slot >= 0) {
    engine->lengths[slot] = engine->lengths[source];
    memcpy(engine->at(slot), engine->at(source), engine->lengths[source]);
  }
  return fromInteger(env, slot);
}

// engineFlip(handle, slot, bit): completes the packet's checksum and then flips one bit behind the Ethernet header,
// number `bit` modulo how many there are.
napi_value engineFlip(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const int32_t slot = arguments.integer(1);
  uint8_t* frame = engine->at(slot);
  const size_t length = engine->lengths[slot];
  completeChecksum(frame, length);
  // Whoever gets it has to verify it: no word of a checksum that was found to be right.
  memset(frame, 0, vnetLength);
  constexpr size_t start = vnetLength + 14;
  if (length <= start) return undefinedValue(env);
  const size_t bit = static_cast<size_t>(arguments.number(2)) % ((length - start) * 8);
  frame[start + bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
  return undefinedValue(env);
}

// eventOpen(): a descriptor that eventSignal makes readable, until it is read.
napi_value eventOpen(napi_env env, napi_callback_info) {
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event < 0) return throwErrno(env, errno, "eventfd", "");
  return fromInteger(env, event);
}

napi_value eventSignal(napi_env env, napi_callback_info info) {
  const uint64_t one = 1;
  // EAGAIN: it was signalled 2^64 - 2 times without being read, which is signal enough.
  if (write(Arguments(env, info).integer(0), &one, sizeof one) < 0) return undefinedValue(env);
  return undefinedValue(env);
}

}  // namespace

void registerEngine(napi_env env, napi_value exports) {
  define(env, exports, "engineOpen", engineOpen);
  define(env, exports, "engineThread", engineThread);
  define(env, exports, "engineWatch", engineWatch);
  define(env, exports, "engineUnwatch", engineUnwatch);
  define(env, exports, "engineWait", engineWait);
  define(env, exports, "engineClock", engineClock);
  define(env, exports, "engineRead", engineRead);
  define(env, exports, "engineLane", engineLane);
  define(env, exports, "engineLaneCounters", engineLaneCounters);
  define(env, exports, "engineUrgent", engineUrgent);
  define(env, exports, "engineWrite", engineWrite);
  define(env, exports, "engineFree", engineFree);
  define(env, exports, "engineCopy", engineCopy);
  define(env, exports, "engineFlip", engineFlip);
  define(env, exports, "eventOpen", eventOpen);
  define(env, exports, "eventSignal", eventSignal);
}

}  // namespace weft
