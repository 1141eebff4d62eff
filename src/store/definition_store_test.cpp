#include "store/definition_store.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <signal.h>

#include "platform/file.h"
#include "platform/random.h"
#include "platform/test_directory.h"
#include "store/yaml.h"

namespace appmesh::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

core::AppDefinition definition_of(const std::string& json) {
  auto parsed = core::parse_definition(boost::json::parse(json).as_object());
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed->definition;
}

class DefinitionStoreTest : public testing::Test {
 protected:
  std::unique_ptr<DefinitionStore> open() {
    auto store = DefinitionStore::open(dir / "apps", box);
    EXPECT_TRUE(store->make_folder());
    return store;
  }
  void write(const std::string& file, std::string_view text) {
    ASSERT_TRUE(platform::make_dirs(dir / "apps", 0700));
    ASSERT_TRUE(platform::write_file_atomic(dir / ("apps/" + file), text, 0644));
  }
  std::string file(const std::string& name) {
    return platform::read_file(dir / ("apps/" + name), 1'000'000).value_or("");
  }
  static Result<void> save(DefinitionStore& store, core::AppDefinition definition) {
    Result<void> outcome = fail(ErrorKind::internal, "not called");
    store.save(std::make_shared<const core::AppDefinition>(std::move(definition)),
               [&](Result<void> done) { outcome = std::move(done); });
    store.flush();
    return outcome;
  }
  static std::string text_of(const DefinitionStore::Refused& refused) {
    const std::string line = refused.line == 0 ? "" : "line " + std::to_string(refused.line) + ": ";
    return refused.file.filename().string() + ": " + line + refused.error.message;
  }
  // The message for the one file that is refused.
  std::string refusal() {
    const auto loaded = open()->load_all();
    if (loaded.refused.size() != 1) return std::to_string(loaded.refused.size()) + " files refused";
    return text_of(loaded.refused[0]);
  }
  platform::TestDirectory dir;
  SecretBox box = SecretBox::open(dir / "key").value();
};

TEST_F(DefinitionStoreTest, WhatIsSavedIsLoadedEqual) {
  auto definition = definition_of(R"({
    "name": "web", "command": "echo \"a\"\nsleep 1\n", "shell": true, "description": "no: 1", "metadata": {"x": [1, 2.5, "0123", null, {}]},
    "env": {"A": "0123", "B": "true", "C": "", "D": "multi\nline", "É": "ü"}, "sec_env": {"TOKEN": "s3cret", "EMPTY": ""},
    "behavior": {"exit": "keepalive", "control": {"1": "standby", "-9": "restart"}, "leftovers": "leave"}, "permission": 11,
    "daily_limitation": {"daily_start": 3600, "daily_end": 7200}, "resource_limit": {"memory_mb": 10, "memory_virt_mb": 20, "pids": 5},
    "retention": "PT5M", "start_interval_seconds": "0 */5 * * * *", "cron": true, "depends_on": {"db": "ready"}, "stdout_cache_num": 3,
    "readiness": {"by": "log", "pattern": "^123$", "timeout_seconds": 4}, "instances": 2, "version": 7, "status": 0, "working_dir": "/tmp"})");
  definition.owner = "alice";
  definition.register_time = 1'700'000'000;
  ASSERT_TRUE(save(*open(), definition));
  const auto loaded = open()->load_all();
  EXPECT_THAT(loaded.refused, IsEmpty()) << file("web.yaml");
  ASSERT_EQ(loaded.definitions.size(), 1U);
  EXPECT_EQ(loaded.definitions[0], definition) << file("web.yaml");
}

