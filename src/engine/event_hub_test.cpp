#include "engine/event_hub.h"

#include <fstream>
#include <functional>

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include "platform/test_directory.h"

namespace appmesh::engine {
namespace {

class Told : public EventSink {
 public:
  bool take(const EventPtr& event, const std::string& subscription) override {
    if (!open) return false;
    events.push_back(boost::json::parse("{" + event->members).as_object());
    subscriptions.push_back(subscription);
    if (on_take) on_take();
    return true;
  }
  bool is_behind() const override { return behind; }
  bool is_open() const override { return open; }
  void ended(const std::string& subscription) override { ended_ones.push_back(subscription); }

  std::string order() const {
    std::string text;
    for (const auto& event : events)
      text += (text.empty() ? "" : " ") + std::string(event.at("event_type").as_string());
    return text;
  }
  std::string output() const {
    std::string text;
    for (const auto& event : events)
      if (event.at("event_type") == "STDOUT") text += event.at("data").at("output").as_string();
    return text;
  }

  bool open = true, behind = false;
  std::function<void()> on_take;
  std::vector<boost::json::object> events;
  std::vector<std::string> subscriptions, ended_ones;
};

class EventHubTest : public testing::Test {
 protected:
  EventApp app(const std::string& name, std::uint64_t generation = 1) {
    core::AppDefinition definition;
    definition.name = name;
    return {std::make_shared<const core::AppDefinition>(std::move(definition)), generation};
  }
  // The app is there, and a run of it writes.
  EventRun begin(const std::string& name, core::RunNumber number = 1) {
    const EventRun run{runtime::RunId::random(), number};
    apps[name] = app(name);
    write(name, number, "");
    watch.add(run.id, name, number);
    live[name].push_back(run);
    hub.started(apps[name], run, {{"pid", 1}});
    return run;
  }
  void end(const std::string& name, const EventRun& run) {
    std::erase_if(live[name], [&](const EventRun& each) { return each.id == run.id; });
    watch.remove(run.id);
    hub.gone(apps[name], run, boost::json::object{{"exit_code", 0}});
  }
  void write(const std::string& name, core::RunNumber number, const std::string& text) {
    std::ofstream(outputs.path(name, number), std::ios::app) << text;
  }
  Result<> subscribe(const std::shared_ptr<Told>& sink, const std::string& id, const std::string& name,
                     const std::string& events = "") {
    return hub.subscribe({.id = id, .app = name, .user = "u", .mask = *EventMask::parse(events), .sink = sink});
  }
  void run_until(const std::function<bool()>& done) {
    context.restart();
    for (int turns = 0; !done() && turns < 100'000; ++turns) context.run_one_for(std::chrono::seconds(10));
    ASSERT_TRUE(done());
  }

  platform::TestDirectory directory;
  boost::asio::io_context context;
  Timers timers{context};
  runtime::OutputFiles outputs{directory.path()};
  OutputWatch watch{context, timers, outputs, 1ULL << 30};
  std::map<std::string, EventApp> apps;
  std::map<std::string, std::vector<EventRun>> live;
  EventHub hub{context,
               timers,
               watch,
               outputs,
               {.apps =
                    [this] {
                      std::vector<EventApp> all;
                      for (const auto& [name, one] : apps) all.push_back(one);
                      return all;
                    },
                .app = [this](const std::string& name) -> std::optional<EventApp> {
                  const auto found = apps.find(name);
                  return found == apps.end() ? std::nullopt : std::optional(found->second);
                },
                .runs = [this](const std::string& name) { return live[name]; }},
               {.subscriptions = 4, .of_one_sink = 3, .piece_bytes = 16, .coalesce = std::chrono::milliseconds(1)}};
  std::shared_ptr<Told> told = std::make_shared<Told>();
};

TEST(EventMask, NamesAndNothingElse) {
  EXPECT_EQ(EventMask::parse("")->names().size(), 6U);
  EXPECT_EQ(EventMask::parse("START, ALL")->names().size(), 6U);
  EXPECT_EQ(EventMask::parse("EXIT,nonsense,,START")->names(), (std::vector<std::string_view>{"START", "EXIT"}));
  EXPECT_FALSE(EventMask::parse("start"));
  EXPECT_FALSE(EventMask::parse(","));
}

TEST_F(EventHubTest, TheLastOutputComesBeforeTheExitInPiecesAndInOrder) {
  apps["a"] = app("a");
  ASSERT_TRUE(subscribe(told, "s", "a"));
  const auto run = begin("a");
  write("a", 1, std::string(100, 'x') + "end");
  end("a", run);
  hub.tell(apps["a"], EventKind::status, {{"status", "disabled"}});
  run_until([&] { return told->order().ends_with("STATUS"); });
  EXPECT_EQ(told->output(), std::string(100, 'x') + "end");
  EXPECT_TRUE(told->order().starts_with("START STDOUT"));
  EXPECT_TRUE(told->order().ends_with("STDOUT EXIT STATUS")) << "what happens meanwhile waits";
  const auto& last = told->events[told->events.size() - 3].at("data");
  EXPECT_TRUE(last.at("finished").as_bool());
  std::int64_t sequence = 0;
  for (const auto& event : told->events) {
    EXPECT_GT(event.at("sequence").as_int64(), sequence);
    sequence = event.at("sequence").as_int64();
  }
}

TEST_F(EventHubTest, AQuietRunStillEndsItsOutput) {
  apps["a"] = app("a");
  ASSERT_TRUE(subscribe(told, "s", "a", "STDOUT,EXIT"));
  end("a", begin("a"));
  run_until([&] { return told->order() == "STDOUT EXIT"; });
  EXPECT_TRUE(told->events.front().at("data").at("finished").as_bool());
}

TEST_F(EventHubTest, OutputIsToldWhileItIsWrittenAndOldOutputIsNot) {
  begin("a");
  write("a", 1, "old");
  ASSERT_TRUE(subscribe(told, "s", "a", "STDOUT"));
  write("a", 1, "new");
  run_until([&] { return told->output() == "new"; });
  EXPECT_EQ(told->events.front().at("data").at("position").as_int64(), 3);
  const auto later = std::make_shared<Told>();
  write("a", 1, "!");
  ASSERT_TRUE(subscribe(later, "t", "", "STDOUT"));
  run_until([&] { return told->output() == "new!"; });
  EXPECT_EQ(later->output(), "") << "written before it came";
}

TEST_F(EventHubTest, WhoComesRightAfterTheLastFollowerLeftIsToldTheOutput) {
  const auto first = std::make_shared<Told>();
  const auto second = std::make_shared<Told>();
  const EventRun other = begin("a");
  ASSERT_TRUE(subscribe(first, "s1", "a"));
  write("a", 1, "one");
  run_until([&] { return first->output() == "one"; });
  ASSERT_TRUE(hub.unsubscribe("s1", "u"));
  ASSERT_TRUE(subscribe(second, "s2", "a"));  // nothing has noticed yet that nobody followed
  write("a", 1, "two");
  end("a", other);
  run_until([&] { return second->order().ends_with("EXIT"); });
  EXPECT_EQ(second->output(), "two");
}

TEST_F(EventHubTest, AFileThatIsRemovedIsReadToItsEnd) {
  apps["a"] = app("a");
  ASSERT_TRUE(subscribe(told, "s", "a", "STDOUT,REMOVED"));
  const auto run = begin("a");
  write("a", 1, "last words");
  end("a", run);
  outputs.remove("a", 1);
  hub.removed(apps["a"]);
  run_until([&] { return told->order().ends_with("REMOVED"); });
  EXPECT_EQ(told->output(), "last words");
  EXPECT_EQ(told->ended_ones, std::vector<std::string>{"s"});
  EXPECT_EQ(hub.subscriptions(), 0U);
}

TEST_F(EventHubTest, AnAppOfTheSameNameIsAnotherOne) {
  begin("a");
  ASSERT_TRUE(subscribe(told, "old", "a", "STATUS,REMOVED"));
  ASSERT_TRUE(subscribe(told, "all", "", "STATUS,REMOVED"));
  hub.removed(apps["a"]);
  apps["a"] = app("a", 2);
  hub.tell(apps["a"], EventKind::status, {});
  EXPECT_EQ(told->order(), "REMOVED REMOVED STATUS");
  EXPECT_EQ(told->subscriptions.back(), "all");
}

TEST_F(EventHubTest, OnlyThoseWhoAskedAreTold) {
  apps["a"] = app("a");
  apps["b"] = app("b");
  ASSERT_TRUE(subscribe(told, "s", "a", "HEALTH"));
  hub.tell(apps["a"], EventKind::status, {});
  hub.tell(apps["b"], EventKind::health, {});
  EXPECT_EQ(told->order(), "");
  hub.tell(apps["a"], EventKind::health, {});
  EXPECT_EQ(told->order(), "HEALTH");
  EXPECT_FALSE(hub.unsubscribe("s", "another user"));
  EXPECT_TRUE(hub.unsubscribe("s", "u"));
  EXPECT_FALSE(hub.unsubscribe("s", "u"));
  hub.tell(apps["a"], EventKind::health, {});
  EXPECT_EQ(told->events.size(), 1U);
}

TEST_F(EventHubTest, ASinkThatTakesNothingMoreLosesAllItsSubscriptions) {
  apps["a"] = app("a");
  const auto other = std::make_shared<Told>();
  ASSERT_TRUE(subscribe(told, "s", "a"));
  ASSERT_TRUE(subscribe(told, "t", ""));
  ASSERT_TRUE(subscribe(other, "o", "a"));
  told->open = false;
  hub.tell(apps["a"], EventKind::status, {});
  EXPECT_EQ(hub.subscriptions(), 1U);
  EXPECT_EQ(other->order(), "STATUS");
  EXPECT_FALSE(subscribe(told, "u", "a"));
  hub.drop(other.get());
  EXPECT_EQ(hub.subscriptions(), 0U);
}

TEST_F(EventHubTest, OutputWaitsWhileEverybodyIsBehindAndGoesOnAfter) {
  apps["a"] = app("a");
  ASSERT_TRUE(subscribe(told, "s", "a", "STDOUT,EXIT"));
  told->behind = true;
  const auto run = begin("a");
  write("a", 1, std::string(500, 'x'));
  end("a", run);
  for (int i = 0; i < 5; ++i) context.run_one_for(std::chrono::milliseconds(15));
  EXPECT_EQ(told->order(), "");
  told->behind = false;
  run_until([&] { return told->order().ends_with("EXIT"); });
  EXPECT_EQ(told->output().size(), 500U);
}

TEST_F(EventHubTest, SubscriptionsAreBounded) {
  apps["a"] = app("a");
  const auto other = std::make_shared<Told>();
  for (const auto* id : {"1", "2", "3"}) EXPECT_TRUE(subscribe(told, id, "a"));
  EXPECT_FALSE(subscribe(told, "4", "a")) << "of one sink";
  EXPECT_TRUE(subscribe(other, "4", "a"));
  EXPECT_FALSE(subscribe(other, "5", "a")) << "of all";
  EXPECT_FALSE(subscribe(other, "6", "no such app"));
}

}  // namespace
}  // namespace appmesh::engine
