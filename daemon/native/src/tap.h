// TAP interfaces: what others need to know of them.
#pragma once

namespace weft {

// Whether the kernel takes super-frames of UDP from a TAP: since Linux 6.2, known from when the first one was opened.
bool takesUdpSuperFrames();

}  // namespace weft
