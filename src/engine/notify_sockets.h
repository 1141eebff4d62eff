// The notify sockets of living runs (docs/wire.md#own-fields): reads what their processes say of themselves, makes sure
// that it was they who said it, and hands it on. A message leaves its socket only when the engine has stored what it
// means, and the keeper holds the socket too, so nothing that was said while a daemon died is lost. Owned by the engine
// and used only on its thread; a run without a socket costs nothing.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "engine/run_supervisor.h"
#include "runtime/notify_socket.h"

namespace appmesh::engine {

class NotifySockets {
 public:
  using Taken = std::move_only_function<void()>;
  // `taken` is to be called, then or later, when the message may be forgotten; the next one comes after that.
  using Handler = std::function<void(LiveRun& run, const runtime::Notification& what, Taken taken)>;

  NotifySockets(boost::asio::io_context& context, RunSupervisor& supervisor, std::filesystem::path directory,
                Handler handler);

  // A run that lives: one just started, or one of an earlier daemon, whose socket the keeper has or which gets it anew.
  void follow(LiveRun& run);
  // The run has ended, or never lived.
  void forget(const LiveRun& run);
  // A new keeper: it gets the sockets to hold.
  void keep_again();
  // Files of runs that are gone, after a crash.
  void remove_strays();

 private:
  struct Socket {
    Socket(boost::asio::io_context& context, platform::UniqueFd fd) : stream(context, fd.release()) {}
    boost::asio::posix::stream_descriptor stream;
    uid_t uid = 0;  // of the run
    bool strangers_told = false;
  };

  void take(LiveRun& run, platform::UniqueFd descriptor);
  void make_anew(LiveRun& run);
  void wait(const runtime::RunId& id);
  void read_next(const runtime::RunId& id);
  [[nodiscard]] bool is_from(Socket& socket, const LiveRun& run, const runtime::ReceivedNotification& received);
  [[nodiscard]] uid_t user_of(const LiveRun& run) const;

  boost::asio::io_context& context_;
  RunSupervisor& supervisor_;
  std::filesystem::path directory_;
  Handler handler_;
  std::unordered_map<runtime::RunId, std::shared_ptr<Socket>, runtime::RunIdHash> sockets_;
};

}  // namespace appmesh::engine
