#include "api/process_sampler.h"

#include <fstream>
#include <numeric>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "platform/test_directory.h"

namespace appmesh::api {
namespace {

using testing::Each;
using testing::IsNull;

// A /proc of our own, with a process for each number from 1 on.
class FakeProc {
 public:
  explicit FakeProc(std::int32_t count) {
    for (std::int32_t pid = 1; pid <= count; ++pid) put(pid, pid / 10);
  }

  void put(std::int32_t pid, std::int32_t parent, std::int32_t session = 0, int user_ticks = 150) const {
    std::filesystem::create_directory(folder_ / std::to_string(pid));
    std::ofstream(folder_ / fmt::format("{}/stat", pid))
        << fmt::format("{} (p{}) S {} 7 {} 0 -1 4194304 1 2 3 4 {} 50 0 0 20 0 3 0 4711 1000000 25 0\n", pid, pid,
                       parent, session == 0 ? pid : session, user_ticks);
    std::ofstream(folder_ / fmt::format("{}/statm", pid)) << fmt::format("100 {} 1 1 0 1 0\n", pid);
  }
  void end(std::int32_t pid) const { std::filesystem::remove_all(folder_ / std::to_string(pid)); }

  void put_descriptors(std::int32_t pid, int count) const {
    std::filesystem::create_directory(folder_ / fmt::format("{}/fd", pid));
    for (int i = 0; i < count; ++i) std::ofstream(folder_ / fmt::format("{}/fd/{}", pid, i));
  }
  // In one cgroup of a run, as the kernel shows it.
  void put_cgroup(const std::vector<std::int32_t>& pids) const {
    std::filesystem::create_directories(folder_ / "self");
    std::ofstream(folder_ / "self/mountinfo")
        << fmt::format("30 1 0:30 / {} rw - cgroup2 cgroup2 rw\n", (folder_ / "cgroup").string());
    const auto group = folder_ / "cgroup/appmesh-1/p-1";
    std::filesystem::create_directories(group);
    std::ofstream procs(group / "cgroup.procs");
    for (const auto pid : pids) {
      procs << pid << "\n";
      std::ofstream(folder_ / fmt::format("{}/cgroup", pid)) << "3:cpu:/\n0::/appmesh-1/p-1/below\n";
    }
  }
  [[nodiscard]] platform::CgroupMembers cgroups() const { return platform::CgroupMembers(folder_.path()); }

  [[nodiscard]] platform::ProcFs proc() const { return platform::ProcFs(folder_.path()); }

 private:
  platform::TestDirectory folder_;
};

std::vector<std::int32_t> pids_from_one(std::int32_t count) {
  std::vector<std::int32_t> pids(static_cast<std::size_t>(count));
  std::iota(pids.begin(), pids.end(), 1);
  return pids;
}

TEST(ProcessSampler, ManyAreGivenInTheirOrderWithTheirTrees) {
  const FakeProc processes(40);
  ProcessSampler sampler(processes.proc());
  auto pids = pids_from_one(40);
  std::ranges::reverse(pids);
  pids[5] = 0;
  const auto samples = sampler.sample_all(pids);
  ASSERT_EQ(samples.size(), 40U);
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  for (std::size_t i = 0; i < pids.size(); ++i) {
    if (pids[i] == 0) {
      EXPECT_THAT(samples[i], IsNull());
    } else {
      ASSERT_TRUE(samples[i]) << pids[i];
      // 25 pages more of each descendant.
      const int below = pids[i] <= 3 ? 10 : pids[i] == 4 ? 1 : 0;
      EXPECT_EQ(samples[i]->memory_bytes, page * static_cast<std::uint64_t>(pids[i] + 25 * below));
      EXPECT_TRUE(samples[i]->tree.starts_with(fmt::format("{} p{}\n", pids[i], pids[i])));
    }
  }
  EXPECT_EQ(samples[38]->tree.substr(0, 16), "2 p2\n  20 p20\n  ") << "with its children";
}

// 10 is the run's process, child of the keeper 5; 11 its child; 12 lost its parent; 13 left the session as well, and 14
// is its child; 15 is a stranger who lost its parent; 6 is another run.
void put_a_run_of_five(const FakeProc& processes) {
  processes.put(5, 1);
  processes.put(10, 5);
  processes.put(11, 10, 10);
  processes.put(12, 5, 10);
  processes.put(13, 5);
  processes.put(14, 13, 13);
  processes.put(15, 5);
  processes.put(6, 5);
  for (const int pid : {6, 10, 11, 12, 13, 14, 15}) processes.put_descriptors(pid, pid);
  processes.put_cgroup({10, 11, 12, 13, 14});
}

TEST(ProcessSampler, ARunIsMeasuredByAllOfItsProcesses) {
  for (const bool many : {true, false}) {
    const FakeProc processes(1);
    put_a_run_of_five(processes);
    ProcessSampler sampler(processes.proc(), ProcessSampler::kMinKept, processes.cgroups());
    const std::vector<std::int32_t> both{10, 6};
    const auto sample = many ? sampler.sample_all(both)[0] : sampler.sample(10);
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->descriptors, 10U + 11 + 12 + 13 + 14) << many;
    // One walk has the pages of stat, 25 each; one by one they are read from statm, as many as the pid.
    const std::uint64_t pages = many ? 10 + 4 * 25 : 10 + 11 + 12 + 13 + 14;
    EXPECT_EQ(sample->memory_bytes, pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))) << many;
    EXPECT_EQ(sampler.sample(6)->descriptors, 6U);
  }
}

