// The sd_notify protocol (man sd_notify(3)): a datagram socket of one run, what a message says, and who sent it. No
// state but the socket; any thread, nothing here waits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "core/error.h"
#include "platform/unique_fd.h"

namespace appmesh::runtime {

inline constexpr std::size_t kMaxNotificationBytes = 4096;  // as systemd has it
inline constexpr std::size_t kMaxStatusBytes = 1024;

struct NotifySocket {
  platform::UniqueFd descriptor;
  std::string address;  // for NOTIFY_SOCKET: a path, or '@' and an abstract name
};

// Binds a socket that knows its senders. It is a file of mode 0600 that belongs to the run's user; only where the home
// lies too deep for a socket's address (107 bytes) it is an abstract name. `name` must not be guessable. A file of that
// name is replaced.
[[nodiscard]] Result<NotifySocket> open_notify_socket(const std::filesystem::path& directory, const std::string& name,
                                                      uid_t uid, gid_t gid);

struct Notification {
  bool ready = false;
  bool stopping = false;
  bool watchdog = false;  // WATCHDOG=1
  bool trigger = false;   // WATCHDOG=trigger: the run says itself that it is stuck
  bool barrier = false;
  std::optional<std::string> status;  // valid UTF-8 without control characters, at most kMaxStatusBytes
  std::optional<std::int32_t> main_pid;
  bool operator==(const Notification&) const = default;
};

// Lines of NAME=VALUE; what is unknown or malformed is skipped.
[[nodiscard]] Notification parse_notification(std::string_view message);

struct ReceivedNotification {
  Notification what;
  pid_t pid = 0;  // 0: a process that we cannot see
  uid_t uid = 0;
};

// The oldest message, which stays in the queue: whoever is killed before what it says is stored sees it again. nullopt:
// none waits.
[[nodiscard]] std::optional<ReceivedNotification> peek_notification(int socket);
// Takes it out of the queue, and closes the descriptors that came with it: that is what BARRIER=1 waits for.
void drop_notification(int socket);

}  // namespace appmesh::runtime
