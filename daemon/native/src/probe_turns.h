// Whose turn it is to send.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "probe_flow.h"

namespace weft::probe {

// Flows by when their next probe may leave. Where there is no time for all, that is who has waited longest.
class Turns {
 public:
  size_t size() const { return heap.size(); }
  bool isEmpty() const { return heap.empty(); }
  double nextNs() const { return heap.empty() ? HUGE_VAL : heap.front()->readyNs; }
  void add(Flow* flow) {
    heap.push_back(flow);
    std::push_heap(heap.begin(), heap.end(), isLater);
  }
  Flow* takeFirst() {
    std::pop_heap(heap.begin(), heap.end(), isLater);
    Flow* first = heap.back();
    heap.pop_back();
    return first;
  }
  // Fine when it has no turn.
  void remove(const Flow* flow) {
    heap.erase(std::remove(heap.begin(), heap.end(), flow), heap.end());
    std::make_heap(heap.begin(), heap.end(), isLater);
  }
  void clear() { heap.clear(); }

 private:
  static bool isLater(const Flow* one, const Flow* other) { return one->readyNs > other->readyNs; }
  std::vector<Flow*> heap;
};

}  // namespace weft::probe
