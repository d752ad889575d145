// Frames that go from one TAP to another as they are.
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "encapsulation.h"
#include "engine.h"
#include "segment.h"
#include "tap.h"

namespace weft {
namespace {

// So many frames are read before others have their turn.
constexpr int framesPerTurn = 128;

}  // namespace

bool pumpLane(Engine& engine, Lane& lane) {
  const bool udp = takesUdpSuperFrames();
  uint8_t* const begin = engine.passing.data();
  uint8_t* const end = begin + engine.passing.size();
  uint8_t* at = begin;
  bool isReadable = true;
  for (int frame = 0; frame < framesPerTurn; frame++) {
    if (end - at < static_cast<ptrdiff_t>(largeOctets)) {
      engine.trains.flush();
      at = begin;
    }
    VnetHeader header;
    const iovec parts[] = {{&header, vnetLength}, {at, largeOctets}};
    const ssize_t length = readv(lane.from, parts, 2);
    if (length < 0) {
      isReadable = faultOf(errno) == 0;
      break;
    }
    if (length < static_cast<ssize_t>(vnetLength + 14)) {
      lane.passed.errors++;
      continue;
    }
    const size_t octets = length - vnetLength;
    engine.trains.add(lane.to, lane.passed, openPacket(header, at, octets), udp, flowHash(at, octets));
    at += (octets + 63) & ~size_t{63};
  }
  engine.trains.flush();
  return isReadable;
}

}  // namespace weft
