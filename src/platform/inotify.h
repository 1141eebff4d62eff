// inotify(7) without a loop of its own: the owner waits for fd() in its event loop, reads into a buffer of its own and
// walks the events in place, without allocation. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "core/error.h"
#include "platform/unique_fd.h"

namespace appmesh::platform {

struct InotifyEvent {
  int watch = -1;                       // -1 for an overflow
  std::uint32_t mask = 0;               // IN_*
  std::string_view name;                // of a directory's entry, else empty; points into the buffer
  [[nodiscard]] bool overflow() const;  // events were lost: look at everything again
};

// Walks the events of one read(); stops at the first that is cut off, which the kernel never sends.
class InotifyEvents {
 public:
  explicit InotifyEvents(std::span<const std::byte> buffer) : rest_(buffer) {}
  // False at the end.
  [[nodiscard]] bool next(InotifyEvent& event);

 private:
  std::span<const std::byte> rest_;
};

class Inotify {
 public:
  static constexpr std::size_t kMinBufferBytes = 16 + 256;  // one event with the longest name

  // Non-blocking and close-on-exec.
  [[nodiscard]] static Result<Inotify> create();

  // The watch's number; the same path gets the same number again and its mask is replaced. Error too_large when the
  // user's limit of watches is used up.
  [[nodiscard]] Result<int> add_watch(const std::filesystem::path& path, std::uint32_t mask);
  // A watch that the kernel has removed itself (file gone) is success.
  [[nodiscard]] Result<void> remove_watch(int watch);
  // What is there now, in `buffer` (at least kMinBufferBytes, aligned by read itself); empty when nothing is.
  [[nodiscard]] Result<InotifyEvents> read(std::span<std::byte> buffer);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit Inotify(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace appmesh::platform
