// The socket that the ICMP flows of a namespace and family share. See probe_datagram.cc.
#pragma once

#include <unordered_map>

#include "probe_flow.h"

namespace weft::probe {

struct IcmpSocket : Source {
  bool isV6 = false;
  std::unordered_map<uint16_t, Flow*> flows;
  void ready(Loop& loop, uint32_t events) override;
};

}  // namespace weft::probe
