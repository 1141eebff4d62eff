#include "core/app_definition.h"

#include <random>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Result<ParsedDefinition> parse(std::string_view text) {
  return parse_definition(json::parse(text).as_object(), text);
}

Metadata metadata_of(std::string_view json) {
  auto metadata = Metadata::from_json(json);
  EXPECT_TRUE(metadata) << json << ": " << metadata.error().message;
  return metadata.value_or(Metadata{});
}

AppDefinition parsed(std::string_view text) {
  auto result = parse(text);
  EXPECT_TRUE(result) << text << ": " << result.error().message;
  return result ? result->definition : AppDefinition{};
}

// Parses {"<field>": <value>} and gives the error, empty for none.
std::string error_of(std::string_view field, json::value value) {
  const auto result = parse_definition(json::object{{field, std::move(value)}});
  return result ? "" : result.error().message;
}

json::value text_of(std::size_t size) {
  return json::string(size, 'x');
}

TEST(AppDefinitionTest, ReadsEveryField) {
  const auto d = parsed(R"({"name":" web-1 ","owner":"ann","command":"run -x","description":"d","working_dir":"/w",
    "health_check_cmd":"true","metadata":{"a":[1,2]},"env":{"A":"b"},"sec_env":{"S":"t"},"shell":true,
    "session_login":true,"status":0,"stdout_cache_num":3,"permission":32,
    "behavior":{"exit":"KeepAlive","control":{"0":"standby","-9":"RESTART"},"leftovers":"leave"},
    "start_time":100,"end_time":200,"start_interval_seconds":"PT5M","start_missed":true,"retention":30,
    "daily_limitation":{"daily_start":79200,"daily_end":1700000000},
    "resource_limit":{"memory_mb":64,"memory_virt_mb":128,"cpu_shares":1024,"pids":50},"depends_on":{"db":"ready"},
    "readiness":{"by":"log","pattern":"up","timeout_seconds":9},"watchdog_seconds":20,"instances":4,"pid":77,
    "version":5,"register_time":50})");
  EXPECT_EQ(d.name, "web-1");
  EXPECT_EQ(d.owner, "ann");
  EXPECT_EQ(d.command, "run -x");
  EXPECT_EQ(d.description, "d");
  EXPECT_EQ(d.working_dir, "/w");
  EXPECT_EQ(d.health_check_cmd, "true");
  EXPECT_EQ(d.metadata.text(), R"({"a":[1,2]})");
  EXPECT_EQ(d.env.at("A"), "b");
  EXPECT_EQ(d.sec_env->at("S"), "t");
  EXPECT_TRUE(d.shell && d.session_login && d.start_missed);
  EXPECT_EQ(d.status, AppStatus::disabled);
  EXPECT_EQ(d.stdout_cache_num, 3U);
  EXPECT_EQ(d.permission, 32U);
  EXPECT_EQ(d.behavior.exit, ExitAction::keepalive);
  EXPECT_EQ(d.behavior.control.at(-9), ExitAction::restart);
  EXPECT_EQ(d.behavior.leftovers, Leftovers::leave);
  EXPECT_EQ(d.start_time, 100);
  EXPECT_EQ(d.end_time, 200);
  EXPECT_EQ(d.start_interval->value, std::chrono::seconds(300));
  EXPECT_EQ(d.retention->text, "30");
  EXPECT_EQ(d.daily_limitation->start_of_day(), 79200);
  EXPECT_EQ(d.daily_limitation->end_of_day(), 1700000000 % 86400);
  EXPECT_EQ(d.resource_limit->pids, 50);
  EXPECT_EQ(d.depends_on.at("db"), DependencyCondition::ready);
  EXPECT_EQ(d.readiness->by, ReadinessKind::log);
  EXPECT_EQ(d.watchdog_seconds, 20);
  EXPECT_EQ(d.instances, 4U);
  EXPECT_EQ(d.pid, 77);
  EXPECT_EQ(d.version, 5);
  EXPECT_EQ(d.register_time, 50);
}

