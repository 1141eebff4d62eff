#include "platform/process.h"

#include <sys/prctl.h>

#include <gmock/gmock.h>

#include "platform/clock.h"
#include "platform/file.h"
#include "platform/process_table.h"
#include "platform/test_child.h"
#include "platform/test_directory.h"

namespace appmesh::platform {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

void put(const std::filesystem::path& path, std::string_view content) {
  ASSERT_TRUE(make_dirs(path.parent_path(), 0755));
  ASSERT_TRUE(write_file_atomic(path, content, 0644));
}

std::string stat_line(int pid, const std::string& name, int ppid, char state = 'S') {
  return std::to_string(pid) + " (" + name + ") " + state + " " + std::to_string(ppid) +
         " 7 8 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 3 0 4711 1000000 25 18446744073709551615 0 0 0 0 0\n";
}

TEST(ProcFs, ReadsThisProcess) {
  const ProcFs proc;
  const auto stat = proc.stat(::getpid());
  ASSERT_TRUE(stat) << stat.error().message;
  EXPECT_EQ(stat->pid, ::getpid());
  EXPECT_EQ(stat->ppid, ::getppid());
  EXPECT_EQ(stat->process_group, ::getpgrp());
  EXPECT_GT(stat->start_ticks, 0U);
  EXPECT_GT(stat->rss_bytes, 100'000U);
  EXPECT_FALSE(stat->kernel_thread);
  EXPECT_EQ(proc.effective_uid(::getpid()).value(), ::geteuid());
  EXPECT_THAT(proc.command_line(::getpid()).value(), HasSubstr("platform_test"));
  const auto started = proc.boot_time().value() + std::chrono::seconds{stat->start_ticks / ticks_per_second()};
  EXPECT_LE(started, wall_now() + std::chrono::seconds{2});
  EXPECT_GT(started, wall_now() - std::chrono::hours{24});
}

TEST(ProcFs, CountsOpenDescriptors) {
  const ProcFs proc;
  const auto before = proc.open_descriptors(::getpid()).value();
  const auto fd = open_directory("/").value();
  EXPECT_EQ(proc.open_descriptors(::getpid()).value(), before + 1);
}

TEST(ProcFs, AProcessNameWithParenthesesAndSpacesIsReadRight) {
  const TestDirectory dir;
  put(dir / "12/stat", stat_line(12, "a) R 1 (b", 5, 'Z'));
  const auto stat = ProcFs{dir.path()}.stat(12);
  ASSERT_TRUE(stat) << stat.error().message;
  EXPECT_EQ(stat->name, "a) R 1 (b");
  EXPECT_EQ(stat->ppid, 5);
  EXPECT_TRUE(stat->is_zombie());
  EXPECT_EQ(stat->cpu_ticks, 200U);
  EXPECT_EQ(stat->threads, 3U);
  EXPECT_EQ(stat->start_ticks, 4711U);
  EXPECT_EQ(stat->rss_bytes, 25U * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
}

TEST(ProcFs, BrokenStatFilesAreErrors) {
  const TestDirectory dir;
  const ProcFs proc{dir.path()};
  for (const char* text :
       {"", "1", "(x) S 1", ")1 (", "1 (x) S 1 2", "x (y) S 1 7 8 0 -1 4 1 2 3 4 1 5 0 0 2 0 3 0 4 1 2"}) {
    put(dir / "1/stat", text);
    EXPECT_FALSE(proc.stat(1)) << text;
  }
}

TEST(ProcFs, AProcessThatIsGoneIsNotFound) {
  TestChild child{{"true"}};
  const pid_t pid = child.pid();
  (void)child.wait();
  const ProcFs proc;
  EXPECT_EQ(proc.stat(pid).error().kind, ErrorKind::not_found);
  EXPECT_EQ(proc.effective_uid(pid).error().kind, ErrorKind::not_found);
  EXPECT_EQ(proc.open_descriptors(pid).error().kind, ErrorKind::not_found);
  EXPECT_EQ(pidfd_open(pid).error().kind, ErrorKind::not_found);
}

TEST(ProcFs, ReadsAVariableByItsWholeName) {
  const TestDirectory dir;
  using namespace std::string_view_literals;
  put(dir / "7/environ", "PATH=/bin\0APP_MESH_PROCESS_KEY_OLD=no\0APP_MESH_PROCESS_KEY=a=b\0EMPTY=\0NOVALUE\0LAST=z"sv);
  const ProcFs proc{dir.path()};
  EXPECT_EQ(proc.environment_variable(7, {"APP_MESH_PROCESS_KEY"}).value(), "a=b");
  EXPECT_EQ(proc.environment_variable(7, {"APP_MESH_PROCESS"}).value(), std::nullopt);
  EXPECT_EQ(proc.environment_variable(7, {"NOVALUE"}).value(), std::nullopt);
  EXPECT_EQ(proc.environment_variable(7, {"EMPTY"}).value(), "");
  EXPECT_EQ(proc.environment_variable(7, {"LAST"}).value(), "z");
  EXPECT_EQ(proc.environment_variable(7, {"NOWHERE", "LAST", "APP_MESH_PROCESS_KEY"}).value(), "z");
  EXPECT_TRUE(ProcFs{}.environment_variable(::getpid(), {"PATH"}).value());
}

TEST(ProcFs, TreeShowsDescendantsIndentedAndInOrder) {
  const TestDirectory dir;
  put(dir / "10/stat", stat_line(10, "root", 1));
  put(dir / "12/stat", stat_line(12, "second", 10));
  put(dir / "11/stat", stat_line(11, "first", 10));
  put(dir / "13/stat", stat_line(13, "leaf", 11));
  put(dir / "14/stat", stat_line(14, "stranger", 1));
  const ProcFs proc{dir.path()};
  EXPECT_EQ(proc.tree_text(10).value(), "10 root\n  11 first\n    13 leaf\n  12 second\n");
  EXPECT_EQ(proc.tree_text(10, 2).value(), "10 root\n  11 first\n… 2 more\n");
  EXPECT_FALSE(proc.tree_text(99));
}

TEST(ProcFs, ATreeThatSeemsToBeACycleEnds) {
  const TestDirectory dir;
  put(dir / "10/stat", stat_line(10, "a", 11));
  put(dir / "11/stat", stat_line(11, "b", 10));
  EXPECT_THAT(ProcFs{dir.path()}.tree_text(10).value(), StartsWith("10 a\n  11 b\n"));
}

TEST(ProcessTable, AnswersAboutManyFromOneWalk) {
  const TestDirectory dir;
  put(dir / "10/stat", stat_line(10, "root", 1));
  put(dir / "12/stat", stat_line(12, "second", 10));
  put(dir / "11/stat", stat_line(11, "first", 10));
  put(dir / "13/stat", stat_line(13, "leaf", 11));
  const ProcFs proc{dir.path()};
  const ProcessTable table{proc.list_processes().value()};
  EXPECT_EQ(table.size(), 4U);
  EXPECT_EQ(table.tree_text(10, 100).value(), proc.tree_text(10).value());
  EXPECT_EQ(table.tree_text(11, 100).value(), "11 first\n  13 leaf\n");
  EXPECT_EQ(table.find(12)->name, "second");
  EXPECT_EQ(table.find(14), nullptr);
  EXPECT_EQ(table.tree_text(14, 100).error().kind, ErrorKind::not_found);
}

TEST(ProcFs, BootIdIsTrimmed) {
  EXPECT_EQ(ProcFs{}.boot_id().value().size(), 36U);
}

TEST(Pidfd, SignalsItsProcessAndNobodyAfterIt) {
  TestChild child{{"sleep", "600"}};
  const auto start = ProcFs{}.stat(child.pid()).value().start_ticks;
  EXPECT_EQ(pidfd_open_checked(ProcFs{}, child.pid(), start + 1).error().kind, ErrorKind::not_found);
  const auto fd = pidfd_open_checked(ProcFs{}, child.pid(), start);
  ASSERT_TRUE(fd) << fd.error().message;
  EXPECT_TRUE(pidfd_send_signal(fd->get(), 0));
  EXPECT_TRUE(pidfd_send_signal(fd->get(), SIGTERM));
  EXPECT_EQ(WTERMSIG(child.wait()), SIGTERM);
  EXPECT_EQ(pidfd_send_signal(fd->get(), SIGTERM).error().kind, ErrorKind::not_found);
}

}  // namespace
}  // namespace appmesh::platform
