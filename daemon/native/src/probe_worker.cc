// The thread of probes: sends what is due, takes what is there, decides, and rests.
#include "probe_worker.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "probe_datagram.h"

namespace weft::probe {
namespace {

// What is due within this share of its spacing is sent now: flows go out together, and the thread wakes up seldom.
constexpr double earlyShare = 0.125;
// So many are sent before it is looked at what came.
constexpr size_t burst = 64;
constexpr double placePeriodNs = 5e6;
constexpr double tickNs = 5e6;
constexpr double napNs = 3e5;
constexpr long nsfsMagic = 0x6e736673;

// Opens the namespace behind the path, if there is one; true when it is another than before.
bool reopen(Place& place) {
  struct stat status = {};
  const bool isThere = stat(place.path.c_str(), &status) == 0;
  if (isThere && place.netns >= 0 && status.st_ino == place.inode) return false;
  if (!isThere && place.netns < 0) return false;
  const bool was = place.netns >= 0;
  if (was) close(place.netns);
  place.netns = -1;
  place.inode = 0;
  if (!isThere) return was;
  const int opened = open(place.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened < 0) return was;
  // Between its making and its mounting the name is an ordinary file.
  struct statfs system = {};
  if (fstatfs(opened, &system) != 0 || system.f_type != nsfsMagic || fstat(opened, &status) != 0) {
    close(opened);
    return was;
  }
  place.netns = opened;
  place.inode = status.st_ino;
  return true;
}

}  // namespace

Place::~Place() {
  if (netns >= 0) close(netns);
}

Worker::Worker(bool isUrgent, double restShare) : isUrgent(isUrgent), restShare(restShare) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event);
}

Worker::~Worker() {
  stop();
  if (epoll >= 0) close(epoll);
  if (wake >= 0) close(wake);
}

bool Worker::watch(Source& source, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &source;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, source.descriptor, &event) == 0) return true;
  return errno == EEXIST && epoll_ctl(epoll, EPOLL_CTL_MOD, source.descriptor, &event) == 0;
}

void Worker::bury(std::unique_ptr<Source> source) {
  source->shutSource();
  buried.push_back(std::move(source));
}

void Worker::wakeUp() const {
  const uint64_t one = 1;
  if (write(wake, &one, sizeof one) < 0 && errno != EAGAIN) perror("weft: cannot wake the probes' thread");
}

void Worker::begin() {
  if (!thread.joinable()) thread = std::thread([this] { run(); });
}

void Worker::look(double now) {
  placesAtNs = now + placePeriodNs;
  for (auto& place : places) {
    if (reopen(*place)) renew(*place, now);
  }
}

// The namespace is gone, or another one is there.
void Worker::renew(Place& place, double now) {
  int error = 0;
  for (Member* member : place.members) member->leave(*this);
  for (Member* member : place.members) {
    const char* failed = nullptr;
    if (place.netns >= 0 && error == 0) error = member->enter(*this, place.netns, &failed);
  }
  if (error != 0) {
    for (Member* member : place.members) member->leave(*this);
    // Tried again until it works.
    close(place.netns);
    place.netns = -1;
  }
  const bool isBack = place.netns >= 0;
  const bool wasGone = std::exchange(place.isGone, !isBack);
  for (Member* member : place.members) {
    auto* flow = dynamic_cast<Flow*>(member);
    if (flow != nullptr && !wasGone) flow->note(*this, Event::gone, now);
    if (flow != nullptr && isBack) flow->note(*this, Event::back, now);
  }
}

Place* Worker::placeOf(const std::string& path) {
  for (auto& place : places) {
    if (place->path == path) return place.get();
  }
  auto place = std::make_unique<Place>();
  place->path = path;
  reopen(*place);
  if (place->netns < 0) return nullptr;
  places.push_back(std::move(place));
  return places.back().get();
}

int Worker::add(Member& member, Place& place, const char** failed) {
  const int error = place.netns < 0 ? ENOENT : member.enter(*this, place.netns, failed);
  if (error != 0) {
    member.leave(*this);
    remove(member, &place);
    return error;
  }
  place.members.push_back(&member);
  return 0;
}

void Worker::remove(Member& member, Place* place) {
  auto& members = place->members;
  members.erase(std::remove(members.begin(), members.end(), &member), members.end());
  if (!members.empty()) return;
  places.erase(std::remove_if(places.begin(), places.end(), [place](auto& one) { return one.get() == place; }), places.end());
}

