// rtnetlink requests from C++, for what must happen in a namespace before it gets its name.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

// Sends rtnetlink messages in the calling thread's namespace and waits for each one's acknowledgement.
// Returns 0, or the errno of the first that failed.
int netlinkApply(const uint8_t* messages, size_t length);

}  // namespace weft