TEST(AppDefinitionTest, NullMeansAbsentEverywhere) {
  EXPECT_EQ(parsed(R"({"name":null,"command":null,"env":null,"sec_env":null,"behavior":null,"status":null,"cron":null,
    "start_interval_seconds":null,"daily_limitation":null,"resource_limit":null,"metadata":null,"instances":null})"),
            AppDefinition{});
  EXPECT_EQ(parsed(R"({"behavior":{"exit":null,"control":null},"resource_limit":{"memory_mb":null}})").resource_limit,
            ResourceLimit{});
}

TEST(AppDefinitionTest, EmptyTextOfAClientsStructMeansDefault) {
  EXPECT_EQ(parsed(R"({"behavior":{"exit":""},"start_interval_seconds":"","retention":"","metadata":""})"),
            AppDefinition{});
}

TEST(AppDefinitionTest, AWrongTypeNamesTheField) {
  const json::object wrong{{"a", "x"}};
  for (const char* field : {"name",
                            "owner",
                            "command",
                            "description",
                            "working_dir",
                            "docker_image",
                            "health_check_cmd",
                            "env",
                            "sec_env",
                            "shell",
                            "session_login",
                            "status",
                            "stdout_cache_num",
                            "permission",
                            "behavior",
                            "start_time",
                            "end_time",
                            "start_interval_seconds",
                            "cron",
                            "start_missed",
                            "retention",
                            "daily_limitation",
                            "resource_limit",
                            "depends_on",
                            "readiness",
                            "watchdog_seconds",
                            "instances",
                            "pid",
                            "version",
                            "register_time"})
    EXPECT_THAT(error_of(field, json::array{1}), HasSubstr("field '" + std::string(field) + "'")) << field;
  for (const char* field : {"status", "stdout_cache_num", "permission", "start_time", "instances", "pid", "version"}) {
    EXPECT_THAT(error_of(field, 1.0), HasSubstr("must be an integer")) << field;
    EXPECT_THAT(error_of(field, "1"), HasSubstr("must be an integer")) << field;
    EXPECT_THAT(error_of(field, true), HasSubstr("must be an integer")) << field;
  }
  EXPECT_THAT(error_of("behavior", json::object{{"exit", 1}}), HasSubstr("field 'behavior.exit'"));
  EXPECT_THAT(error_of("resource_limit", json::object{{"pids", "9"}}), HasSubstr("field 'resource_limit.pids'"));
}

TEST(AppDefinitionTest, ANumberOutOfRangeNamesTheField) {
  constexpr auto kHuge = std::uint64_t{1} << 63U;
  const auto refuses = [](std::string_view field, json::value value) {
    EXPECT_THAT(error_of(field, value), HasSubstr("field '" + std::string(field) + "'")) << field << value;
  };
  for (const char* field : {"status", "stdout_cache_num", "permission", "start_time", "end_time", "watchdog_seconds",
                            "instances", "pid", "register_time"}) {
    refuses(field, -1);
    refuses(field, kHuge);
  }
  refuses("version", kHuge);
  refuses("status", 3);
  refuses("instances", 0);
  refuses("instances", 1001);
  refuses("start_interval_seconds", 0);
  refuses("start_interval_seconds", -5);
  refuses("start_interval_seconds", "P1M");
  refuses("start_interval_seconds", "soon");
  refuses("retention", -1);
  refuses("retention", "P");
  for (const int permission : {4, 40, 19, 91, 34, 400}) refuses("permission", permission);
  EXPECT_EQ(error_of("permission", 14), "field 'permission': digits must be 0..3");
  for (const int permission : {0, 3, 30, 33, 11, 12}) EXPECT_EQ(error_of("permission", permission), "");
}

TEST(AppDefinitionTest, AWorkingDirectoryThatCannotBeMeantIsRefused) {
  for (const char* good : {"/", "/srv/../opt", ".", "web", "web/logs", "a/../b", "./a//b/../..", "...", "a~"})
    EXPECT_EQ(error_of("working_dir", good), "") << good;
  for (const char* home : {"~", "~/web", "~ann"})
    EXPECT_THAT(error_of("working_dir", home), HasSubstr("field 'working_dir': ~ is not expanded")) << home;
  for (const char* outside : {"..", "../other", "a/../../b", "./.."})
    EXPECT_THAT(error_of("working_dir", outside), HasSubstr("field 'working_dir': a relative path must stay"))
        << outside;
}

