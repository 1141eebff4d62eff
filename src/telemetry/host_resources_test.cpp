#include "telemetry/host_resources.h"

#include <chrono>
#include <fstream>

#include <gmock/gmock.h>
#include <unistd.h>

#include "telemetry/cgroup_limits.h"

namespace appmesh::telemetry {
namespace {

TEST(HostResources, EveryFieldOfTheContractIsThereWithItsType) {
  const HostResources resources({.home = "/home/x",
                                 .start_time = core::WallTime(std::chrono::seconds(1'700'000'000)),
                                 .description = [] { return std::string("described"); },
                                 .keeper_pid = [] { return pid_t{0}; }});
  const auto r = resources.collect();
  for (const auto* name : {"in_container",
                           "appmesh_version",
                           "os",
                           "architecture",
                           "host_name",
                           "os_user",
                           "net",
                           "cpu_cores",
                           "cpu_sockets",
                           "cpu_processors",
                           "cpu_effective_processors",
                           "cpu_quota_cores",
                           "cpu_source",
                           "memory_source",
                           "swap_source",
                           "cgroup_version",
                           "mem_available_bytes",
                           "mem_current_bytes",
                           "mem_swap_total_bytes",
                           "mem_swap_free_bytes",
                           "mem_swap_current_bytes",
                           "mem_applications",
                           "systime",
                           "appmesh_start_time",
                           "collected_at_unix_seconds"}) {
    EXPECT_TRUE(r.contains(name)) << name;
  }
  EXPECT_EQ(r.at("schema_version").as_int64(), 3);
  EXPECT_EQ(r.at("host_description").as_string(), "described");
  EXPECT_EQ(r.at("home").as_string(), "/home/x");
  EXPECT_EQ(r.at("pid").as_int64(), ::getpid());
  EXPECT_EQ(r.at("appmesh_start_time_unix_seconds").as_int64(), 1'700'000'000);
  EXPECT_GT(r.at("mem_total_bytes").to_number<std::uint64_t>(), 1'000'000u);
  EXPECT_GT(r.at("mem_daemon_process_tree_bytes").to_number<std::uint64_t>(), 100'000u);
  EXPECT_GT(r.at("fd").to_number<std::uint64_t>(), 2u);
  EXPECT_GE(r.at("load").at("1min").to_number<double>(), 0.0);
  EXPECT_FALSE(r.at("fs").as_array().empty());
  EXPECT_TRUE(r.at("collector_errors").as_array().empty());
}

TEST(HostResources, WhatCannotBeReadIsNamedAndTheRestIsStillThere) {
  const HostResources resources(
      {.home = "/", .start_time = {}, .description = {}, .keeper_pid = {}, .proc = "/nonexistent"});
  const auto r = resources.collect();
  EXPECT_FALSE(r.at("collector_errors").as_array().empty());
  EXPECT_TRUE(r.at("net").is_array());
}

class CgroupLimitsTest : public testing::Test {
 protected:
  CgroupLimitsTest() {
    char name[] = "/tmp/appmesh-cgroup-XXXXXX";
    root_ = ::mkdtemp(name);
  }
  ~CgroupLimitsTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  void write(const std::string& file, const std::string& text) const {
    const auto path = root_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }
  [[nodiscard]] CgroupUsage read() const { return read_cgroup_usage(root_ / "cgroup", root_ / "mountinfo", root_); }

  std::filesystem::path root_;
};

TEST_F(CgroupLimitsTest, TheSmallestLimitOnTheWayToTheRootHoldsInVersionTwo) {
  write("cgroup", "0::/outer/inner");
  write("mountinfo", "30 20 0:26 / /cg rw - cgroup2 cgroup2 rw");
  write("cg/outer/memory.max", "1000000");
  write("cg/outer/inner/memory.max", "max");
  write("cg/outer/inner/memory.current", "4096");
  write("cg/outer/cpu.max", "max 100000");
  write("cg/outer/inner/cpu.max", "150000 100000");
  const auto usage = read();
  EXPECT_EQ(usage.version, 2);
  EXPECT_EQ(usage.memory_limit_bytes, 1'000'000u);
  EXPECT_EQ(usage.memory_current_bytes, 4096u);
  EXPECT_DOUBLE_EQ(usage.cpu_quota_cores.value_or(0), 1.5);
  EXPECT_FALSE(usage.swap_limit_bytes);
}

TEST_F(CgroupLimitsTest, VersionOneIsReadWhereItsControllersAreMounted) {
  write("cgroup", "5:memory:/app\n4:cpu,cpuacct:/app");
  write("mountinfo", "30 20 0:26 / /m rw - cgroup cgroup rw,memory\n31 20 0:27 / /c rw - cgroup cgroup rw,cpu,cpuacct");
  write("m/app/memory.limit_in_bytes", "2000000");
  write("m/memory.limit_in_bytes", "9223372036854771712");
  write("m/app/memory.usage_in_bytes", "10");
  write("m/app/memory.memsw.limit_in_bytes", "3000000");
  write("c/app/cpu.cfs_quota_us", "-1");
  write("c/cpu.cfs_quota_us", "50000");
  write("c/cpu.cfs_period_us", "100000");
  const auto usage = read();
  EXPECT_EQ(usage.version, 1);
  EXPECT_EQ(usage.memory_limit_bytes, 2'000'000u);
  EXPECT_EQ(usage.swap_limit_bytes, 1'000'000u);
  EXPECT_DOUBLE_EQ(usage.cpu_quota_cores.value_or(0), 0.5);
}

TEST_F(CgroupLimitsTest, AHostWithoutCgroupsHasNoLimits) {
  EXPECT_EQ(read().version, 0);
}

}  // namespace
}  // namespace appmesh::telemetry
