#include "engine/output_watch.h"

#include <algorithm>
#include <array>
#include <utility>

#include <sys/inotify.h>

#include <unistd.h>

namespace appmesh::engine {

namespace {

using namespace std::chrono_literals;

constexpr auto kQuietWait = 1s;    // between two looks at a file that nobody follows
constexpr auto kCutPause = 1ms;    // between two files that a lower limit cuts: each may cost a few system calls
constexpr auto kPollWait = 200ms;  // only when the kernel has no watch left for us

}  // namespace

OutputWatch::OutputWatch(boost::asio::io_context& context, Timers& timers, const runtime::OutputFiles& outputs,
                         std::uint64_t limit_bytes)
    : timers_(timers), outputs_(outputs), limit_bytes_(limit_bytes) {
  if (auto inotify = platform::Inotify::create()) {
    inotify_.emplace(std::move(*inotify));
    descriptor_.emplace(context, ::dup(inotify_->fd()));
    wait_readable();
  }
}

void OutputWatch::add(const runtime::RunId& run, const std::string& app, core::RunNumber number) {
  File& file = files_[run];
  file.app = app;
  file.number = number;
  look_later(run, file);  // most runs have ended by then, or somebody waits
}

void OutputWatch::remove(const runtime::RunId& run) {
  const auto found = files_.find(run);
  if (found == files_.end()) return;
  File file = std::move(found->second);
  files_.erase(found);
  timers_.cancel(file.look_timer);
  if (file.watch >= 0) {
    watches_.erase(file.watch);
    [[maybe_unused]] const auto removed = inotify_->remove_watch(file.watch);
  }
  outputs_.bound(file.app, file.number, limit_bytes_);
  wake_ready(file, true);
}

void OutputWatch::set_limit(std::uint64_t limit_bytes) {
  if (std::exchange(limit_bytes_, limit_bytes) <= limit_bytes) return;
  std::chrono::microseconds pause{0};
  for (const auto& file : files_) {
    pause += kCutPause;
    timers_.after(pause, [this, run = file.first] {
      if (const auto found = files_.find(run); found != files_.end())
        outputs_.bound(found->second.app, found->second.number, limit_bytes_);
    });
  }
}

void OutputWatch::wait(const runtime::RunId& run, std::uint64_t position, std::chrono::milliseconds timeout, Wake wake,
                       WaitId id) {
  const auto found = files_.find(run);
  if (found == files_.end()) return wake();
  File& file = found->second;
  // Armed before the look, so that what is written in between is seen by one of the two.
  timers_.cancel(std::exchange(file.look_timer, 0));
  arm(run, file);
  if (outputs_.size(file.app, file.number) > position) return wake();
  Waiter waiter{.position = position, .wake = std::move(wake), .timer = 0, .number = ++last_waiter_, .id = id};
  waiter.timer = timers_.after(timeout, [this, run, number = waiter.number] {
    const auto late = files_.find(run);
    if (late == files_.end()) return;
    auto& waiters = late->second.waiters;
    const auto found_waiter = std::ranges::find(waiters, number, &Waiter::number);
    if (found_waiter == waiters.end()) return;
    Wake expired = std::move(found_waiter->wake);
    waiters.erase(found_waiter);
    expired();
  });
  file.waiters.push_back(std::move(waiter));
}

void OutputWatch::end_wait(const runtime::RunId& run, WaitId id) {
  const auto found = files_.find(run);
  if (found == files_.end()) return;
  auto& waiters = found->second.waiters;
  const auto waiter = std::ranges::find(waiters, id, &Waiter::id);
  if (waiter == waiters.end()) return;
  timers_.cancel(waiter->timer);
  Wake ended = std::move(waiter->wake);
  waiters.erase(waiter);
  ended();
}

void OutputWatch::arm(const runtime::RunId& run, File& file) {
  if (file.watch >= 0) return;
  if (inotify_) {
    if (const auto watch = inotify_->add_watch(outputs_.path(file.app, file.number), IN_MODIFY | IN_ONESHOT)) {
      file.watch = *watch;
      watches_.insert_or_assign(*watch, run);
      return;
    }
  }
  if (file.look_timer == 0)
    file.look_timer = timers_.after(file.waiters.empty() ? std::chrono::milliseconds(kQuietWait) : kPollWait,
                                    [this, run] { changed(run); });
}

void OutputWatch::wait_readable() {
  descriptor_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this](const boost::system::error_code& error) {
                            if (!error) read_events();
                          });
}

void OutputWatch::read_events() {
  alignas(8) std::array<std::byte, 16 * 1024> buffer;
  while (true) {
    auto events = inotify_->read(buffer);
    if (!events) break;
    platform::InotifyEvent event;
    bool any = false;
    while (events->next(event)) {
      any = true;
      // A one-shot watch says IN_MODIFY and then IN_IGNORED; the number may be given out anew after the latter.
      const auto found = watches_.find(event.watch);
      if (found == watches_.end()) continue;
      const runtime::RunId run = found->second;
      watches_.erase(found);
      if (const auto file = files_.find(run); file != files_.end() && file->second.watch == event.watch) {
        file->second.watch = -1;
        changed(run);
      }
    }
    if (!any) break;
  }
  wait_readable();
}

void OutputWatch::changed(const runtime::RunId& run) {
  const auto found = files_.find(run);
  if (found == files_.end()) return;
  File& file = found->second;
  file.look_timer = 0;
  outputs_.bound(file.app, file.number, limit_bytes_);
  if (!file.waiters.empty()) {
    // Armed before the look, as in wait(): a write between the two is not missed.
    arm(run, file);
    wake_ready(file, false);
    return;
  }
  look_later(run, file);
}

void OutputWatch::look_later(const runtime::RunId& run, File& file) {
  file.look_timer = timers_.after(kQuietWait, [this, run] {
    const auto quiet = files_.find(run);
    if (quiet == files_.end()) return;
    quiet->second.look_timer = 0;
    arm(run, quiet->second);  // before the look: a write between the two is not missed
    outputs_.bound(quiet->second.app, quiet->second.number, limit_bytes_);
  });
}

void OutputWatch::wake_ready(File& file, bool all) {
  if (file.waiters.empty()) return;
  const std::uint64_t size = all ? 0 : outputs_.size(file.app, file.number);
  std::vector<Wake> ready;
  std::erase_if(file.waiters, [&](Waiter& waiter) {
    if (!all && size <= waiter.position) return false;
    timers_.cancel(waiter.timer);
    ready.push_back(std::move(waiter.wake));
    return true;
  });
  for (auto& wake : ready) wake();  // may add waiters or remove the file: nothing of it is used after this
}

}  // namespace appmesh::engine
