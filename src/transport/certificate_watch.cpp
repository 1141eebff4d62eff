#include "transport/certificate_watch.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include <sys/inotify.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <fcntl.h>

#include "platform/inotify.h"
#include "transport/deadlines.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::uint32_t kChanges = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE;  // a link is only created
constexpr std::chrono::milliseconds kQuiet{200};

class Watch : public std::enable_shared_from_this<Watch> {
 public:
  Watch(IoThread& thread, platform::Inotify inotify, std::set<std::string> names, std::function<void()> changed)
      : inotify_(std::move(inotify)),
        names_(std::move(names)),
        quiet_(thread.deadlines(), std::move(changed)),
        readable_(thread.context(), ::fcntl(inotify_.fd(), F_DUPFD_CLOEXEC, 0)) {}

  void wait() {
    readable_.async_wait(asio::posix::stream_descriptor::wait_read,
                         [self = shared_from_this()](const boost::system::error_code& error) {
                           if (error) return;
                           if (self->is_changed()) self->quiet_.set(kQuiet);
                           self->wait();
                         });
  }

 private:
  bool is_changed() {
    alignas(8) std::array<std::byte, 4096> buffer;
    auto events = inotify_.read(buffer);
    if (!events) return false;
    bool changed = false;
    for (platform::InotifyEvent event; events->next(event);) {
      changed = changed || event.overflow() || names_.contains(std::string(event.name));
    }
    return changed;
  }

  platform::Inotify inotify_;
  const std::set<std::string> names_;
  Deadline quiet_;
  asio::posix::stream_descriptor readable_;
};

}  // namespace

Result<void> watch_certificates(IoThread& thread, const std::vector<std::filesystem::path>& files,
                                std::function<void()> changed) {
  auto inotify = platform::Inotify::create();
  if (!inotify) return std::unexpected(std::move(inotify.error()));
  std::set<std::string> names;
  for (const auto& file : files) {
    if (file.empty()) continue;
    // A file that is renamed over is another one, so its folder is watched.
    if (auto watch = inotify->add_watch(file.parent_path(), kChanges); !watch) {
      return std::unexpected(std::move(watch.error()));
    }
    names.insert(file.filename().string());
  }
  asio::post(thread.context(), [&thread, inotify = std::move(*inotify), names = std::move(names),
                                changed = std::move(changed)]() mutable {
    std::make_shared<Watch>(thread, std::move(inotify), std::move(names), std::move(changed))->wait();
  });
  return {};
}

}  // namespace appmesh::transport
