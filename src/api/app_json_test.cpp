#include "api/app_json.h"

#include <fstream>

#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "platform/test_directory.h"
#include "platform/time_zone.h"

namespace appmesh::api {
namespace {

class AppText : public testing::Test {
 protected:
  static engine::AppView view(std::string description) {
    core::AppDefinition definition;
    definition.name = "app";
    definition.command = "sleep 100";
    definition.description = std::move(description);
    definition.register_time = 1'700'000'000;
    engine::AppView view;
    view.definition = std::make_shared<const core::AppDefinition>(std::move(definition));
    view.tasks = std::make_shared<engine::TaskQueue>(std::make_shared<engine::TaskBudget>());
    view.pid = 42;
    view.run_number = 7;
    view.run_id = "run";
    return view;
  }
  void write_output(std::string_view text) const { std::ofstream(outputs_.path("app", 7), std::ios::app) << text; }

  [[nodiscard]] boost::json::object shown(const engine::AppView& view, const ProcessSample* sample = nullptr,
                                          std::string_view zone = "") const {
    const std::string text = app_text(view, sample, outputs_, TimeText(platform::load_zone(zone).value()), Keep::yes);
    return boost::json::parse(text).as_object();
  }

  platform::TestDirectory folder_;
  runtime::OutputFiles outputs_{folder_.path()};
};

TEST_F(AppText, TheSecondAnswerOfAPictureIsTheFirstOne) {
  const engine::AppView app = view("first");
  const auto first = shown(app);
  EXPECT_EQ(shown(app), first);
  EXPECT_NE(app.shown.get(), nullptr);
  EXPECT_EQ(first.at("description"), "first");
  EXPECT_EQ(first.at("task_status"), "idle");
}

TEST_F(AppText, AnotherPictureIsShownAtOnce) {
  const engine::AppView before = view("before");
  static_cast<void>(shown(before));
  engine::AppView after(before);  // a copy has nothing written of it
  EXPECT_EQ(after.shown.get(), nullptr);
  after.pid = 0;
  after.return_code = 3;
  const auto json = shown(after);
  EXPECT_EQ(json.at("return_code"), 3);
  EXPECT_FALSE(json.contains("pid") || json.contains("task_status"));
}

TEST_F(AppText, TheSampleAndTheTasksAreThoseOfTheMoment) {
  const engine::AppView app = view("x");
  EXPECT_FALSE(shown(app).contains("memory"));
  ProcessSample sample{
      .memory_bytes = 4096, .cpu_percent = 12.345, .descriptors = 5, .user = "o\"brien", .tree = "42 a\n  43 b\n"};
  auto json = shown(app, &sample);
  EXPECT_EQ(json.at("memory"), 4096);
  EXPECT_NEAR(json.at("cpu").to_number<double>(), 12.345, 0.006);
  EXPECT_EQ(json.at("fd"), 5);
  EXPECT_EQ(json.at("pid_user"), "o\"brien");
  EXPECT_EQ(json.at("pstree"), "42 a\n  43 b\n");
  sample.memory_bytes = 8192;
  EXPECT_EQ(shown(app, &sample).at("memory"), 8192);
}

TEST_F(AppText, AnotherZoneIsShownAtOnce) {
  const engine::AppView app = view("x");
  EXPECT_EQ(shown(app, nullptr, "").at("register_time_TEXT"), "2023-11-14T22:13:20+00");
  EXPECT_EQ(shown(app, nullptr, "Asia/Shanghai").at("register_time_TEXT"), "2023-11-15T06:13:20+08");
  EXPECT_EQ(shown(app, nullptr, "").at("register_time_TEXT"), "2023-11-14T22:13:20+00");
}

TEST_F(AppText, TheSizeOfTheOutputOfAnEndedRunIsThatOfNow) {
  engine::AppView app = view("x");
  app.pid = 0;
  write_output("1234");
  EXPECT_EQ(shown(app).at("stdout_cache_size"), 4);
  write_output("567");
  EXPECT_EQ(shown(app).at("stdout_cache_size"), 7);
}

TEST_F(AppText, MembersAreAddedToAnObjectThatStaysOne) {
  std::string object = R"({"a":1})";
  add_member(object, "b\"", boost::json::string("c"));
  EXPECT_EQ(object, R"({"a":1,"b\"":"c"})");
}

}  // namespace
}  // namespace appmesh::api
