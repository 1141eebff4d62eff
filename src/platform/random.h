// Random bytes from the kernel's generator (getrandom(2)), fit for keys and ids. No state; any thread. The kernel
// cannot fail once the machine has booted, so these have no error branch: a failure ends the program.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace appmesh::platform {

void fill_random(std::span<unsigned char> out);
[[nodiscard]] std::string random_bytes(std::size_t count);
// `byte_count` random bytes as twice as many lower-case hex digits.
[[nodiscard]] std::string random_hex(std::size_t byte_count);

}  // namespace appmesh::platform
