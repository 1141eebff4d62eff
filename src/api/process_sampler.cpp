#include "api/process_sampler.h"

#include <algorithm>
#include <utility>

#include "platform/process_table.h"
#include "platform/user.h"

namespace appmesh::api {

namespace {

using namespace std::chrono_literals;

constexpr auto kSampleLife = 1s;
constexpr auto kEntryLife = 60s;
constexpr std::size_t kWalkGain = 8;  // so much less a process costs in a walk than alone; but a walk reads all
constexpr std::size_t kMaxTreeLines = 100;

}  // namespace

const ProcessSampler::Entry* ProcessSampler::find(std::int32_t pid) const {
  if (const auto found = young_.find(pid); found != young_.end()) return &found->second;
  const auto found = old_.find(pid);
  return found == old_.end() ? nullptr : &found->second;
}

void ProcessSampler::keep(std::int32_t pid, Entry entry) {
  if (young_.size() >= std::max(min_kept_, max_young_) || entry.taken - turned_ > kEntryLife) {
    old_ = std::exchange(young_, {});
    turned_ = entry.taken;
  }
  young_.insert_or_assign(pid, std::move(entry));
}

std::size_t ProcessSampler::kept() const {
  const std::lock_guard lock(mutex_);
  return young_.size() + old_.size();
}

ProcessSampler::Entry ProcessSampler::measure(const platform::ProcessStat& stat, const Entry* before, std::string tree,
                                              UserNames& users) const {
  auto fresh = std::make_shared<ProcessSample>();
  Entry entry{.taken = Clock::now(), .start_ticks = stat.start_ticks, .cpu_ticks = stat.cpu_ticks};
  fresh->memory_bytes = proc_.resident_bytes(stat.pid).value_or(stat.rss_bytes);
  fresh->descriptors = proc_.open_descriptors(stat.pid).value_or(0);
  fresh->tree = std::move(tree);
  if (before != nullptr && before->start_ticks == stat.start_ticks) {
    const auto ticks = static_cast<double>(platform::ticks_per_second());
    const double seconds = std::chrono::duration<double>(entry.taken - before->taken).count();
    if (stat.cpu_ticks > before->cpu_ticks && seconds > 0)
      fresh->cpu_percent = static_cast<double>(stat.cpu_ticks - before->cpu_ticks) / ticks / seconds * 100;
    fresh->user = before->sample->user;
  } else if (const auto uid = proc_.effective_uid(stat.pid)) {
    auto& name = users[*uid];
    if (name.empty()) name = platform::user_name(*uid);
    fresh->user = name;
  }
  entry.sample = std::move(fresh);
  return entry;
}

ProcessSamplePtr ProcessSampler::sample(std::int32_t pid) {
  const auto now = Clock::now();
  Entry before;
  {
    const std::lock_guard lock(mutex_);
    if (const Entry* const found = find(pid)) {
      if (now < found->fresh_until) return found->sample;
      before = *found;
    }
  }
  const auto stat = proc_.stat(pid);
  if (!stat) {
    const std::lock_guard lock(mutex_);
    young_.erase(pid);
    old_.erase(pid);
    return nullptr;
  }
  UserNames users;
  Entry entry = measure(*stat, before.sample ? &before : nullptr,
                        proc_.tree_text(pid, kMaxTreeLines).value_or(std::string{}), users);
  entry.fresh_until = entry.taken + kSampleLife;
  ProcessSamplePtr sample = entry.sample;
  const std::lock_guard lock(mutex_);
  keep(pid, std::move(entry));
  return sample;
}

std::vector<std::size_t> ProcessSampler::fill_fresh(std::span<const std::int32_t> pids,
                                                    std::vector<ProcessSamplePtr>& samples) {
  std::vector<std::size_t> missing;
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < pids.size(); ++i) {
    if (pids[i] == 0 || samples[i]) continue;
    const Entry* const found = find(pids[i]);
    if (found != nullptr && now < found->fresh_until)
      samples[i] = found->sample;
    else
      missing.push_back(i);
  }
  return missing;
}

std::vector<ProcessSamplePtr> ProcessSampler::sample_all(std::span<const std::int32_t> pids) {
  std::vector<ProcessSamplePtr> samples(pids.size());
  if (fill_fresh(pids, samples).empty()) return samples;
  const std::lock_guard lock(walk_mutex_);
  const auto missing = fill_fresh(pids, samples);
  if (missing.size() * kWalkGain > proc_.process_count()) {
    walk(pids, missing, samples);
  } else {
    for (const std::size_t place : missing) samples[place] = sample(pids[place]);
  }
  return samples;
}

void ProcessSampler::walk(std::span<const std::int32_t> pids, std::span<const std::size_t> places,
                          std::vector<ProcessSamplePtr>& samples) {
  auto processes = proc_.list_processes();
  if (!processes) return;
  const platform::ProcessTable table(std::move(*processes));
  std::vector<Entry> entries(places.size());
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < places.size(); ++i)
      if (const Entry* const before = find(pids[places[i]])) entries[i] = *before;
  }
  UserNames users;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const Entry before = std::exchange(entries[i], {});
    const platform::ProcessStat* const stat = table.find(pids[places[i]]);
    if (stat == nullptr) continue;
    entries[i] = measure(*stat, before.sample ? &before : nullptr,
                         table.tree_text(stat->pid, kMaxTreeLines).value_or(std::string{}), users);
    samples[places[i]] = entries[i].sample;
  }
  // From its end: a walk that took long must still serve those who waited for it.
  const auto fresh_until = Clock::now() + kSampleLife;
  const std::lock_guard lock(mutex_);
  max_young_ = 2 * pids.size();
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (!entries[i].sample) continue;
    entries[i].fresh_until = fresh_until;
    keep(pids[places[i]], std::move(entries[i]));
  }
}

}  // namespace appmesh::api
