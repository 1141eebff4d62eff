#include "cli/format.h"

#include <cstdlib>
#include <ctime>

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include "cli/app_document.h"
#include "cli/exit_code.h"
#include "cli/host_url.h"

namespace appmesh::cli {
namespace {

namespace json = boost::json;

std::string refused(std::string_view document) {
  try {
    parse_app_document(document, "file.yaml");
  } catch (const CliError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ExitCode, OfASignalIsThatOfAShell) {
  EXPECT_EQ(shell_exit_code(0), 0);
  EXPECT_EQ(shell_exit_code(41), 41);
  EXPECT_EQ(shell_exit_code(-9), 137);
  EXPECT_EQ(shell_exit_code(-15), 143);
  EXPECT_EQ(shell_exit_code(256), 255);
  EXPECT_EQ(shell_exit_code(-500), 255);
}

TEST(HostUrl, OfTheOtherTransportsBecomesTheHttpsAddressOfTheSameDaemon) {
  EXPECT_EQ(map_host_url("https://a:1").text(), "https://a:1");
  EXPECT_EQ(map_host_url("a").text(), "https://a:6060");
  EXPECT_EQ(map_host_url("wss://a").text(), "https://a:6060");
  EXPECT_EQ(map_host_url("wss://a:6058/").text(), "https://a:6060");
  EXPECT_EQ(map_host_url("wss://a:7000").text(), "https://a:7000");
  EXPECT_EQ(map_host_url("tcp://[::1]:6059").text(), "https://[::1]:6060");
  EXPECT_THROW(map_host_url("tcp://a:7000"), CliError);
  EXPECT_THROW(map_host_url("http://a"), CliError);
  EXPECT_THROW(map_host_url(""), CliError);
}

TEST(Format, SizesUseBinaryUnitsAndFewDigits) {
  EXPECT_EQ(human_bytes(0), "0Ki");
  EXPECT_EQ(human_bytes(356 * 1024), "356Ki");
  EXPECT_EQ(human_bytes(1'258'291), "1.2Mi");
  EXPECT_EQ(human_bytes(45ll * 1024 * 1024), "45Mi");
  EXPECT_EQ(human_bytes(3ll * 1024 * 1024 * 1024), "3.0Gi");
}

TEST(Format, DurationsShowTheirTwoLargestUnits) {
  EXPECT_EQ(human_duration(-5), "0s");
  EXPECT_EQ(human_duration(59), "59s");
  EXPECT_EQ(human_duration(192), "3m12s");
  EXPECT_EQ(human_duration(4 * 3600), "4h");
  EXPECT_EQ(human_duration(2 * 86'400 + 3 * 3600 + 59), "2d3h");
}

TEST(Format, TimesAreReadInTheLocalZoneOrTheGivenOne) {
  ::setenv("TZ", "Europe/Berlin", 1);
  ::tzset();
  EXPECT_EQ(parse_time("2025-01-31T08:00:00"), 1'738'306'800);
  EXPECT_EQ(parse_time("2025-07-31 08:00"), 1'753'941'600);
  EXPECT_EQ(parse_time("2025-01-31T07:00:00Z"), 1'738'306'800);
  EXPECT_EQ(parse_time("2025-01-31T08:00:00+01"), 1'738'306'800);
  EXPECT_EQ(parse_time("1738306800"), 1'738'306'800);
  EXPECT_EQ(local_time(1'738'306'800), "2025-01-31T08:00:00+01:00");
  for (const char* text : {"", "yesterday", "2025-13-01", "2025-02-30", "2025-04-31T00:00:00Z", "2025-01-31T25:00:00",
                           "2025-01-31T08:00:00+99", "2025-01-31T08:00:00 tail", "-5"}) {
    EXPECT_FALSE(parse_time(text)) << text;
  }
  ::unsetenv("TZ");
  ::tzset();
}

TEST(Format, SinceIsADurationAgoOrATime) {
  constexpr std::int64_t kNow = 1'700'000'000;
  EXPECT_EQ(parse_since("90s", kNow), kNow - 90);
  EXPECT_EQ(parse_since("15m", kNow), kNow - 900);
  EXPECT_EQ(parse_since("2h", kNow), kNow - 7200);
  EXPECT_EQ(parse_since("3d", kNow), kNow - 3 * 86'400);
  EXPECT_EQ(parse_since("90", kNow), kNow - 90);
  EXPECT_EQ(parse_since("PT10M", kNow), kNow - 600);
  EXPECT_EQ(parse_since("2025-01-31T07:00:00Z", kNow), 1'738'306'800);
  for (const char* text : {"", "s", "yesterday", "-5m", "1.5h", "2 h", "99999999999d", "2025-13-01"}) {
    EXPECT_FALSE(parse_since(text, kNow)) << text;
  }
}

TEST(Format, TimeOfDayIsTakenToTheUtcDay) {
  ::setenv("TZ", "<+05>-5", 1);
  ::tzset();
  EXPECT_EQ(parse_time_of_day("08:00"), 3 * 3600);
  EXPECT_EQ(parse_time_of_day("02:30:10"), 21 * 3600 + 1810);  // the evening before, in UTC
  EXPECT_FALSE(parse_time_of_day("24:00"));
  EXPECT_FALSE(parse_time_of_day("8:00"));
  ::unsetenv("TZ");
  ::tzset();
}

TEST(Format, TextForATerminalCannotMoveTheCursor) {
  EXPECT_EQ(printable("a\x1b[2Jb\nc\td\x7f"), "a?[2Jb c d?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J\xc3\xa9"),
            "?2J\xc3\xa9");
}

TEST(Format, ShellQuotingKeepsEveryWord) {
  EXPECT_EQ(shell_quote("ls"), "ls");
  EXPECT_EQ(shell_quote("--opt=/a/b.c"), "--opt=/a/b.c");
  EXPECT_EQ(shell_quote(""), "''");
  EXPECT_EQ(shell_quote("a b"), "'a b'");
  EXPECT_EQ(shell_quote("it's $HOME"), "'it'\\''s $HOME'");
}

TEST(Format, JsonIsIndentedAndKeepsItsOrder) {
  EXPECT_EQ(pretty_json(json::parse(R"({"b":1,"a":[1.5,{}],"e":[]})")),
            "{\n  \"b\": 1,\n  \"a\": [\n    1.5,\n    {}\n  ],\n  \"e\": []\n}");
}

TEST(Format, YamlReadsBackAsTheSameValue) {
  const json::value app = json::parse(R"({"name":"web","command":"nginx -g 'daemon off;'","status":1,"yes":"true",
      "env":{"PORT":"8080","EMPTY":"","MULTI":"a\nb","COLON":"a: b","HASH":"a #b","STAR":"*"},
      "behavior":{"exit":"keepalive","control":{"41":"restart"}},"metadata":[{"a":1,"b":[2,3]},"x"]})");
  const std::string yaml = to_yaml(app);
  EXPECT_NE(yaml.find("name: web\n"), std::string::npos) << yaml;
  json::value again = app;
  again.get_object().erase("yes");
  json::object clean = app.get_object();
  clean.erase("yes");
  EXPECT_EQ(json::value(parse_app_document(to_yaml(clean), "test")), json::value(clean)) << yaml;
}

TEST(AppDocument, TakesYamlAndJsonAndTypesPlainScalarsOnly) {
  const json::object app = parse_app_document(
      "name: web\ncommand: sleep 1\nshell: true\nstart_interval_seconds: \"60\"\nenv:\n  PORT: 8080\n  ON: true\n"
      "resource_limit: {memory_mb: 10}\n",
      "test");
  EXPECT_EQ(json::value(app), json::parse(R"({"name":"web","command":"sleep 1","shell":true,
      "start_interval_seconds":"60","env":{"PORT":"8080","ON":"true"},"resource_limit":{"memory_mb":10}})"));
  EXPECT_EQ(parse_app_document(R"({"name":"a","status":0})", "test").at("status"), json::value(0));
}

TEST(AppDocument, NamesTheKeysThatItDoesNotKnow) {
  EXPECT_EQ(refused("name: a\ncomand: b\nbehavior: {exit: restart, contol: {}}\n"),
            "file.yaml: unknown key: comand, behavior.contol");
  EXPECT_EQ(refused("name: a\nname: b\n"), "file.yaml: the key 'name' stands there twice");
  EXPECT_NE(refused("name: [a\n").find("line "), std::string::npos);
  EXPECT_NE(refused("- a\n").find("map of fields"), std::string::npos);
  EXPECT_NE(refused("env: {A: [1]}\n").find("env.A"), std::string::npos);
  EXPECT_NE(refused("a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
                    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n")
                .find("too large"),
            std::string::npos);
}

TEST(AppDocument, WhatAListingPrintedCanBeRegisteredAgain) {
  const json::object app = parse_app_document(
      "name: a\ncommand: b\npid: 77\nhealth: 0\nstarts: 3\nregister_time: 5\nregister_time_TEXT: then\n"
      "last_error: none\n",
      "test");
  EXPECT_EQ(json::value(app), json::parse(R"({"name":"a","command":"b"})"));
  EXPECT_TRUE(parse_app_document("name: a\npid: 77\n", "test").contains("pid"));
}

}  // namespace
}  // namespace appmesh::cli
