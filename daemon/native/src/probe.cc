// Flows of probes and the responders that answer them, in threads of their own: neither JavaScript nor its garbage
// collector comes between a packet and its time, so a probe is sent when it should be even while the daemon is busy, and
// what could not be sent in time is counted instead of passing for loss.
//
//     flow: a socket in the source node   -- sequence number -->   responder: a socket in the destination, or its kernel (ICMP)
//                                         <-- the same back ---
//
// probe_flow.cc keeps what becomes of probes, whatever they are; probe_datagram.cc has those of UDP, ICMP and DNS, probe_stream.cc those
// over TCP, probe_load.cc those that fill a path. probe_worker.cc is a thread. Few
// flows are sent and answered by one. Many are shared out among the threads, each of which answers datagrams as well: those that come in
// on its processor, and these are those that it sent. Streams are sent by one half of the threads and answered by the other.
//
// For each probe a flow remembers when it was sent until the answer is there or the timeout over; sequence numbers are decided in order,
// so a run of lost ones is an outage: from when the first of them was sent until the first later one was that came back. Times are ns of
// CLOCK_MONOTONIC, which nobody sets; what is told is CLOCK_REALTIME.
//
// Members know their namespace by its path. Every few milliseconds it is looked at: one that is gone loses its sockets, and its flows
// count what they cannot send as lost, because that is what its traffic is; when another one is there, they go on in that.
#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <unordered_map>

#include "addon.h"
#include "probe_flow.h"
#include "probe_worker.h"

namespace weft {

using namespace probe;

namespace {

// The share of its time in which a thread rests: one that never did would be stopped by the kernel for 50 ms of each second (sched(7):
// sched_rt_runtime_us), and with two of them nobody else had a processor.
constexpr double restShareAlone = 0.1, restShareOfSeveral = 0.2;
// Up to so many probes in a second, one thread sends and answers: what it sends is there when it looks.
constexpr double rateOfOne = 20'000;
constexpr size_t mostUrgent = 4;
// In one spacing.
constexpr uint32_t turns = 4;

bool isDatagram(Kind kind) { return kind == udp || kind == icmp || kind == dns; }

// The threads, and which has what.
struct Probes {
  // The last has what fills paths, and no priority. The first half of the others answers streams, the second half sends them.
  std::vector<std::unique_ptr<Worker>> workers;
  uint32_t last = 0;
  std::unordered_map<uint32_t, Worker*> where;