TEST(AppDefinitionTest, ALengthOverTheBoundNamesTheField) {
  EXPECT_EQ(error_of("command", text_of(2047)), "");
  EXPECT_THAT(error_of("command", text_of(2048)), HasSubstr("field 'command': longer than 2047"));
  EXPECT_THAT(error_of("name", text_of(129)), HasSubstr("field 'name'"));
  EXPECT_THAT(error_of("description", text_of(4096)), HasSubstr("field 'description'"));
  EXPECT_THAT(error_of("working_dir", text_of(4096)), HasSubstr("field 'working_dir'"));
  EXPECT_THAT(error_of("metadata", text_of(kMostMetadataBytes)), "");
  EXPECT_THAT(error_of("metadata", text_of(kMostMetadataBytes + 1)), HasSubstr("field 'metadata'"));
  EXPECT_THAT(error_of("env", json::object{{"A", text_of(70000)}}), HasSubstr("field 'env'"));
  json::object many;
  for (int i = 0; i < 513; ++i) many["V" + std::to_string(i)] = "x";
  EXPECT_THAT(error_of("sec_env", many), HasSubstr("field 'sec_env': more than 512"));
  json::object codes;
  for (int i = 0; i < 65; ++i) codes[std::to_string(i)] = "restart";
  EXPECT_THAT(error_of("behavior", json::object{{"control", codes}}), HasSubstr("field 'behavior.control'"));
  json::object apps;
  for (int i = 0; i < 65; ++i) apps["a" + std::to_string(i)] = "ready";
  EXPECT_THAT(error_of("depends_on", apps), HasSubstr("field 'depends_on'"));
}

