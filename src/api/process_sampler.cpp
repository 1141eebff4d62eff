#include "api/process_sampler.h"

#include "platform/user.h"

namespace appmesh::api {

namespace {

using namespace std::chrono_literals;

constexpr auto kSampleLife = 1s;
constexpr auto kEntryLife = 60s;
constexpr std::size_t kMaxEntries = 4096;  // then the old ones are looked for
constexpr std::size_t kMaxTreeLines = 100;

}  // namespace

std::shared_ptr<const ProcessSample> ProcessSampler::sample(std::int32_t pid) {
  const auto now = Clock::now();
  Entry before;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = entries_.find(pid); found != entries_.end()) {
      if (now - found->second.taken < kSampleLife) return found->second.sample;
      before = found->second;
    }
  }
  const auto stat = proc_.stat(pid);
  if (!stat) {
    const std::lock_guard lock(mutex_);
    entries_.erase(pid);
    return nullptr;
  }
  auto fresh = std::make_shared<ProcessSample>();
  fresh->memory_bytes = stat->rss_bytes;
  fresh->descriptors = proc_.open_descriptors(pid).value_or(0);
  const auto ticks = static_cast<double>(platform::ticks_per_second());
  if (before.sample && before.start_ticks == stat->start_ticks) {
    const double seconds = std::chrono::duration<double>(now - before.taken).count();
    fresh->cpu_percent = static_cast<double>(stat->cpu_ticks - before.cpu_ticks) / ticks / seconds * 100;
    fresh->user = before.sample->user;
  } else if (const auto uid = proc_.effective_uid(pid)) {
    fresh->user = platform::user_name(*uid);
  }
  fresh->tree = proc_.tree_text(pid, kMaxTreeLines).value_or(std::string{});

  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kMaxEntries) forget_old(now);
  entries_[pid] = Entry{fresh, now, stat->start_ticks, stat->cpu_ticks};
  return fresh;
}

void ProcessSampler::forget_old(Clock::time_point now) {
  std::erase_if(entries_, [&](const auto& entry) { return now - entry.second.taken > kEntryLife; });
}

}  // namespace appmesh::api
