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
constexpr size_t burst = 32;
// Of those from which nothing comes.
constexpr size_t mostSilent = 256;
// So many sockets are looked at before it is looked at whether a silent flow is due.
constexpr int roundOfAll = 64, roundBetween = 2;
constexpr int mostRounds = 64;
constexpr double placePeriodNs = 5e6;
constexpr double tickNs = 5e6;
constexpr double napNs = 3e5;
// Rests are put together until they are so long: others shall get something done in them.
constexpr double leastRestNs = 2.5e5;
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

Worker::Worker(uint32_t lane, bool isUrgent, double restShare) : isUrgent(isUrgent), restShare(restShare) {
  this->lane = lane;
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
  if (const int current = sched_getcpu(); current != processor) {
    processor = current;
    for (auto& [id, responder] : responders) responder->settle(processor);
  }
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

void Worker::end(uint32_t id) {
  const Guard guard(lock);
  const auto bury = [this](auto owned) {
    // It may be a source whose event is in hand.
    if (auto* source = dynamic_cast<Source*>(owned.get()); source != nullptr) {
      owned.release();
      this->bury(std::unique_ptr<Source>(source));
    }
  };
  if (auto flow = flows.extract(id); !flow.empty()) {
    Flow* its = flow.mapped().get();
    rate -= 1e9 / its->options.spacingNs;
    its->leave(*this);
    remove(*its, its->place);
    turns.remove(its);
    silent.remove(its);
    order.erase(std::remove(order.begin(), order.end(), its), order.end());
    bury(std::move(flow.mapped()));
  } else if (auto responder = responders.extract(id); !responder.empty()) {
    responder.mapped()->leave(*this);
    remove(*responder.mapped(), responder.mapped()->place);
    bury(std::move(responder.mapped()));
  } else {
    return;
  }
  wakeUp();
}

void Worker::answerBy(uint32_t id, std::unique_ptr<Responder> responder) {
  if (processor >= 0) responder->settle(processor);
  responders[id] = std::move(responder);
}

// Sends a probe of a flow that is ready, and gives it its next turn.
void Worker::sendFlow(Flow& flow, double now) {
  // Those whose time passed while nobody could send.
  const double missed = std::max(0.0, std::floor((now - flow.dueNs) / flow.spacingNs));
  flow.counters[unsent] += missed;
  flow.dueNs += (missed + 1) * flow.spacingNs;
  flow.send(*this, now);
  // Who missed a turn comes after all that have waited for longer, and so no flow waits for much longer than another.
  flow.readyNs = (missed > 0 ? now + flow.spacingNs : flow.dueNs) - flow.spacingNs * earlyShare;
  (flow.isSilent(takenNs) ? silent : turns).add(&flow);
}

// Sends what is due of flows from which nothing has come for a while, each once. When they come back is what is to be known, and what
// is lost on its way costs less than what is answered: so they come first, and answers wait.
void Worker::sendSilent() {
  const double start = clockNs(CLOCK_MONOTONIC);
  double now = start;
  for (size_t left = std::min(silent.size(), mostSilent); left > 0 && silent.nextNs() <= now; left--) {
    Flow* flow = silent.takeFirst();
    if (!flow->isSilent(takenNs)) {
      turns.add(flow);
      continue;
    }
    sendFlow(*flow, now);
    now = clockNs(CLOCK_MONOTONIC);
  }
  // Where all of its time went into sending, nothing would be taken.
  silentAgainNs = std::max(silent.nextNs(), now + (now - start) / 4);
}

// Sends what is due, but no more than a burst; returns when the next is.
double Worker::send() {
  sendSilent();
  double now = clockNs(CLOCK_MONOTONIC);
  for (size_t done = 0; done < burst && turns.nextNs() <= now; done++) {
    sendFlow(*turns.takeFirst(), now);
    now = clockNs(CLOCK_MONOTONIC);
  }
  return std::min(turns.nextNs(), silent.nextNs());
}

// Takes what is there, and what comes back meanwhile: over a path without delay that is everything.
void Worker::take(const timespec* limit) {
  epoll_event events[roundOfAll];
  constexpr timespec atOnce = {};
  for (int round = 0; round < mostRounds; round++) {
    const double now = clockNs(CLOCK_MONOTONIC);
    const int most = silent.isEmpty() ? roundOfAll : roundBetween;
    const int count = epoll_pwait2(epoll, events, most, round == 0 ? limit : &atOnce, nullptr);
    if (count == 0) takenNs = now;
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
    if (!silent.isEmpty() && now >= silentAgainNs) sendSilent();
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
  // Rest that is due.
  double owedNs = 0;
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
    owedNs += (end - start) * restShare;
    const double rest = owedNs < leastRestNs ? 0 : owedNs, wait = std::max({0.0, next - end, rest});
    const timespec limit = {static_cast<time_t>(wait / 1e9), static_cast<long>(std::fmod(wait, 1e9))};
    owedNs = std::max(0.0, owedNs - wait);
    if (isIdle) take(nullptr);
    else if (wait == 0) continue;
    // What comes in so short a time has the kernel's stamp, and need not wake it.
    else if (wait < napNs || wait == rest) pselect(0, nullptr, nullptr, nullptr, &limit, nullptr);
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
  turns.clear();
  silent.clear();
  flows.clear();
  responders.clear();
  buried.clear();
  places.clear();
}

}  // namespace weft::probe