TEST(AppDefinitionTest, BadEncodingNamesTheField) {
  const json::string nul("a\0b", 3);
  for (const char* field : {"name", "owner", "command", "description", "working_dir", "docker_image",
                            "health_check_cmd", "metadata", "retention"}) {
    EXPECT_THAT(error_of(field, nul), HasSubstr("field '" + std::string(field) + "'")) << field;
    EXPECT_THAT(error_of(field, "a\xff"), HasSubstr("field '" + std::string(field) + "'")) << field;
    EXPECT_THAT(error_of(field, "\xed\xa0\x80"), HasSubstr("field '" + std::string(field) + "'")) << field;
  }
  EXPECT_THAT(error_of("env", json::object{{"A=B", "x"}}), HasSubstr("'A=B' cannot be the name"));
  EXPECT_THAT(error_of("env", json::object{{"", "x"}}), HasSubstr("field 'env'"));
  EXPECT_THAT(error_of("env", json::object{{"A", nul}}), HasSubstr("field 'env': the value of 'A'"));
  EXPECT_THAT(error_of("env", json::object{{"A", 1}}), HasSubstr("the value of 'A' must be a string"));
  EXPECT_THAT(error_of("metadata", json::object{{"k", "\xc0\xaf"}}), HasSubstr("field 'metadata'"));
  EXPECT_EQ(error_of("description", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x88"), "");
}

TEST(AppDefinitionTest, DeepMetadataIsRefused) {
  json::value deep = 1;
  for (int i = 0; i < 40; ++i) deep = json::array{deep};
  EXPECT_THAT(error_of("metadata", deep), HasSubstr("nested too deeply"));
}

TEST(AppDefinitionTest, BadWordsAndCodesNameTheField) {
  EXPECT_EQ(error_of("behavior", json::object{{"exit", "explode"}}),
            "field 'behavior.exit': must be one of standby, restart, keepalive, remove");
  for (const char* code : {"", "x", "1x", "256", "-65", "1.0", " 1", "99999999999"})
    EXPECT_THAT(error_of("behavior", json::object{{"control", {{code, "restart"}}}}), HasSubstr("is not an exit code"))
        << code;
  EXPECT_THAT(error_of("behavior", json::object{{"control", {{"1", "no"}}}}), HasSubstr("field 'behavior.control'"));
  EXPECT_THAT(error_of("depends_on", json::object{{"bad name", "ready"}}), HasSubstr("field 'depends_on'"));
  EXPECT_THAT(error_of("readiness", json::object{{"by", "magic"}}), HasSubstr("field 'readiness.by'"));
  for (const char* name : {"a b", "a/b", "\xc3\xa4", "a.b"})
    EXPECT_THAT(error_of("name", name), HasSubstr("field 'name'")) << name;
}

TEST(AppDefinitionTest, FieldsThatDoNotFitTogetherAreRefused) {
  const auto refuses = [](std::string_view text, std::string_view field) {
    const auto result = parse(text);
    ASSERT_FALSE(result) << text;
    EXPECT_THAT(result.error().message, HasSubstr("field '" + std::string(field) + "'"));
  };
  refuses(R"({"start_time":10,"end_time":9})", "start_time");
  refuses(R"({"resource_limit":{"memory_mb":10,"memory_virt_mb":9}})", "resource_limit.memory_virt_mb");
  refuses(R"({"resource_limit":{"cpu_shares":1}})", "resource_limit.cpu_shares");
  refuses(R"({"daily_limitation":{"daily_start":1}})", "daily_limitation.daily_end");
  refuses(R"({"daily_limitation":{"daily_end":1}})", "daily_limitation.daily_start");
  refuses(R"({"cron":true})", "start_interval_seconds");
  refuses(R"({"cron":true,"start_interval_seconds":"61 * * * *"})", "start_interval_seconds");
  refuses(R"({"cron":true,"start_interval_seconds":30})", "start_interval_seconds");
  refuses(R"({"readiness":{"by":"log"}})", "readiness.pattern");
  refuses(R"({"readiness":{"by":"health"}})", "readiness.by");
  refuses(R"({"name":"a","depends_on":{"a":"ready"}})", "depends_on");
  refuses(R"({"command":"echo 'oops"})", "command");
  EXPECT_EQ(parsed(R"({"command":"echo 'oops","shell":true})").command, "echo 'oops");
  EXPECT_EQ(parsed(R"({"docker_image":"i","stdout_cache_num":5})").stdout_cache_num, 0U);
}

TEST(AppDefinitionTest, CronIsCheckedAndEchoed) {
  const auto d = parsed(R"({"cron":true,"start_interval_seconds":"0 */5 * * * ?"})");
  EXPECT_EQ(d.start_interval->text, "0 */5 * * * ?");
  EXPECT_EQ(write_definition(d, SecretFields::omit).at("start_interval_seconds"), "0 */5 * * * ?");
}

TEST(AppDefinitionTest, DurationsAreEchoedAsStrings) {
  const auto out = write_definition(parsed(R"({"start_interval_seconds":90,"retention":"P1D"})"), SecretFields::omit);
  EXPECT_EQ(out.at("start_interval_seconds"), "90");
  EXPECT_EQ(out.at("retention"), "P1D");
}

TEST(AppDefinitionTest, MetadataTextThatIsJsonBecomesJson) {
  EXPECT_EQ(parsed(R"({"metadata":"{\"a\":1}"})").metadata, metadata_of(R"({"a":1})"));
  for (const char* text : {"hello", "null", "1.10", "true", "{not json", "[1,", "\\\"quoted\\\""}) {
    const auto metadata = parsed(std::string(R"({"metadata":")") + text + "\"}").metadata;
    EXPECT_EQ(metadata.kind(), Metadata::Kind::text) << text;
  }
  EXPECT_EQ(parsed(R"({"metadata":"null"})").metadata.text(), "null");
}

TEST(AppDefinitionTest, MetadataKeepsEveryByteOfJson) {
  // Random numbers as people and programs write them, within random JSON.
  std::mt19937_64 random(7);
  const auto digits = [&](std::size_t most) {
    std::string out;
    for (auto i = random() % most + 1; i > 0; --i) out += static_cast<char>('0' + random() % 10);
    return out;
  };
  for (int i = 0; i < 5000; ++i) {
    std::string number = random() % 2 == 0 ? "-" : "";
    number += random() % 3 == 0 ? "0" : std::to_string(random() % 9 + 1) + digits(30);
    if (random() % 2 == 0) number += "." + digits(25);
    if (random() % 3 == 0)
      number += (random() % 2 == 0 ? "e" : "E") + std::string(random() % 2 == 0 ? "+" : "-") + digits(3);
    const std::string blank = random() % 2 == 0 ? " " : "\n\t";
    const std::string json =
        "{" + blank + "\"n\":" + blank + number + ", \"list\": [" + number + "," + number + blank + "]}";
    for (const std::string& sent : {json, number, "[" + number + "]"}) {
      const std::string body = R"({"name":"a", "metadata": )" + sent + R"( , "command":"c"})";
      const auto first = parse(body);
      ASSERT_TRUE(first) << body << first.error().message;
      ASSERT_EQ(first->definition.metadata.text(), sent);
      const std::string shown = definition_text(first->definition, SecretFields::include);
      EXPECT_THAT(shown, HasSubstr("\"metadata\":" + sent));
      ASSERT_EQ(parse(shown)->definition, first->definition);
      // As a text that holds it.
      const std::string wrapped = json::serialize(json::string(sent));
      const auto text = parse(R"({"metadata":)" + wrapped + "}");
      ASSERT_TRUE(text);
      ASSERT_EQ(text->definition.metadata.text(), sent);
    }
  }
}

TEST(AppDefinitionTest, MetadataThatSaysTheSameNeedsNoRestart) {
  const auto from = parsed(R"({"name":"a","command":"c","metadata":{"price": 19.990, "n":[1]}})");
  const auto spelled = parsed(R"({"name":"a","command":"c","metadata":{"n":[1.0],"price":1999e-2}})");
  EXPECT_FALSE(needs_restart(from, spelled));
  EXPECT_FALSE(same_definition(from, spelled));
  EXPECT_TRUE(needs_restart(from, parsed(R"({"name":"a","command":"c","metadata":{"price": 19.99,"n":[2]}})")));
  EXPECT_TRUE(needs_restart(parsed(R"({"metadata":[12345678901234567890123]})"),
                            parsed(R"({"metadata":[12345678901234567890124]})")));
}

TEST(AppDefinitionTest, TheNamesOf3xClientsMeanTheSameFields) {
  const auto d = parsed(R"({"name":"a","command":"c","enabled":false,"interval":90,"stop_grace_period":"PT5S",
    "stdout_backup_count":3,"secret_env":{"S":"t"},"behavior":{"exit":"restart","exit_code_actions":{"1":"standby"}},
    "depends_on":["db"],"owner_principal_id":"x","owner_display_name":"x","execution_user":"u","system":false,
    "startup_phase":"x","stdout_file_count":1})");
  EXPECT_EQ(d, parsed(R"({"name":"a","command":"c","status":0,"start_interval_seconds":90,"retention":"PT5S",
    "stdout_cache_num":3,"sec_env":{"S":"t"},"behavior":{"exit":"restart","control":{"1":"standby"}},
    "depends_on":{"db":"healthy"}})"));
  EXPECT_EQ(parsed(R"({"cron_schedule":"0 0 * * MON"})"),
            parsed(R"({"cron":true,"start_interval_seconds":"0 0 * * MON"})"));
  EXPECT_EQ(parsed(R"({"status":1,"enabled":true,"interval":"90","start_interval_seconds":90})").start_interval->text,
            "90");
  for (const char* text :
       {R"({"status":1,"enabled":false})", R"({"interval":91,"start_interval_seconds":90})",
        R"({"retention":1,"stop_grace_period":2})", R"({"stdout_cache_num":1,"stdout_backup_count":2})",
        R"({"sec_env":{},"secret_env":{"A":"b"}})", R"({"cron_schedule":"0 0 * * MON","interval":5})",
        R"({"behavior":{"control":{"1":"remove"},"exit_code_actions":{"1":"standby"}}})"})
    EXPECT_FALSE(parse(text)) << text;
}

TEST(AppDefinitionTest, TimesOfDayAreTakenModuloADay) {
  const auto d = parsed(R"({"daily_limitation":{"daily_start":1700000000,"daily_end":86400}})");
  EXPECT_EQ(write_definition(d, SecretFields::omit).at("daily_limitation"),
            json::value({{"daily_start", 1700000000 % 86400}, {"daily_end", 0}}));
}

TEST(AppDefinitionTest, AThirdDigitOfThePermissionIsKeptAndSaysNothing) {
  EXPECT_EQ(parsed(R"({"permission":200})").permission, 200U);
  EXPECT_EQ(parsed(R"({"permission":312})").permission, 312U);
  for (const int wrong : {400, 140, 114, 1000, -1}) EXPECT_THAT(error_of("permission", wrong), HasSubstr("permission"));
}

TEST(AppDefinitionTest, UnknownFieldsAreNamedAndMadeHarmless) {
  const auto result = parse(R"({"name":"a","nmae":"x","behavior":{"exti":"x"},"x\r\ny":1})");
  ASSERT_TRUE(result);
  EXPECT_THAT(result->unknown_fields,
              UnorderedElementsAre(UnknownField{"nmae", "name"}, UnknownField{"behavior.exti", "behavior.exit"},
                                   UnknownField{"x??y", ""}));
  EXPECT_EQ(refuse_unknown({{"nmae", "name"}, {"x", ""}}).error().message,
            "field 'nmae': unknown, did you mean 'name'?; field 'x': unknown");
}

TEST(AppDefinitionTest, WhatGetGivesCanBePutBack) {
  json::object shown = write_definition(parsed(R"({"name":"a","command":"c","start_time":5,
      "daily_limitation":{"daily_start":1,"daily_end":2}})"),
                                        SecretFields::omit);
  const auto before = parse_definition(shown);
  for (const char* field : {"return_code", "memory", "fd", "health", "starts", "last_start_time", "next_start_time"})
    shown[field] = 1;
  for (const char* field :
       {"pid_user", "pstree", "last_error", "start_time_TEXT", "next_start_time_TEXT", "task_status"})
    shown[field] = "text";
  shown["cpu"] = 0.5;
  shown["daily_limitation"].as_object()["daily_start_TEXT"] = "text";
  const auto again = parse_definition(shown);
  ASSERT_TRUE(before && again);
  EXPECT_EQ(again->definition, before->definition);
  EXPECT_THAT(again->unknown_fields, IsEmpty());
}

TEST(AppDefinitionTest, SecretsAreOnlyWrittenWhenAskedFor) {
  const auto d = parsed(R"({"sec_env":{"S":"t"}})");
  EXPECT_FALSE(write_definition(d, SecretFields::omit).contains("sec_env"));
  EXPECT_TRUE(write_definition(d, SecretFields::include).contains("sec_env"));
}

TEST(AppDefinitionTest, OnlyWhatTheProcessSeesNeedsARestart) {
  const auto from = parsed(R"({"name":"a","command":"c"})");
  const auto needs = [&](auto change) {
    AppDefinition to = from;
    change(to);
    return needs_restart(from, to);
  };
  EXPECT_TRUE(needs([](auto& d) { d.command = "x"; }));
  EXPECT_TRUE(needs([](auto& d) { d.env["A"] = "b"; }));
  EXPECT_TRUE(needs([](auto& d) { d.sec_env.emplace()["A"] = "b"; }));
  EXPECT_TRUE(needs([](auto& d) { d.metadata = metadata_of("1"); }));
  EXPECT_TRUE(needs([](auto& d) { d.shell = true; }));
  EXPECT_TRUE(needs([](auto& d) { d.working_dir = "/"; }));
  EXPECT_FALSE(needs([](auto& d) { d.description = "x"; }));
  EXPECT_FALSE(needs([](auto& d) { d.permission = 11; }));
  EXPECT_FALSE(needs([](auto& d) { d.behavior.exit = ExitAction::restart; }));
  EXPECT_FALSE(needs([](auto& d) { d.end_time = 9; }));
  EXPECT_FALSE(needs([](auto& d) { d.health_check_cmd = "true"; }));
  EXPECT_FALSE(needs([](auto& d) { d.resource_limit = ResourceLimit{.memory_mb = 5}; }));
}

TEST(AppDefinitionTest, APutKeepsTheSecretsThatItDoesNotMention) {
  AppDefinition stored = parsed(R"({"name":"a","sec_env":{"S":"t"},"register_time":7})");
  EXPECT_TRUE(same_definition(stored, keep_stored_fields(stored, parsed(R"({"name":"a"})"))));
  EXPECT_EQ(keep_stored_fields(stored, parsed(R"({"name":"a","sec_env":{}})")).sec_env->size(), 0U);
}

TEST(AppDefinitionTest, AProgramIsACommandOrAnImage) {
  EXPECT_EQ(require_program(AppDefinition{}).error().message, "no command line provide");
  EXPECT_TRUE(require_program(AppDefinition{.command = "c"}));
  EXPECT_TRUE(require_program(AppDefinition{.docker_image = "i"}));
}

// ---- Properties ----

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}
  std::int64_t number(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }
  bool coin() { return number(0, 1) == 1; }
  template <typename... T>
  auto pick(T... choices) {
    return std::array{choices...}[static_cast<std::size_t>(number(0, sizeof...(T) - 1))];
  }
  std::string text() {
    std::string out;
    for (auto i = number(1, 12); i > 0; --i)
      out += pick("a", "Z", "7", " ", "\"", "\\", "\n", "\xc3\xbc", "\xf0\x9f\x90\x88");
    return out;
  }
  std::string name() { return "app-" + std::to_string(number(0, 99)); }

  json::value metadata() {
    if (coin()) return json::value(json::string(text()));
    return json::object{{text(), number(-5, 5)}, {"list", {text(), nullptr, true}}};
  }

  AppDefinition definition() {
    AppDefinition d{.name = name(), .owner = text(), .command = text(), .shell = true};
    if (coin()) d.description = text();
    if (coin()) d.working_dir = text();
    if (coin()) d.health_check_cmd = text();
    if (coin()) d.metadata = metadata_of(json::serialize(metadata()));
    if (coin()) d.env = {{name(), text()}, {name(), ""}};
    if (coin()) d.sec_env.emplace().emplace(name(), text());
    d.behavior.exit = pick(ExitAction::standby, ExitAction::restart, ExitAction::keepalive, ExitAction::remove);
    if (coin()) d.behavior.control[static_cast<int>(number(-64, 255))] = ExitAction::restart;
    d.behavior.leftovers = pick(Leftovers::stop, Leftovers::leave);
    if (coin()) d.daily_limitation = DailyLimitation{number(0, 86399), number(0, 86399)};
    if (coin()) d.resource_limit = ResourceLimit{number(0, 9), pick(0, 10), pick(0, 2, 1024), number(0, 9)};
    if (coin()) d.retention = DurationText{"PT9S", std::chrono::seconds(9)};
    if (coin()) d.start_interval = DurationText{"60", std::chrono::seconds(60)};
    if (coin() && !d.start_interval) {
      d.cron = true;
      d.start_interval = DurationText{.text = "0 0 * * MON"};
    }
    if (coin()) d.depends_on["other"] = pick(DependencyCondition::started, DependencyCondition::completed);
    if (coin()) d.readiness = Readiness{ReadinessKind::log, coin() ? "up" : "^ü+$", number(0, 9)};
    d.start_time = pick(0, 1'700'000'000);
    d.end_time = pick(0, 1'800'000'000);
    d.register_time = number(0, 2'000'000'000);
    d.version = number(-3, 3);
    d.watchdog_seconds = number(0, 9);
    d.stdout_cache_num = static_cast<std::uint32_t>(number(0, 9));
    d.permission = pick(0U, 3U, 11U, 23U, 33U);
    d.instances = static_cast<std::uint32_t>(number(1, 9));
    d.status = pick(AppStatus::disabled, AppStatus::enabled);
    d.session_login = coin();
    d.start_missed = coin();
    return d;
  }

  // Values of every kind, hostile ones too.
  json::value anything(int depth = 0) {
    switch (number(0, depth > 3 ? 8 : 10)) {
      case 0:
        return nullptr;
      case 1:
        return coin();
      case 2:
        return number(-3, 300);
      case 3:
        return number(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
      case 4:
        return std::numeric_limits<std::uint64_t>::max();
      case 5:
        return 0.5;
      case 6:
        return json::string(text());
      case 7:
        return json::string(pick("restart", "PT5M", "* * * * *", "\xff", "", "0", "app-1", "log"));
      case 8:
        return json::string(static_cast<std::size_t>(number(0, 5000)), 'x');
      case 9:
        return json::array{anything(depth + 1), anything(depth + 1)};
      default: {
        json::object out;
        for (auto i = number(0, 3); i > 0; --i) out[member()] = anything(depth + 1);
        return out;
      }
    }
  }
  std::string member() {
    return pick("exit", "control", "leftovers", "memory_mb", "memory_virt_mb", "cpu_shares", "pids", "by", "pattern",
                "timeout_seconds", "daily_start", "daily_end", "1", "-9", "app-1", "A");
  }
  json::object anything_like_a_definition() {
    json::object out = write_definition(definition(), SecretFields::include);
    for (auto i = number(1, 3); i > 0; --i) {
      out[pick("name", "command", "metadata", "env", "sec_env", "shell", "status", "permission", "behavior",
               "start_time", "end_time", "start_interval_seconds", "cron", "retention", "daily_limitation",
               "resource_limit", "depends_on", "readiness", "instances", "pid", "version", "watchdog_seconds",
               "junk")] = anything();
    }
    return out;
  }

 private:
  std::mt19937 random_;
};

TEST(AppDefinitionTest, WhatIsWrittenParsesBackToTheSame) {
  Generator generate(1);
  for (int i = 0; i < 2000; ++i) {
    const AppDefinition d = generate.definition();
    // Through text, as a file or a client would.
    const std::string out = definition_text(d, SecretFields::include);
    const auto again = parse(out);
    ASSERT_TRUE(again) << again.error().message << "\n" << out;
    ASSERT_EQ(again->definition, d) << out;
    ASSERT_THAT(again->unknown_fields, IsEmpty());
  }
}

TEST(AppDefinitionTest, WhateverIsAcceptedIsStable) {
  Generator generate(2);
  int accepted = 0;
  for (int i = 0; i < 5000; ++i) {
    const json::object in = generate.anything_like_a_definition();
    auto first = parse_definition(in);
    if (!first) {
      ASSERT_EQ(first.error().kind, ErrorKind::invalid_argument);
      ASSERT_THAT(first.error().message, HasSubstr("field '")) << in;
      continue;
    }
    ++accepted;
    first->definition.pid = 0;  // a request, not a part of what is kept
    const auto again = parse(definition_text(first->definition, SecretFields::include));
    ASSERT_TRUE(again) << again.error().message << "\n" << in;
    ASSERT_EQ(again->definition, first->definition) << in;
  }
  EXPECT_GT(accepted, 300);
}

TEST(RunFingerprint, DiffersExactlyWhenARestartIsNeeded) {
  AppDefinition base;
  base.name = "web";
  base.command = "sleep 1";
  base.env["A"] = "1";
  const auto differs = [&](auto change) {
    AppDefinition other = base;
    change(other);
    EXPECT_EQ(run_fingerprint(base) != run_fingerprint(other), needs_restart(base, other));
    return run_fingerprint(base) != run_fingerprint(other);
  };
  EXPECT_TRUE(differs([](AppDefinition& d) { d.command = "sleep 2"; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.owner = "bob"; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.shell = true; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.session_login = true; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.working_dir = "/tmp"; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.docker_image = "x"; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.metadata = *Metadata::from_json(R"("x")"); }));
  base.metadata = *Metadata::from_json(R"({"a":1.10,"b":[2]})");
  EXPECT_FALSE(differs([](AppDefinition& d) { d.metadata = *Metadata::from_json(R"({"b": [2], "a": 1.1})"); }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.metadata = *Metadata::from_json(R"({"a":1.11,"b":[2]})"); }));
  base.metadata = {};
  EXPECT_TRUE(differs([](AppDefinition& d) { d.env["A"] = "2"; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.env.clear(), d.env["A1"] = ""; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.sec_env.emplace()["S"] = "x"; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.watchdog_seconds = 5; }));
  EXPECT_TRUE(differs([](AppDefinition& d) { d.readiness = Readiness{.by = ReadinessKind::notify}; }));
  EXPECT_FALSE(differs([](AppDefinition& d) { d.description = "x"; }));
  EXPECT_FALSE(differs([](AppDefinition& d) { d.status = AppStatus::disabled; }));
  EXPECT_FALSE(differs([](AppDefinition& d) { d.behavior.exit = ExitAction::restart; }));
  EXPECT_FALSE(differs([](AppDefinition& d) { d.resource_limit = ResourceLimit{.pids = 5}; }));
  EXPECT_FALSE(differs([](AppDefinition& d) { d.instances = 5; }));
  EXPECT_EQ(run_fingerprint(base), "1:536bebc4a85ad576")
      << "a later version must not restart what an earlier one started";
}

}  // namespace
}  // namespace appmesh::core
