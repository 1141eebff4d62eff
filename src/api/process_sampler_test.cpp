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

  void put(std::int32_t pid, std::int32_t parent) const {
    std::filesystem::create_directory(folder_ / std::to_string(pid));
    std::ofstream(folder_ / fmt::format("{}/stat", pid)) << fmt::format(
        "{} (p{}) S {} 7 8 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 3 0 4711 1000000 25 0\n", pid, pid, parent);
    std::ofstream(folder_ / fmt::format("{}/statm", pid)) << fmt::format("100 {} 1 1 0 1 0\n", pid);
  }
  void end(std::int32_t pid) const { std::filesystem::remove_all(folder_ / std::to_string(pid)); }

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
      EXPECT_EQ(samples[i]->memory_bytes, page * static_cast<std::uint64_t>(pids[i]));
      EXPECT_TRUE(samples[i]->tree.starts_with(fmt::format("{} p{}\n", pids[i], pids[i])));
    }
  }
  EXPECT_EQ(samples[38]->tree.substr(0, 16), "2 p2\n  20 p20\n  ") << "with its children";
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
