#include "keeper/keeper.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <poll.h>

#include "keeper/log.h"
#include "keeper/process.h"

namespace appmesh::keeper {
namespace {

constexpr int kRequestsPerTurn = 32;  // then exits and other sources have their turn

bool is_under_way(const SpawnBlock& block) {
  return block.state == SpawnBlock::State::pending || block.state == SpawnBlock::State::given_up;
}

bool add(const Descriptor& epoll, int descriptor, std::uint32_t events, std::uint64_t source) {
  epoll_event event{.events = events, .data = {.u64 = source}};
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, descriptor, &event) == 0;
}

}  // namespace

int Keeper::open(const KeeperOptions& options, const char*& step) {
  options_ = options;
  started_us_ = realtime_us();

  // Every signal is blocked for good: those that matter are read from a descriptor, and children start with none
  // blocked.
  sigset_t every, awaited;
  ::sigfillset(&every);
  ::sigprocmask(SIG_SETMASK, &every, nullptr);
  // The raw call with a zeroed kernel_sigaction (SIG_DFL), because libc keeps signals 32 and 33 to itself.
  const unsigned long by_default[8] = {};
  for (int signal = 1; signal < NSIG; ++signal) ::syscall(SYS_rt_sigaction, signal, by_default, nullptr, NSIG / 8);
  ::sigemptyset(&awaited);
  ::sigaddset(&awaited, SIGCHLD);
  ::sigaddset(&awaited, SIGTERM);
  step = "signals";
  signals_.reset(::signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return errno;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_ || !add(epoll_, signals_.get(), EPOLLIN, kSignals)) return errno;

  step = "/dev/null";
  if (const int error = spawner_.prepare(options.child_limits); error != 0) return error;

  step = "journal";
  Predecessor predecessor = Predecessor::none;
  if (const int error = table_.open(options.run_directory, options.journal, predecessor); error != 0) return error;
  take_over(predecessor);

  step = "socket";
  if (options.listener >= 0) {
    listener_.reset(options.listener);
  } else if (const int error = listen_in(options.run_directory, listener_); error != 0) {
    return error;
  }
  if (!add(epoll_, listener_.get(), EPOLLIN, kListener)) return errno;
  connection_source_ = kFirstConnection;
  if (options.connection >= 0) {
    connection_.reset(options.connection);
    greeted_ = true;
    if (!add(epoll_, connection_.get(), interest_ = EPOLLIN, connection_source_)) return errno;
    send_done(options.reexec_request, table_.living());
  }
  return 0;
}

int Keeper::run() {
  reap();  // what ended before the signal descriptor was there
  pump();
  epoll_event events[64];
  for (;;) {
    if (ending_ && table_.living() == 0) return 0;
    const int count = ::epoll_wait(epoll_.get(), events, 64, wait_ms());
    for (int i = 0; i < count; ++i) {
      const std::uint64_t source = events[i].data.u64;
      if (source == kSignals) {
        signalfd_siginfo signal{};
        while (::read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
          if (signal.ssi_signo != SIGTERM) continue;
          ending_ = table_.living() == 0;
          if (!ending_) log("asked to end by pid %u, but %u runs live: staying", signal.ssi_pid, table_.living());
        }
        reap();
      } else if (source == kListener) {
        accept_connection();
      } else if (source >= kFirstConnection) {
        if (source != connection_source_) continue;
        if ((events[i].events & EPOLLIN) != 0) {
          read_requests();
        } else if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0) {
          drop_connection();
        }
      } else if (source >= kStartBase) {
        // The block may be of another start by now.
        SpawnBlock& block = spawner_.at(static_cast<std::uint32_t>(source - kStartBase));
        if (is_under_way(block) && block.has_ended()) start_ended(block);
      } else {
        Slot& slot = table_.at(static_cast<std::uint32_t>(source - kPidfdBase));
        reap();  // should it have become our child, this knows its status
        pollfd ended{.fd = slot.pidfd, .events = POLLIN, .revents = 0};  // the slot may hold another run by now
        if (slot.state == RunState::running && ::poll(&ended, 1, 0) == 1) adopted_exited(slot);
      }
    }
    give_up_late_starts();
    pump();
  }
}