// Sends a probe when one is due.
bool Worker::sendFlow(Flow& flow, double now) {
  if (flow.dueNs > now + flow.spacingNs * earlyShare) return false;
  // Those whose time passed while nobody could send.
  const double missed = std::floor((now - flow.dueNs) / flow.spacingNs);
  if (missed >= 1) {
    flow.counters[unsent] += missed;
    flow.dueNs += missed * flow.spacingNs;
  }
  flow.send(*this, now);
  flow.dueNs += flow.spacingNs;
  return true;
}

// Sends what is due, but no more than a burst; returns when the next is. Half of a burst is for flows from which nothing has come for a
// while, for when they come back is what is to be known. All take turns.
double Worker::send() {
  const size_t count = order.size();
  size_t done = 0;
  for (size_t seen = 0; seen < count && done < burst / 2; seen++) {
    if (silentCursor >= count) silentCursor = 0;
    Flow& flow = *order[silentCursor++];
    if (flow.tail == flow.next && !flow.isOut) continue;
    const double now = clockNs(CLOCK_MONOTONIC);
    if (flow.isSilent(now) && sendFlow(flow, now)) done++;
  }
  for (size_t seen = 0; seen < count && done < burst; seen++) {
    if (cursor >= count) cursor = 0;
    if (sendFlow(*order[cursor], clockNs(CLOCK_MONOTONIC))) done++;
    cursor++;
  }
  double next = HUGE_VAL;
  for (const Flow* flow : order) next = std::min(next, flow->dueNs - flow->spacingNs * earlyShare);
  return next;
}

// Takes what is there, and what comes back meanwhile: over a path without delay that is everything.
void Worker::take(const timespec* limit) {
  epoll_event events[64];
  constexpr timespec atOnce = {};
  for (int round = 0; round < 64; round++) {
    const int count = epoll_pwait2(epoll, events, 64, round == 0 ? limit : &atOnce, nullptr);
    if (count <= 0) break;
    const Guard guard(lock);
    for (int i = 0; i < count; i++) {
      auto* source = static_cast<Source*>(events[i].data.ptr);
      if (source != nullptr) {
        if (source->descriptor >= 0) source->ready(*this, events[i].events);
        continue;
      }
      uint64_t ignored;
      if (read(wake, &ignored, sizeof ignored) < 0) continue;
    }
  }
}

void Worker::decide() {
  const double now = clockNs(CLOCK_MONOTONIC);
  const bool isTick = now >= tickAtNs;
  if (isTick) tickAtNs = now + tickNs;
  for (Flow* flow : order) {
    if (isTick) flow->tick(*this, now);
    if (flow->isDirty || now >= flow->decideNs) flow->decide(*this, now);
  }
  buried.clear();
}

void Worker::run() {
  pthread_setname_np(pthread_self(), isUrgent ? "weft-probes" : "weft-load");
  const sched_param urgent = {1};
  // EPERM, for instance where a control group has no real-time share: then it takes its turn, and says what it missed.
  if (isUrgent) sched_setscheduler(0, SCHED_RR, &urgent);
  auto room = std::make_unique<Received>();
  buffers = room.get();
  constexpr timespec atOnce = {};
  while (isOpen) {
    const double start = clockNs(CLOCK_MONOTONIC);
    double next;
    {
      const Guard guard(lock);
      realOffsetNs = clockNs(CLOCK_REALTIME) - clockNs(CLOCK_MONOTONIC);
      if (start >= placesAtNs) look(start);
      next = send();
    }
    take(&atOnce);
    bool isIdle = false;
    {
      const Guard guard(lock);
      decide();
      isIdle = places.empty();
      next = order.empty() ? placesAtNs : std::min(next, tickAtNs);
    }
    const double end = clockNs(CLOCK_MONOTONIC);
    const double wait = std::max(next - end, (end - start) * restShare);
    const timespec limit = {static_cast<time_t>(wait / 1e9), static_cast<long>(std::fmod(wait, 1e9))};
    if (isIdle) take(nullptr);
    // What comes in so short a time has the kernel's stamp, and need not wake it.
    else if (wait < napNs) pselect(0, nullptr, nullptr, nullptr, &limit, nullptr);
    else take(&limit);
  }
}

void Worker::stop() {
  if (!thread.joinable()) return;
  isOpen = false;
  wakeUp();
  thread.join();
  for (auto& place : places) {
    for (Member* member : place->members) member->leave(*this);
  }
  order.clear();
  flows.clear();
  responders.clear();
  buried.clear();
  places.clear();
}

}  // namespace weft::probe
