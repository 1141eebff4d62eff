#include "cli/table.h"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include "cli/app_table.h"

namespace appmesh::cli {
namespace {

App app_of(const char* json) {
  return App(boost::json::parse(json).get_object());
}

TEST(Table, AlignsItsColumnsAndShowsNothingAsADash) {
  Table table({{"ID"}, {"NAME"}, {"END"}});
  table.add({{"0"}, {"long-name"}, {"x"}});
  table.add({{"10"}, {""}});
  EXPECT_EQ(table.render(std::nullopt, false), "ID NAME      END\n0  long-name x\n10 -         -\n");
}

TEST(Table, CutsFromTheLastColumnOnUntilALineFits) {
  Table table({{"ID"}, {"NAME", 4}, {"COMMAND", 5}});
  table.add({{"0"}, {"abcdefgh"}, {"0123456789"}});
  EXPECT_EQ(table.render(80, false), "ID NAME     COMMAND\n0  abcdefgh 0123456789\n");
  EXPECT_EQ(table.render(19, false), "ID NAME     COMMAND\n0  abcdefgh 012345*\n");
  EXPECT_EQ(table.render(14, false), "ID NAME  COMM*\n0  abcd* 0123*\n");
  EXPECT_EQ(table.render(3, false), "ID NAME COMM*\n0  abc* 0123*\n");
}

TEST(Table, CountsCharactersNotBytesAndNeverCutsOneInTwo) {
  Table table({{"N", 3}, {"X"}});
  table.add({{"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f"}, {"1"}});
  EXPECT_EQ(table.render(5, false), "N   X\n\xc3\xa4\xc3\xb6* 1\n");
}

TEST(Table, ColoursOnlyWhenAskedAndKeepsTheAlignment) {
  Table table({{"A"}, {"B"}});
  table.add({{"ok", Style::kGood}, {"x"}});
  EXPECT_EQ(table.render(std::nullopt, false), "A  B\nok x\n");
  EXPECT_EQ(table.render(std::nullopt, true), "\033[1mA\033[0m  \033[1mB\033[0m\n\033[32mok\033[0m x\n");
}

TEST(Table, ACellCannotWriteToTheTerminal) {
  Table table({{"A"}});
  table.add({{"\x1b]0;title\x07\nnext"}});
  EXPECT_EQ(table.render(std::nullopt, false), "A\n?]0;title? next\n");
}

TEST(AppTable, HasTheColumnsOfTheContract) {
  const std::string text = app_table({}, 0, false).render(std::nullopt, false);
  EXPECT_EQ(text, "ID NAME OWNER STATUS HEALTH PID USER MEMORY %CPU RETURN AGE DURATION STARTS COMMAND\n");
}

TEST(AppTable, ShowsARunningAStoppedAndAnOnDemandApp) {
  const std::vector<App> apps{
      app_of(R"({"name":"web","owner":"admin","status":1,"health":0,"pid":77,"pid_user":"www","memory":2097152,
                 "cpu":1.25,"register_time":1000,"last_start_time":1900,"starts":3,"command":"nginx"})"),
      app_of(R"({"name":"job","status":0,"health":1,"return_code":-9,"register_time":1000,"last_start_time":1100,
                 "last_exit_time":1161,"starts":1,"command":"sh"})"),
      app_of(R"({"name":"once","status":2,"health":1,"docker_image":"busybox","command":"ls"})"),
  };
  EXPECT_EQ(app_table(apps, 2000, false).render(std::nullopt, false),
            "ID NAME OWNER STATUS   HEALTH PID USER MEMORY %CPU RETURN AGE    DURATION STARTS COMMAND\n"
            "0  web  admin enabled  OK     77  www  2.0Mi  1.2  -      16m40s 1m40s    3      nginx\n"
            "1  job  -     disabled -      -   -    -      -    -9     16m40s 1m1s     1      sh\n"
            "2  once -     N/A      -      -   -    -      -    -      -      -        -      docker:busybox ls\n");
}

TEST(AppTable, WideShowsWhyAnAppDoesNotRun) {
  const std::string text =
      app_table({app_of(R"({"name":"a","status":1,"health":1,"last_error":"then no such command"})")}, 0, true)
          .render(std::nullopt, false);
  EXPECT_NE(text.find("then no such command"), std::string::npos);
  EXPECT_NE(text.find("unhealthy"), std::string::npos);
}

}  // namespace
}  // namespace appmesh::cli