TEST_F(DefinitionStoreTest, SecretsAreNeverOnDiskInPlainAndFilesAreTheOwnersOnly) {
  auto definition = definition_of(R"({"name": "a", "command": "true", "sec_env": {"TOKEN": "s3cret-value"}})");
  definition.owner = "alice";
  ASSERT_TRUE(save(*open(), definition));
  EXPECT_THAT(file("a.yaml"), HasSubstr("TOKEN: \"sealed:v1:"));
  EXPECT_THAT(file("a.yaml"), Not(HasSubstr("s3cret-value")));
  struct stat info{};
  ASSERT_EQ(::stat((dir / "apps/a.yaml").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
}

TEST_F(DefinitionStoreTest, APlainSecretOfAHandWrittenFileIsAcceptedAndSealedAtTheNextSave) {
  write("a.yaml", "command: sleep 5\nowner: bob\nsec_env:\n  PIN: 0042\n");
  auto store = open();
  auto loaded = store->load_all();
  ASSERT_EQ(loaded.definitions.size(), 1U) << loaded.refused.at(0).error.message;
  EXPECT_EQ(loaded.definitions[0].name, "a");
  EXPECT_EQ(loaded.definitions[0].sec_env->at("PIN"), "0042");
  ASSERT_TRUE(save(*store, loaded.definitions[0]));
  EXPECT_THAT(file("a.yaml"), HasSubstr("PIN: \"sealed:v1:"));
  EXPECT_EQ(store->load_all().definitions.at(0).sec_env->at("PIN"), "0042");
}

TEST_F(DefinitionStoreTest, ASealedSecretCannotBeMovedToAnotherOwner) {
  auto definition = definition_of(R"({"name": "a", "command": "true", "sec_env": {"TOKEN": "x"}})");
  definition.owner = "alice";
  ASSERT_TRUE(save(*open(), definition));
  std::string text = file("a.yaml");
  text.replace(text.find("alice"), 5, "mallory");
  write("a.yaml", text);
  EXPECT_THAT(refusal(), HasSubstr("sec_env.TOKEN: the sealed value"));
}

TEST_F(DefinitionStoreTest, NumbersInTextFieldsOfAHandWrittenFileAreTexts) {
  write("a.yaml",
        "command: 123\ndescription: true\nstart_interval_seconds: 10\nenv: {ZIP: 01234, FLAG: true, N: 1.10}\n");
  const auto loaded = open()->load_all();
  ASSERT_EQ(loaded.definitions.size(), 1U) << loaded.refused.at(0).error.message;
  EXPECT_EQ(loaded.definitions[0].command, "123");
  EXPECT_EQ(loaded.definitions[0].description, "true");
  EXPECT_EQ(loaded.definitions[0].start_interval->value, std::chrono::seconds{10});
  EXPECT_EQ(loaded.definitions[0].env.at("ZIP"), "01234");
  EXPECT_EQ(loaded.definitions[0].env.at("N"), "1.10");
}

TEST_F(DefinitionStoreTest, ABrokenFileIsNamedWithItsReasonAndLeavesTheOthers) {
  write("good.yaml", "command: sleep 1\n");
  write("other.yml", "command: sleep 1\n");
  write("half.yaml", "command: [sleep\n");
  write("typo.yaml", "command: sleep 1\ncomand: x\n");
  write("wrong.yaml", "command: sleep 1\nstatus: many\n");
  write("renamed.yaml", "name: original\ncommand: sleep 1\n");
  write("none.yaml", "description: no program\n");
  write("bomb.yaml", "a: &a [x]\nb: *a\n");
  write("bad name.yaml", "command: sleep 1\n");
  write("huge.yaml", "command: " + std::string(kMaxYamlBytes, 'x'));
  write(".web.yaml.123.tmp", "left by a killed writer");
  write("readme.txt", "not ours");
  const auto loaded = open()->load_all();
  ASSERT_EQ(loaded.definitions.size(), 1U);
  EXPECT_EQ(loaded.definitions[0].name, "good");
  std::map<std::string, std::string> refused;
  for (const auto& item : loaded.refused) refused[item.file.filename()] = text_of(item);
  EXPECT_EQ(refused.size(), 9U);
  EXPECT_THAT(refused["other.yml"], HasSubstr(".yaml"));
  EXPECT_THAT(refused["half.yaml"], HasSubstr("line "));
  EXPECT_THAT(refused["typo.yaml"], HasSubstr("line 2: field 'comand': unknown, did you mean 'command'?"));
  EXPECT_THAT(refused["wrong.yaml"], HasSubstr("line 2: field 'status'"));
  EXPECT_THAT(refused["renamed.yaml"], HasSubstr("line 1: name: \"original\" must equal the file's name"));
  EXPECT_THAT(refused["none.yaml"], HasSubstr("command"));
  EXPECT_THAT(refused["bomb.yaml"], HasSubstr("anchors"));
  EXPECT_THAT(refused["huge.yaml"], HasSubstr("larger than"));
  EXPECT_TRUE(refused.contains("bad name.yaml"));
  EXPECT_FALSE(std::filesystem::exists(dir / "apps/.web.yaml.123.tmp"));
  EXPECT_TRUE(std::filesystem::exists(dir / "apps/readme.txt"));
}

TEST_F(DefinitionStoreTest, ARefusalKnowsTheAppAndTheLine) {
  write("web.yaml", "command: sleep 1\nbehavior:\n  exit: restart\n  control:\n    nine: standby\n");
  write("job.yml", "command: sleep 1\n");
  write("empty.yaml", "");
  write("bytes.yaml", "command: sleep 1\ndescription: \xff\n");
  write("run.yaml", "command: sleep 1\n\nstatus: 2\n");
  std::filesystem::create_symlink("nowhere", dir / "apps/link.yaml");
  auto store = open();
  std::map<std::string, std::size_t> lines;
  for (const auto& item : store->load_all().refused) lines[item.name] = item.line;
  EXPECT_THAT(lines, testing::UnorderedElementsAre(testing::Pair("web", 4), testing::Pair("job", 0),
                                                   testing::Pair("empty", 0), testing::Pair("bytes", 2),
                                                   testing::Pair("run", 3), testing::Pair("link", 0)));
  write("web.yaml", "command: sleep 2\n");
  DefinitionStore::Loaded again;
  store->load({"web", "job", "link", "gone"}, [&](DefinitionStore::Loaded loaded) { again = std::move(loaded); });
  store->flush();
  ASSERT_EQ(again.definitions.size(), 1U);
  EXPECT_EQ(again.definitions[0].command, "sleep 2");
  EXPECT_EQ(again.refused.size(), 2U) << "job and link; gone is nowhere";
}

TEST_F(DefinitionStoreTest, AFolderThatCannotBeReadIsAnErrorOfEachCallUntilItCan) {
  auto store = DefinitionStore::open(dir / "apps", box);
  EXPECT_TRUE(store->load_all().unreadable);
  const auto definition = definition_of(R"({"name": "a", "command": "true"})");
  EXPECT_FALSE(save(*store, definition));
  ASSERT_TRUE(platform::write_file_atomic(dir / "apps", "a file", 0600));
  EXPECT_TRUE(store->load_all().unreadable);
  EXPECT_FALSE(save(*store, definition));
  std::filesystem::remove(dir / "apps");
  ASSERT_TRUE(store->make_folder());
  EXPECT_TRUE(save(*store, definition));
  EXPECT_FALSE(store->load_all().unreadable);
}

TEST_F(DefinitionStoreTest, ACopyComesBackEqualAndHidesItsSecrets) {
  auto store = open();
  const auto definition =
      definition_of(R"({"name": "a", "command": "true", "owner": "bob", "sec_env": {"K": "s3cret"}})");
  const auto copy = store->to_copy(definition);
  EXPECT_THAT(copy, Not(HasSubstr("s3cret")));
  const auto back = store->from_copy(copy);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_TRUE(core::same_definition(definition, *back));
  EXPECT_FALSE(store->from_copy("{\"name\":"));
}

TEST_F(DefinitionStoreTest, RemoveIsSuccessAlsoWhenNothingIsThere) {
  auto store = open();
  ASSERT_TRUE(save(*store, definition_of(R"({"name": "a", "command": "true"})")));
  for (int i = 0; i < 2; ++i) {
    Result<void> outcome = fail(ErrorKind::internal, "not called");
    store->remove("a", [&](Result<void> done) { outcome = std::move(done); });
    store->flush();
    EXPECT_TRUE(outcome);
  }
  EXPECT_THAT(store->load_all().definitions, IsEmpty());
}

TEST_F(DefinitionStoreTest, EveryChangeIsAnsweredInOrderAndTheLastOneWins) {
  std::vector<int> answered;
  {
    auto store = open();
    for (int i = 0; i < 100; ++i) {
      auto definition = definition_of(R"({"name": "a", "command": "true"})");
      definition.version = i;
      store->save(std::make_shared<const core::AppDefinition>(definition), [&answered, i](Result<void> done) {
        EXPECT_TRUE(done);
        answered.push_back(i);
      });
      if (i == 50) store->remove("a", nullptr);
    }
  }  // closing it carries out what is asked for
  EXPECT_EQ(answered.size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(answered));
  EXPECT_EQ(open()->load_all().definitions.at(0).version, 99);
}

TEST_F(DefinitionStoreTest, AFailedWriteIsToldAndTheOldFileStays) {
  auto store = open();
  ASSERT_TRUE(platform::make_dirs(dir / "apps/a.yaml/in-the-way", 0700));
  EXPECT_FALSE(save(*store, definition_of(R"({"name": "a", "command": "true"})")));
  EXPECT_TRUE(save(*store, definition_of(R"({"name": "b", "command": "true"})")));
  core::AppDefinition outside;
  outside.name = "../escape";
  EXPECT_FALSE(save(*store, outside));
  EXPECT_FALSE(std::filesystem::exists(dir / "escape.yaml"));
}

TEST_F(DefinitionStoreTest, AWriterKilledAnywhereLosesNothingThatWasAnswered) {
  for (int round = 0; round < 3; ++round) {
    std::filesystem::remove_all(dir / "apps");
    int channel[2];
    ASSERT_EQ(::pipe(channel), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(channel[0]);
      auto store = open();
      for (std::int64_t version = 1;; ++version) {
        for (int app = 0; app < 8; ++app) {
          core::AppDefinition definition;
          definition.name = "app" + std::to_string(app);
          definition.command = "echo " + std::string(static_cast<std::size_t>(version % 500), 'x');
          definition.version = version;
          store->save(std::make_shared<const core::AppDefinition>(definition), [=](Result<void> done) {
            const std::int64_t record[2] = {app, version};
            if (!done || ::write(channel[1], record, sizeof record) != sizeof record) ::_exit(1);
          });
        }
        store->flush();
      }
    }
    ::close(channel[1]);
    std::map<std::string, std::int64_t> answered;
    std::int64_t record[2];
    for (int i = 0; i < 37 + round * 61; ++i) {
      ASSERT_EQ(::read(channel[0], record, sizeof record), static_cast<ssize_t>(sizeof record));
      answered["app" + std::to_string(record[0])] = record[1];
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (::read(channel[0], record, sizeof record) == static_cast<ssize_t>(sizeof record)) {
      answered["app" + std::to_string(record[0])] = record[1];
    }
    ::close(channel[0]);
    const auto loaded = open()->load_all();
    EXPECT_THAT(loaded.refused, IsEmpty());
    EXPECT_EQ(loaded.definitions.size(), 8U);
    for (const auto& definition : loaded.definitions) EXPECT_GE(definition.version, answered[definition.name]);
    for (const auto& entry : std::filesystem::directory_iterator(dir / "apps")) {
      EXPECT_EQ(entry.path().extension(), ".yaml") << "no temporary file is left";
    }
  }
}

}  // namespace
}  // namespace appmesh::store