  Probes() {
    const size_t urgent = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, mostUrgent);
    for (uint32_t i = 0; i < urgent; i++) {
      workers.push_back(std::make_unique<Worker>(i, true, urgent == 1 ? restShareAlone : restShareOfSeveral));
    }
    workers.push_back(std::make_unique<Worker>(0, false, 0));
  }
  size_t urgent() const { return workers.size() - 1; }
  Worker& begun(size_t place) {
    workers[place]->begin();
    return *workers[place];
  }
  Worker& forFlow(Kind kind, double rate) {
    if (kind == throughput) return begun(urgent());
    if (urgent() == 1 || workers[0]->rate + rate <= rateOfOne) return begun(0);
    size_t least = isDatagram(kind) ? 0 : urgent() / 2;
    for (size_t i = least; i < urgent(); i++) {
      if (workers[i]->rate < workers[least]->rate) least = i;
    }
    return begun(least);
  }
  Worker& forResponder(bool isSink) {
    if (isSink) return begun(urgent());
    return begun(urgent() == 1 ? 0 : last % (urgent() / 2));
  }
  // Has a thread that sends answer, too. Where it cannot, who has the port goes on alone.
  void help(Worker& worker) {
    for (const auto& other : workers) {
      for (const auto& [id, responder] : other->responders) {
        if (other.get() == &worker || responder->isHelper || worker.responders.contains(id)) continue;
        auto helper = responder->helper();
        if (helper == nullptr) continue;
        const Guard guard(worker.lock);
        const char* failed = nullptr;
        helper->place = worker.placeOf(responder->place->path);
        if (helper->place != nullptr && worker.add(*helper, *helper->place, &failed) == 0) worker.answerBy(id, std::move(helper));
      }
    }
  }
  void stop() {
    for (auto& worker : workers) worker->stop();
    where.clear();
  }
};

Probes* probesOf(const Arguments& arguments) {
  void* data = nullptr;
  napi_get_value_external(arguments.env, arguments.value[0], &data);
  return static_cast<Probes*>(data);
}

// probesOpen(): threads begin when they are needed, and end with the handle or by probesClose.
napi_value probesOpen(napi_env env, napi_callback_info) {
  auto* probes = new Probes();
  for (const auto& worker : probes->workers) {
    if (worker->isSound()) continue;
    delete probes;
    return throwErrno(env, EMFILE, "epoll_create", "probes");
  }
  napi_value handle;
  napi_create_external(env, probes, [](napi_env, void* data, void*) { delete static_cast<Probes*>(data); }, nullptr, &handle);
  return handle;
}

// probesClose(handle): ends the threads and all flows and responders.
napi_value probesClose(napi_env env, napi_callback_info info) {
  probesOf(Arguments(env, info))->stop();
  return undefinedValue(env);
}

enum ResponderKind { answersDatagrams, answersStreams, takesStreams };

// probeRespond(handle, path, address, port, kind): answers probes to this port (0: a free one) in the namespace; an address of zeros
// means all of that family. kind 0: UDP, 1: TCP, 2: TCP that takes all and says nothing. Returns [what it is known by, port].
napi_value probeRespond(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  const std::string path = arguments.text(1);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(2, &count);
  const int port = arguments.integer(3), kind = arguments.integer(4);
  const Target target(octets, count, static_cast<uint16_t>(port), 0);
  auto responder = kind == answersDatagrams ? makeDatagramResponder(target) : makeStreamResponder(target, kind == takesStreams);
  Worker& worker = probes->forResponder(kind == takesStreams);
  const Guard guard(worker.lock);
  const char* failed = "open";
  responder->place = worker.placeOf(path);
  if (responder->place == nullptr) return throwErrno(env, ENOENT, "open", path);
  if (const int error = worker.add(*responder, *responder->place, &failed); error != 0) {
    return throwErrno(env, error, failed, (kind == answersDatagrams ? "UDP port " : "TCP port ") + std::to_string(port));
  }
  // The port stays when the namespace is made anew. sin_port and sin6_port lie at the same place.
  socklen_t length = sizeof responder->address.storage;
  getsockname(responder->socket(), reinterpret_cast<sockaddr*>(&responder->address.storage), &length);
  const uint32_t id = ++probes->last;
  napi_value pair, own, known = fromInteger(env, id);
  own = fromInteger(env, ntohs(reinterpret_cast<sockaddr_in*>(&responder->address.storage)->sin_port));
  napi_create_array_with_length(env, 2, &pair);
  napi_set_element(env, pair, 0, known);
  napi_set_element(env, pair, 1, own);
  worker.answerBy(id, std::move(responder));
  probes->where[id] = &worker;
  worker.wakeUp();
  return pair;
}

std::string octetsOf(const Arguments& arguments, size_t place) {
  if (arguments.isNullish(place)) return {};
  size_t count = 0;
  const auto* octets = reinterpret_cast<const char*>(arguments.octets(place, &count));
  return {octets, count};
}

// As `probeFlow` in index.ts has them.
enum Setting { kindSetting, portSetting, scopeSetting, spacingSetting, timeoutSetting, payloadSetting, rateSetting };

// probeFlow(handle, path, address, settings, source, request, expected): probes from now on, from the namespace to the address. Returns
// what it is known by.
napi_value probeFlow(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  const std::string path = arguments.text(1);
  size_t count = 0, settingsLength = 0;
  const uint8_t* octets = arguments.octets(2, &count);
  const auto* settings = reinterpret_cast<const double*>(arguments.octets(3, &settingsLength));
  const Target target(octets, count, static_cast<uint16_t>(settings[portSetting]), static_cast<uint32_t>(settings[scopeSetting]));
  Options options;
  options.kind = static_cast<Kind>(settings[kindSetting]);
  options.spacingNs = std::max(100'000.0, settings[spacingSetting]);
  options.timeoutNs = settings[timeoutSetting];
  options.payload = std::clamp(static_cast<size_t>(settings[payloadSetting]), minimumPayload, maximumPayload);
  options.rate = settings[rateSetting];
  options.source = octetsOf(arguments, 4);
  options.request = octetsOf(arguments, 5);
  options.expected = octetsOf(arguments, 6);
  auto flow = isDatagram(options.kind) ? makeDatagramFlow(target, options)
              : options.kind == throughput ? makeLoadFlow(target, options)
                                           : makeStreamFlow(target, options);
  const double rate = 1e9 / options.spacingNs;
  Worker& worker = probes->forFlow(options.kind, rate);
  probes->help(worker);
  const Guard guard(worker.lock);
  const char* failed = "open";
  const uint32_t id = ++probes->last;
  flow->id = id;
  flow->place = worker.placeOf(path);
  if (flow->place == nullptr) return throwErrno(env, ENOENT, "open", path);
  if (const int error = worker.add(*flow, *flow->place, &failed); error != 0) return throwErrno(env, error, failed, "flow of probes");
  // Flows send in turns, some of them together: to wake up for each alone costs more than to send.
  const double spacing = flow->spacingNs, now = clockNs(CLOCK_MONOTONIC);
  flow->dueNs = std::ceil(now / spacing) * spacing + spacing * (id % turns) / turns;
  flow->readyNs = flow->dueNs;
  flow->decideNs = HUGE_VAL;
  worker.rate += rate;
  worker.order.push_back(flow.get());
  worker.turns.add(flow.get());
  worker.flows[id] = std::move(flow);
  probes->where[id] = &worker;
  worker.wakeUp();
  return fromInteger(env, id);
}

Worker* workerOf(Probes* probes, uint32_t id) {
  const auto found = probes->where.find(id);
  return found == probes->where.end() ? nullptr : found->second;
}

// probeEnd(handle, id): ends a flow or a responder. Fine when there is none.
napi_value probeEnd(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  const auto id = static_cast<uint32_t>(arguments.integer(1));
  if (probes->where.erase(id) == 0) return undefinedValue(env);
  for (const auto& worker : probes->workers) worker->end(id);
  return undefinedValue(env);
}

// probeRead(handle, id, counters, histogram, outages, from): copies what a flow has seen: counters (of the slowest answer: the one since
// it was read last), latencies, and
// outages from number `from` on as [startNs, endNs, lost]; of one that lasts endNs is 0, or negative: it is over by then at the latest,
// but some of its probes may still come. Returns how many outages were copied, -1 without such a flow.
napi_value probeRead(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t counterRoom = 0, histogramRoom = 0, outageRoom = 0;
  uint8_t* counters = arguments.octets(2, &counterRoom);
  uint8_t* histogram = arguments.octets(3, &histogramRoom);
  uint8_t* outages = arguments.octets(4, &outageRoom);
  const auto from = static_cast<size_t>(arguments.integer(5));
  const auto id = static_cast<uint32_t>(arguments.integer(1));
  Worker* worker = workerOf(probesOf(arguments), id);
  if (worker == nullptr) return fromInteger(env, -1);
  const Guard guard(worker->lock);
  const auto found = worker->flows.find(id);
  if (found == worker->flows.end()) return fromInteger(env, -1);
  Flow& flow = *found->second;
  const bool waits = flow.tail < flow.next;
  flow.counters[pendingNs] = waits ? std::max(0.0, clockNs(CLOCK_MONOTONIC) - flow.slot(flow.tail).sentNs()) : 0;
  memcpy(counters, flow.counters, std::min(counterRoom, sizeof flow.counters));
  flow.counters[slowestNs] = flow.counters[slowestAtNs] = 0;
  memcpy(histogram, flow.histogram, std::min(histogramRoom, sizeof flow.histogram));
  const size_t left = from < flow.outages.size() ? flow.outages.size() - from : 0;
  const size_t copied = std::min(left, outageRoom / sizeof(Outage));
  if (copied > 0) {
    memcpy(outages, flow.outages.data() + from, copied * sizeof(Outage));
    Outage last = flow.outages.back();
    if (last.endNs == 0 && copied == left) {
      last.endNs = -(flow.answeredAfterNs() == 0 ? 0 : flow.answeredAfterNs() + worker->realOffsetNs);
      memcpy(outages + (copied - 1) * sizeof(Outage), &last, sizeof last);
    }
  }
  return fromInteger(env, static_cast<int64_t>(copied));
}

napi_value fromNumber(napi_env env, double value) {
  napi_value number;
  napi_create_double(env, value, &number);
  return number;
}

// probeNotes(handle, id): takes what has changed: [at ns, event, length ns, value, octets] each, and then numbers of samples [at ns,
// value].
napi_value probeNotes(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const auto id = static_cast<uint32_t>(arguments.integer(1));
  std::deque<Note> notes;
  std::vector<double> samples;
  if (Worker* worker = workerOf(probesOf(arguments), id); worker != nullptr) {
    const Guard guard(worker->lock);
    if (const auto found = worker->flows.find(id); found != worker->flows.end()) {
      notes.swap(found->second->notes);
      samples.swap(found->second->samples);
    }
  }
  napi_value result, list, numbers;
  napi_create_array_with_length(env, notes.size(), &list);
  for (size_t i = 0; i < notes.size(); i++) {
    const Note& note = notes[i];
    napi_value item;
    napi_create_array_with_length(env, 5, &item);
    napi_set_element(env, item, 0, fromNumber(env, note.atNs));
    napi_set_element(env, item, 1, fromInteger(env, static_cast<int>(note.event)));
    napi_set_element(env, item, 2, fromNumber(env, note.lengthNs));
    napi_set_element(env, item, 3, fromInteger(env, note.value));
    napi_set_element(env, item, 4, fromOctets(env, note.octets.data(), note.octets.size()));
    napi_set_element(env, list, static_cast<uint32_t>(i), item);
  }
  napi_create_array_with_length(env, samples.size(), &numbers);
  for (size_t i = 0; i < samples.size(); i++) napi_set_element(env, numbers, static_cast<uint32_t>(i), fromNumber(env, samples[i]));
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, list);
  napi_set_element(env, result, 1, numbers);
  return result;
}

}  // namespace

void registerProbe(napi_env env, napi_value exports) {
  define(env, exports, "probesOpen", probesOpen);
  define(env, exports, "probesClose", probesClose);
  define(env, exports, "probeRespond", probeRespond);
  define(env, exports, "probeFlow", probeFlow);
  define(env, exports, "probeEnd", probeEnd);
  define(env, exports, "probeRead", probeRead);
  define(env, exports, "probeNotes", probeNotes);
}

}  // namespace weft
