// A thread that sends probes and answers them. See probe.cc for the whole.
#pragma once

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "probe_flow.h"
#include "probe_turns.h"

namespace weft::probe {

// A lock whose holder gets the priority of who waits: JavaScript reads, and is not to hold up the sender.
class Lock {
 public:
  Lock() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
  }
  ~Lock() { pthread_mutex_destroy(&mutex); }
  Lock(const Lock&) = delete;
  void lock() { pthread_mutex_lock(&mutex); }
  void unlock() { pthread_mutex_unlock(&mutex); }

 private:
  pthread_mutex_t mutex;
};

using Guard = std::lock_guard<Lock>;

struct Worker final : Loop {
  Lock lock;
  std::thread thread;
  // Probes in a second that its flows want to send.
  double rate = 0;
  std::vector<std::unique_ptr<Place>> places;
  // By what JavaScript knows them by, and as the thread goes through them.
  std::unordered_map<uint32_t, std::unique_ptr<Flow>> flows;
  std::vector<Flow*> order;
  // Whose turn is when: of those that are answered, and of those from which nothing has come for a while.
  Turns turns, silent;
  std::unordered_map<uint32_t, std::unique_ptr<Responder>> responders;

  Worker(uint32_t lane, bool isUrgent, double restShare);
  ~Worker() override;

  bool watch(Source& source, uint32_t events) override;
  void bury(std::unique_ptr<Source> source) override;
  // Whether it has what it needs.
  bool isSound() const { return epoll >= 0 && wake >= 0; }
  void begin();
  void stop();
  // So that it looks at what has been added or taken away.
  void wakeUp() const;
  // The namespace at the path; nullptr: there is none.
  Place* placeOf(const std::string& path);
  // 0, or an errno, and `failed` says of what.
  int add(Member& member, Place& place, const char** failed);
  void remove(Member& member, Place* place);
  // Ends the flow or the responder, if it has it.
  void end(uint32_t id);
  // Has a responder answer in this thread, under what it is known by.
  void answerBy(uint32_t id, std::unique_ptr<Responder> responder);

 private:
  void run();
  double send();
  void sendFlow(Flow& flow, double now);
  void sendSilent();
  void take(const timespec* limit);
  void decide();
  void look(double now);
  void renew(Place& place, double now);

  std::atomic<bool> isOpen{true};
  const bool isUrgent;
  const double restShare;
  int epoll = -1;
  int wake = -1;
  double placesAtNs = 0;
  double tickAtNs = 0;
  // When nothing was left to take.
  double takenNs = 0;
  // From when on silent flows may send while answers are taken.
  double silentAgainNs = 0;
  int processor = -1;
  std::vector<std::unique_ptr<Source>> buried;
};


}  // namespace weft::probe
