#include "engine/notify_sockets.h"

#include <unordered_set>
#include <utility>

#include <sys/stat.h>

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "platform/file.h"

namespace appmesh::engine {

namespace {

constexpr int kMessagesPerTurn = 32;
constexpr std::size_t kMaxListed = 100'000;

bool is_socket(int descriptor) {
  struct stat status{};
  return ::fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

NotifySockets::NotifySockets(boost::asio::io_context& context, RunSupervisor& supervisor,
                             std::filesystem::path directory, Handler handler)
    : context_(context), supervisor_(supervisor), directory_(std::move(directory)), handler_(std::move(handler)) {}

void NotifySockets::follow(LiveRun& run) {
  if (run.tag.notify.empty() || sockets_.contains(run.id)) return;
  if (run.notify) return take(run, std::move(run.notify));
  supervisor_.ask_kept(run.id, [this, id = run.id](Result<std::vector<platform::UniqueFd>> kept) {
    LiveRun* living = supervisor_.find(id);
    if (living == nullptr || living->main == LiveRun::Main::exited || sockets_.contains(id)) return;
    if (kept) {
      for (auto& descriptor : *kept)
        if (is_socket(descriptor.get())) return take(*living, std::move(descriptor));
    }
    make_anew(*living);
  });
}

void NotifySockets::take(LiveRun& run, platform::UniqueFd descriptor) {
  auto socket = std::make_shared<Socket>(context_, std::move(descriptor));
  socket->uid = user_of(run);
  sockets_.insert_or_assign(run.id, std::move(socket));
  read_next(run.id);
}

// Daemon and keeper died together: what waited in the socket is lost, what is said from now on is not.
void NotifySockets::make_anew(LiveRun& run) {
  const uid_t uid = user_of(run);
  auto opened = runtime::open_notify_socket(directory_, run.tag.notify, uid, static_cast<gid_t>(-1));
  if (!opened) return spdlog::error("{}: {}", run.tag.app, opened.error().message);
  supervisor_.keep(run.id, opened->descriptor.get());
  take(run, std::move(opened->descriptor));
}

void NotifySockets::forget(const LiveRun& run) {
  if (run.tag.notify.empty()) return;
  sockets_.erase(run.id);
  ::unlink((directory_ / run.tag.notify).c_str());
}

void NotifySockets::keep_again() {
  for (const auto& [id, socket] : sockets_) supervisor_.keep(id, socket->stream.native_handle());
}

void NotifySockets::remove_strays() {
  const auto directory = platform::open_directory(directory_);
  if (!directory) return;
  const auto names = platform::list_directory(directory->get(), kMaxListed);
  if (!names || names->empty()) return;
  std::unordered_set<std::string> used;
  supervisor_.for_each_run([&](const LiveRun& run) { used.insert(run.tag.notify); });
  for (const auto& name : *names)
    if (!used.contains(name)) ::unlinkat(directory->get(), name.c_str(), 0);
}

void NotifySockets::wait(const runtime::RunId& id) {
  const auto found = sockets_.find(id);
  if (found == sockets_.end()) return;
  found->second->stream.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                   [this, id](const boost::system::error_code& error) {
                                     if (!error) read_next(id);
                                   });
}

void NotifySockets::read_next(const runtime::RunId& id) {
  for (int count = 0; count < kMessagesPerTurn; ++count) {
    const auto found = sockets_.find(id);
    LiveRun* run = supervisor_.find(id);
    if (found == sockets_.end() || run == nullptr) return;
    const std::shared_ptr<Socket> socket = found->second;
    const auto received = runtime::peek_notification(socket->stream.native_handle());
    if (!received) return wait(id);
    if (!is_from(*socket, *run, *received)) {
      runtime::drop_notification(socket->stream.native_handle());
      continue;
    }
    return handler_(*run, received->what, [this, id, socket] {
      boost::asio::post(context_, [this, id, socket] {
        runtime::drop_notification(socket->stream.native_handle());
        read_next(id);
      });
    });
  }
  boost::asio::post(context_, [this, id] { read_next(id); });
}

// A sender that has ended by now can only be judged by its user; it knew an address that only the run was told.
bool NotifySockets::is_from(Socket& socket, const LiveRun& run, const runtime::ReceivedNotification& received) {
  if (received.pid > 0) {
    const auto owned = supervisor_.owns(run, received.pid);
    if (owned.value_or(received.uid == socket.uid)) return true;
  }
  if (!std::exchange(socket.strangers_told, true))
    spdlog::warn("{}: process {} of uid {} is not of this run: what it says on the notify socket is ignored",
                 run.tag.app, received.pid, received.uid);
  return false;
}

uid_t NotifySockets::user_of(const LiveRun& run) const {
  struct stat status{};
  if (::lstat((directory_ / run.tag.notify).c_str(), &status) == 0) return status.st_uid;
  if (::stat(fmt::format("/proc/{}", run.pid).c_str(), &status) == 0) return status.st_uid;
  return ::geteuid();
}

}  // namespace appmesh::engine