TEST(ProcessSampler, WithoutACgroupSessionAndDescentTell) {
  const FakeProc processes(1);
  put_a_run_of_five(processes);
  ProcessSampler sampler(processes.proc(), ProcessSampler::kMinKept, platform::CgroupMembers("/nonexistent"));
  const std::vector<std::int32_t> both{10, 6};
  EXPECT_EQ(sampler.sample_all(both)[0]->descriptors, 10U + 11 + 12);
}

TEST(ProcessSampler, TheProcessorTimeOfAChildCountsFromItsBirthAndIsNotLostWithIt) {
  const FakeProc processes(1);
  processes.put(10, 5, 10, 100);
  processes.put(11, 10, 10, 700);
  ProcessSampler sampler(processes.proc(), ProcessSampler::kMinKept, processes.cgroups());
  const std::vector<std::int32_t> one{10};
  EXPECT_EQ(sampler.sample_all(one)[0]->cpu_percent, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a sample's life
  processes.end(11);
  processes.put(12, 10, 10, 300);
  const double percent = sampler.sample_all(one)[0]->cpu_percent;
  EXPECT_GT(percent, 0) << "12 is new";
  EXPECT_LT(percent, 400) << "3.5 s of processor time in more than a second";
}

TEST(ProcessSampler, WhoAsksAtTheSameTimeSharesOneWalk) {
  const FakeProc processes(60);
  ProcessSampler sampler(processes.proc());
  const auto pids = pids_from_one(60);
  std::vector<std::vector<ProcessSamplePtr>> answers(6);
  {
    std::vector<std::jthread> askers;
    for (auto& answer : answers) askers.emplace_back([&] { answer = sampler.sample_all(pids); });
  }
  for (const auto& answer : answers) EXPECT_EQ(answer, answers[0]) << "the very same samples";
  EXPECT_EQ(sampler.sample(37), answers[0][36]) << "one app's request is served by it too";
}

TEST(ProcessSampler, AProcessThatHasGoneHasNoSample) {
  const FakeProc processes(30);
  for (const std::int32_t gone : {3, 17}) processes.end(gone);
  ProcessSampler sampler(processes.proc());
  const auto samples = sampler.sample_all(pids_from_one(30));
  for (std::size_t i = 0; i < samples.size(); ++i) EXPECT_EQ(samples[i] == nullptr, i == 2 || i == 16) << i;
  EXPECT_THAT(sampler.sample(3), IsNull());
}

TEST(ProcessSampler, AFewAmongManyAreReadWithoutAWalk) {
  const FakeProc processes(60);
  ProcessSampler sampler(processes.proc());
  const std::vector<std::int32_t> pids{5, 50};
  const auto samples = sampler.sample_all(pids);
  ASSERT_TRUE(samples[0] && samples[1]);
  EXPECT_TRUE(samples[0]->tree.starts_with("5 p5\n"));
  EXPECT_EQ(samples[1]->tree, "50 p50\n");
}

TEST(ProcessSampler, WhatIsKeptIsBoundedHoweverManyProcessesThereWere) {
  const FakeProc processes(1);
  ProcessSampler sampler(processes.proc(), 16);
  ASSERT_TRUE(sampler.sample(1));
  for (std::int32_t pid = 2; pid < 100; ++pid) {
    processes.put(pid, 0);
    ASSERT_TRUE(sampler.sample_all(std::vector{pid})[0]);
    processes.end(pid);
  }
  EXPECT_LE(sampler.kept(), 2 * 16U);
}

}  // namespace
}  // namespace appmesh::api