// ---- Exits

void Keeper::reap() {
  for (;;) {
    siginfo_t info{};
    rusage usage{};
    // Looked at first, written down, then reaped: a keeper killed in between loses no exit code. The raw call, because
    // libc's has no rusage.
    const long result = ::syscall(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT, &usage);
    if (result != 0 || info.si_pid == 0) return;
    // It may have exec'ed and ended before we heard of either.
    if (SpawnBlock* const block = spawner_.find(info.si_pid); block != nullptr) start_ended(*block);
    Slot* const slot = table_.find_pid(info.si_pid);
    // An adopted run may be our child if its parent died; its pid may also be of a stranger by now.
    if (slot != nullptr && slot->state == RunState::running &&
        (slot->pidfd < 0 || read_start_ticks(info.si_pid) == slot->start_ticks)) {
      Exit exit{};
      exit.wait_status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
                                                    : info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
      exit.exited_us = realtime_us();
      exit.max_rss_kb = static_cast<std::uint64_t>(usage.ru_maxrss);
      exit.user_us = static_cast<std::uint64_t>(usage.ru_utime.tv_sec * 1'000'000 + usage.ru_utime.tv_usec);
      exit.system_us = static_cast<std::uint64_t>(usage.ru_stime.tv_sec * 1'000'000 + usage.ru_stime.tv_usec);
      exited(*slot, exit, slot->flags);
    }
    ::waitpid(info.si_pid, nullptr, WNOHANG);
  }
}

void Keeper::exited(Slot& slot, const Exit& exit, std::uint32_t flags) {
  table_.set_exited(slot, exit, flags);
  if (greeted_) table_.queue_exit(slot);
}

// ---- The connection

void Keeper::accept_connection() {
  Descriptor peer = accept_peer(listener_);
  if (!peer) return;
  drop_connection();
  connection_ = static_cast<Descriptor&&>(peer);
  if (!add(epoll_, connection_.get(), interest_ = EPOLLIN, ++connection_source_)) drop_connection();
}

void Keeper::drop_connection() {
  if (connection_) {
    // Not by the close alone: a child that has not closed its copy yet would keep it open, and in the epoll set.
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection_.get(), nullptr);
    ::shutdown(connection_.get(), SHUT_RDWR);
    connection_.reset();
  }
  inbox_.close_descriptors();
  outbox_.clear();
  table_.clear_unsent();
  greeted_ = false;
  listing_ = false;
}

void Keeper::read_requests() {
  for (int i = 0; i < kRequestsPerTurn && connection_ && may_read(); ++i) {
    switch (inbox_.receive(connection_.get())) {
      case Inbox::Received::nothing:
        return;
      case Inbox::Received::closed:
        return drop_connection();
      case Inbox::Received::message:
        handle_message();
        inbox_.close_descriptors();
    }
  }
}

// Sends what waits until the socket is full: the answer that did not fit, the rest of a list, then exits.
void Keeper::pump() {
  if (!connection_) return;
  if (!outbox_.flush(connection_.get())) return drop_connection();
  while (connection_ && !outbox_.full()) {
    if (answers_due_ > 0) {
      send_due_answer();
    } else if (may_list()) {
      send_next_run();
    } else if (Slot* const slot = table_.first_unsent(); slot != nullptr) {
      send_exited(*slot);
    } else {
      break;
    }
  }
  update_interest();
}

void Keeper::update_interest() {
  if (!connection_) return;
  std::uint32_t wanted = EPOLLIN;
  if (outbox_.full() || may_list()) {
    wanted = EPOLLOUT;
  } else if (!may_read()) {
    wanted = 0;  // until starts that are under way are decided
  }
  if (wanted == interest_) return;
  epoll_event event{.events = wanted, .data = {.u64 = connection_source_}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection_.get(), &event) != 0) return drop_connection();
  interest_ = wanted;
}

bool Keeper::watch(Slot& slot, Descriptor pidfd) {
  if (!add(epoll_, pidfd.get(), EPOLLIN, kPidfdBase + table_.index_of(slot))) return false;
  slot.pidfd = pidfd.release();
  return true;
}

}  // namespace appmesh::keeper
