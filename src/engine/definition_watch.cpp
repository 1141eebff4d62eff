#include "engine/definition_watch.h"

#include <array>
#include <set>
#include <utility>

#include <sys/inotify.h>

#include <spdlog/spdlog.h>
#include <unistd.h>

namespace appmesh::engine {

namespace {

constexpr std::uint32_t kFileEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB | IN_CREATE;
constexpr std::uint32_t kFolderEvents = IN_ATTRIB | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR;

}  // namespace

DefinitionWatch::DefinitionWatch(boost::asio::io_context& context, std::filesystem::path folder,
                                 std::function<void(const std::string&)> changed)
    : context_(context), folder_(std::move(folder)), changed_(std::move(changed)) {}

void DefinitionWatch::start() {
  if (!inotify_) {
    auto inotify = platform::Inotify::create();
    if (!inotify) return spdlog::warn("mended definitions need a SIGHUP: {}", inotify.error().message);
    inotify_.emplace(std::move(*inotify));
    descriptor_.emplace(context_, ::dup(inotify_->fd()));
    // Of a folder that is missing or may not be opened, the one above tells that this has changed.
    [[maybe_unused]] const auto above = inotify_->add_watch(folder_.parent_path(), kFolderEvents);
    wait();
  }
  // Again each time: it may have been exchanged.
  folder_watch_ = inotify_->add_watch(folder_, kFileEvents | IN_ONLYDIR).value_or(-1);
}

void DefinitionWatch::stop() {
  descriptor_.reset();
  inotify_.reset();
}

void DefinitionWatch::wait() {
  descriptor_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this](const boost::system::error_code& error) {
                            if (!error) read();
                          });
}

void DefinitionWatch::read() {
  if (!inotify_) return;  // stopped after the wait had ended
  alignas(8) std::array<std::byte, 4096> buffer{};
  std::set<std::string> names;
  bool anything = false;
  auto events = inotify_->read(buffer);
  platform::InotifyEvent event;
  while (events && events->next(event)) {
    if (event.overflow()) anything = true;
    if (event.watch != folder_watch_) {
      anything = anything || event.name == folder_.filename().string();
      continue;
    }
    const std::filesystem::path file(event.name);
    if (event.name.empty())
      anything = true;
    else if (file.extension() == ".yaml" || file.extension() == ".yml")
      names.insert(file.stem());
  }
  wait();
  if (anything) return changed_("");
  for (const auto& name : names) changed_(name);
}

}  // namespace appmesh::engine
