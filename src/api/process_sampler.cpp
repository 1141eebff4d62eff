#include "api/process_sampler.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "platform/user.h"

namespace appmesh::api {

namespace {

using namespace std::chrono_literals;

constexpr auto kSampleLife = 1s;
constexpr auto kEntryLife = 60s;
constexpr std::size_t kWalkGain = 8;  // so much less a process costs in a walk than alone; but a walk reads all
constexpr std::size_t kMaxTreeLines = 100;
constexpr std::size_t kMaxMembers = 10'000;  // of one run that are read for it alone
constexpr std::size_t kMaxStrayed = 1000;    // looked at in one walk

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

ProcessSampler::Entry ProcessSampler::measure(const Members& members, const Entry* before, std::string tree,
                                              UserNames& users) const {
  const platform::ProcessStat& stat = *members.front();
  auto fresh = std::make_shared<ProcessSample>();
  Entry entry{.taken = Clock::now(), .start_ticks = stat.start_ticks};
  if (before != nullptr && before->start_ticks != stat.start_ticks) before = nullptr;
  std::uint64_t spent = 0;
  for (const auto* member : members) {
    // The rss of the walk lags behind: exact for the process that the app is, and cheap for the others.
    fresh->memory_bytes +=
        member == &stat ? proc_.resident_bytes(stat.pid).value_or(stat.rss_bytes) : member->rss_bytes;
    fresh->descriptors += proc_.open_descriptors(member->pid).value_or(0);
    entry.cpu_ticks.emplace_back(member->pid, member->cpu_ticks);
    if (before == nullptr) continue;
    const auto known =
        std::ranges::find(before->cpu_ticks, member->pid, &std::pair<std::int32_t, std::uint64_t>::first);
    const std::uint64_t then = known != before->cpu_ticks.end() ? known->second : 0;  // began since then
    spent += member->cpu_ticks - std::min(then, member->cpu_ticks);
  }
  fresh->tree = std::move(tree);
  if (before != nullptr) {
    const auto ticks = static_cast<double>(platform::ticks_per_second());
    const double seconds = std::chrono::duration<double>(entry.taken - before->taken).count();
    if (seconds > 0) fresh->cpu_percent = static_cast<double>(spent) / ticks / seconds * 100;
    fresh->user = before->sample->user;
  } else if (const auto uid = proc_.effective_uid(stat.pid)) {
    auto& name = users[*uid];
    if (name.empty()) name = platform::user_name(*uid);
    fresh->user = name;
  }
  entry.sample = std::move(fresh);
  return entry;
}

std::unordered_map<std::int32_t, ProcessSampler::Members> ProcessSampler::strayed(
    const platform::ProcessTable& table, std::span<const std::int32_t> pids) const {
  std::unordered_map<std::int32_t, Members> found;
  const std::unordered_set<std::int32_t> runs(pids.begin(), pids.end());
  std::unordered_set<std::int32_t> keepers;  // whose children the runs are, and whoever lost its parent
  for (const auto pid : runs)
    if (const auto* process = table.find(pid); process != nullptr && process->ppid > 1) keepers.insert(process->ppid);
  std::size_t looked_at = 0;
  std::unordered_set<std::int32_t> taken;
  for (const auto keeper : keepers) {
    for (const auto* orphan : table.children_of(keeper)) {
      if (runs.contains(orphan->pid) || runs.contains(orphan->session) || taken.contains(orphan->pid)) continue;
      if (++looked_at > kMaxStrayed) return found;
      const auto members = cgroups_.of(orphan->pid);
      const auto owner = std::ranges::find_if(members, [&](std::int32_t pid) { return runs.contains(pid); });
      if (owner == members.end()) continue;
      for (const auto* process : table.members(orphan->pid))
        if (taken.insert(process->pid).second) found[*owner].push_back(process);
    }
  }
  return found;
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
  // Its cgroup tells all of its processes; without one they are looked for below it.
  std::vector<platform::ProcessStat> others;
  auto pids = cgroups_.of(pid);
  if (pids.empty()) pids = proc_.children(pid);
  std::unordered_set<pid_t> known{pid};
  for (std::size_t next = 0; next < pids.size() && others.size() < kMaxMembers; ++next) {
    if (!known.insert(pids[next]).second) continue;
    auto other = proc_.stat(pids[next]);
    if (!other) continue;
    for (const pid_t child : proc_.children(pids[next])) pids.push_back(child);
    others.push_back(std::move(*other));
  }
  Members members{&*stat};
  for (const auto& other : others) members.push_back(&other);
  UserNames users;
  Entry entry = measure(members, before.sample ? &before : nullptr,
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
  const auto strays = strayed(table, pids);
  for (std::size_t i = 0; i < places.size(); ++i) {
    const Entry before = std::exchange(entries[i], {});
    const std::int32_t pid = pids[places[i]];
    Members members = table.members(pid);
    if (members.empty()) continue;
    if (const auto found = strays.find(pid); found != strays.end())
      members.insert(members.end(), found->second.begin(), found->second.end());
    entries[i] = measure(members, before.sample ? &before : nullptr,
                         table.tree_text(pid, kMaxTreeLines).value_or(std::string{}), users);
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
