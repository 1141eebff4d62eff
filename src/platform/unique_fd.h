// One open descriptor and the duty to close it. Whoever holds the UniqueFd owns the descriptor; it may move between
// threads. This is the only place of the daemon that calls close().
#pragma once

#include <utility>

#include <unistd.h>

namespace appmesh::platform {

class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    const int old = std::exchange(fd_, fd);
    // EINTR needs no retry: Linux has released the descriptor all the same, see close(2).
    if (old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

}  // namespace appmesh::platform
