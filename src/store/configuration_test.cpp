#include "store/configuration.h"

#include <fstream>
#include <sstream>
#include <thread>

#include <sys/stat.h>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "store/config_file.h"
#include "store/home_paths.h"

namespace appmesh::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ConfigurationTest : public testing::Test {
 protected:
  ConfigurationTest() {
    char name[] = "/tmp/appmesh-config-XXXXXX";
    home_ = ::mkdtemp(name);
    paths_ = home_paths(home_);
    EXPECT_TRUE(make_home(paths_));
  }
  ~ConfigurationTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(home_, ignored);
  }

  static void write(const std::filesystem::path& file, const std::string& text) { std::ofstream(file) << text; }
  [[nodiscard]] std::string saved_text() const {
    std::ifstream file(paths_.config_file);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  [[nodiscard]] std::unique_ptr<Configuration> load(Configuration::Environment environment = {}) const {
    auto loaded = Configuration::load(home_, std::move(environment));
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? std::move(*loaded) : nullptr;
  }
  [[nodiscard]] std::string load_error(const std::string& yaml, Configuration::Environment environment = {}) const {
    write(paths_.config_file, yaml);
    auto loaded = Configuration::load(home_, std::move(environment));
    return loaded ? "" : loaded.error().message;
  }
  static boost::json::object object(std::string_view text) { return boost::json::parse(text).as_object(); }

  std::filesystem::path home_;
  HomePaths paths_;
};

mode_t mode_of(const std::filesystem::path& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_mode & 07777;
}

TEST_F(ConfigurationTest, WithoutAFileTheDefaultsOfTheContractHold) {
  const auto s = load()->settings();
  EXPECT_EQ(s->base.description, "MYHOST");
  EXPECT_EQ(s->base.posix_timezone, "+08");
  EXPECT_EQ(s->base.stop_grace, std::chrono::seconds(3));
  EXPECT_EQ(s->base.backoff_limit, std::chrono::seconds(300));
  EXPECT_EQ(s->base.output_limit_bytes, 100u * 1024 * 1024);
  EXPECT_EQ(s->base.log_level, LogLevel::info);
  EXPECT_EQ(s->base.working_directory, paths_.work);
  EXPECT_EQ(s->rest.listen_address, "127.0.0.1");
  EXPECT_EQ(s->rest.listen_port, 6060);
  EXPECT_EQ(s->rest.tcp_port, 6059);
  EXPECT_EQ(s->rest.websocket_port, 6058);
  EXPECT_EQ(s->rest.jwt.algorithm, JwtAlgorithm::hs256);
  EXPECT_FALSE(s->rest.jwt.issuer.empty());
  EXPECT_THAT(s->rest.jwt.audience, ElementsAre("appmesh-service", "appmesh-file-service", "your-service-api"));
  EXPECT_EQ(s->rest.ssl.ca_path, paths_.ssl / "ca.pem");
  EXPECT_TRUE(s->rest.totp_replay_protection);
  EXPECT_TRUE(s->labels.contains("HOST_NAME"));
  EXPECT_TRUE(s->labels.contains("arch"));
  EXPECT_TRUE(s->labels.contains("os_version"));
}

TEST_F(ConfigurationTest, TheChangedCopyInWorkIsTakenInPlaceOfTheShippedFile) {
  write(paths_.config / "config.yaml", "BaseConfig: {Description: shipped}\n");
  EXPECT_EQ(load()->settings()->base.description, "shipped");
  write(paths_.config_file, "BaseConfig:\n  Description: changed\n  PosixTimezone: +01\nLabels:\n  rack: 7\n");
  const auto s = load()->settings();
  EXPECT_EQ(s->base.description, "changed");
  EXPECT_EQ(s->base.posix_timezone, "+01") << "a plain scalar of a text key keeps its spelling";
  EXPECT_EQ(s->labels.at("rack"), "7");
}

TEST_F(ConfigurationTest, UnknownKeysAreNamedAsWarningsAndKeptInTheFile) {
  write(paths_.config_file, "REST: {RestListenPrt: 7000}\nFuture: {Colour: blue}\n");
  const auto configuration = load();
  EXPECT_THAT(configuration->warnings(), ElementsAre(HasSubstr("REST.RestListenPrt"), HasSubstr("Future")));
  ASSERT_TRUE(configuration->set_label("a", "b"));
  EXPECT_THAT(saved_text(), HasSubstr("Colour"));
  EXPECT_FALSE(configuration->view().contains("Future"));
}

TEST_F(ConfigurationTest, AWrongTypeOrRangeIsAnErrorThatNamesTheKey) {
  EXPECT_THAT(load_error("REST: {RestListenPort: 70000}"), HasSubstr("REST.RestListenPort: must be from 1 to 65535"));
  EXPECT_THAT(load_error("REST: {RestListenPort: many}"), HasSubstr("REST.RestListenPort: must be an integer"));
  EXPECT_THAT(load_error("REST: {CorsDisabled: 3}"), HasSubstr("REST.CorsDisabled: must be true or false"));
  EXPECT_THAT(load_error("REST: {ForwardTargets: a}"), HasSubstr("REST.ForwardTargets: must be a list"));
  EXPECT_THAT(load_error("REST: 5"), HasSubstr("REST: must be an object"));
  EXPECT_THAT(load_error("REST: {JWT: {Algorithm: none}}"), HasSubstr("REST.JWT.Algorithm: must be one of HS256"));
  EXPECT_THAT(load_error("REST: {JWT: {Audience: [other]}}"), HasSubstr("REST.JWT.Audience: must contain"));
  EXPECT_THAT(load_error("REST: {RestTcpPort: 6060}"), HasSubstr("is also that of"));
  EXPECT_THAT(load_error("REST: {RestListenAddress: nowhere}"), HasSubstr("REST.RestListenAddress"));
  EXPECT_THAT(load_error("REST: {RestTcpPort: 1, RestTcpPort: 2}"), HasSubstr("given twice"));
}

TEST_F(ConfigurationTest, AHostileFileIsRefusedWithinBounds) {
  EXPECT_THAT(load_error("[1, 2"), HasSubstr("config.yaml"));
  EXPECT_THAT(load_error(std::string(kMaxConfigBytes + 1, '#')), HasSubstr("larger than"));
  EXPECT_THAT(load_error(std::string(100, '[') + std::string(100, ']')), HasSubstr("too deeply"));
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'h'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) bomb += std::string(i == 0 ? "*" : ",*") + static_cast<char>(c - 1);
    bomb += "]\n";
  }
  EXPECT_THAT(load_error(bomb), testing::AnyOf(HasSubstr("too many"), HasSubstr("too deeply")));
}

TEST_F(ConfigurationTest, TheEnvironmentOverridesKeysThatExist) {
  write(paths_.config_file, "REST: {RestListenPort: 7000}\nLabels: {zone: a}\n");
  const auto configuration = load({{"APPMESH_REST_RestListenPort", "7100"},
                                   {"APPMESH_REST_CsrfAllowedOrigins", "https://a, https://b"},
                                   {"APPMESH_REST_SSL_VerifyClient", "true"},
                                   {"APPMESH_Labels_zone", "b"},
                                   {"APPMESH_REST_restlistenport", "1"},
                                   {"APPMESH_ADMIN_PASSWORD", "x"},
                                   {"LOG_LEVEL", "debug"}});
  const auto s = configuration->settings();
  EXPECT_EQ(s->rest.listen_port, 7100);
  EXPECT_THAT(s->rest.csrf_allowed_origins, ElementsAre("https://a", "https://b"));
  EXPECT_TRUE(s->rest.ssl.verify_client);
  EXPECT_EQ(s->labels.at("zone"), "b");
  EXPECT_EQ(s->base.log_level, LogLevel::debug);
  EXPECT_THAT(configuration->warnings(), ElementsAre(HasSubstr("APPMESH_REST_restlistenport")));
}

TEST_F(ConfigurationTest, ABadValueInTheEnvironmentNamesTheVariable) {
  EXPECT_THAT(load_error("{}", {{"APPMESH_REST_RestListenPort", "x"}}), HasSubstr("APPMESH_REST_RestListenPort"));
}

TEST_F(ConfigurationTest, AnUpdateIsMergedDeeplySavedPrivatelyAndSurvivesAReload) {
  const auto configuration = load();
  ASSERT_TRUE(configuration->update(
      object(R"({"BaseConfig":{"LogLevel":"debug"},"REST":{"SSL":{"VerifyClient":true}}})"), KeyClass::security));
  EXPECT_EQ(configuration->settings()->base.log_level, LogLevel::debug);
  EXPECT_EQ(configuration->settings()->rest.listen_port, 6060);
  EXPECT_EQ(mode_of(paths_.config_file), 0600u);
  const auto again = load();
  EXPECT_EQ(again->settings()->base.log_level, LogLevel::debug);
  EXPECT_TRUE(again->settings()->rest.ssl.verify_client);
  EXPECT_THAT(again->warnings(), IsEmpty());
}

TEST_F(ConfigurationTest, NothingChangesWhenAnyPartOfAnUpdateIsWrong) {
  const auto configuration = load();
  const auto before = configuration->view();
  const std::string cases[][2] = {
      {R"({"BaseConfig":{"LogLevel":"DEBUG"},"REST":{"RestListenPort":"x"}})", "REST.RestListenPort"},
      {R"({"BaseConfig":{"LogLevel":"DEBUG","Nonsense":1}})", "BaseConfig.Nonsense: is unknown"},
      {R"({"BaseConfig":{"LogLevel":"DEBUG"},"Labels":{"a/b":"c"}})", "label name"},
      {R"({"Labels":{"a":1}})", "Labels.a"},
      {R"({"REST":{"ForwardTargets":[""]}})", "REST.ForwardTargets"},
      {R"({"REST":{"RestTcpPort":6060}})", "is also that of"},
      {R"({"REST":[]})", "REST: must be an object"},
      {R"({"BaseConfig":{"OutputLimitBytes":1e300}})", "BaseConfig.OutputLimitBytes"},
  };
  for (const auto& [change, expected] : cases) {
    const auto outcome = configuration->update(object(change), KeyClass::security);
    ASSERT_FALSE(outcome) << change;
    EXPECT_EQ(outcome.error().kind, ErrorKind::invalid_argument);
    EXPECT_THAT(outcome.error().message, HasSubstr(expected));
    EXPECT_EQ(configuration->view(), before);
    EXPECT_FALSE(std::filesystem::exists(paths_.config_file));
  }
}

TEST_F(ConfigurationTest, ASaveThatFailsChangesNothing) {
  const auto configuration = load();
  std::filesystem::remove_all(paths_.work_config);
  EXPECT_FALSE(configuration->set_label("a", "b"));
  EXPECT_FALSE(configuration->labels().contains("a"));
}

TEST_F(ConfigurationTest, SecretsAreRedactedAndKeptWhenTheRedactionComesBack) {
  write(paths_.config_file, "REST: {JWT: {JWTSalt: a-secret-of-more-than-thirty-two-bytes}}\n");
  const auto configuration = load();
  auto view = configuration->view();
  EXPECT_EQ(view.at("REST").at("JWT").at("JWTSalt").as_string(), "******");
  EXPECT_FALSE(view.at("Version").as_string().empty());
  view["BaseConfig"].as_object()["Description"] = "new";
  ASSERT_TRUE(configuration->update(view, KeyClass::security));
  EXPECT_EQ(configuration->settings()->base.description, "new");
  EXPECT_EQ(configuration->settings()->rest.jwt.salt, "a-secret-of-more-than-thirty-two-bytes");
  EXPECT_EQ(load()->settings()->rest.jwt.salt, "a-secret-of-more-than-thirty-two-bytes");
}

TEST_F(ConfigurationTest, OverridesOfTheEnvironmentAreNeverSaved) {
  const auto configuration = load({{"APPMESH_REST_RestListenPort", "7100"}});
  auto view = configuration->view();
  view["BaseConfig"].as_object()["Description"] = "new";
  ASSERT_TRUE(configuration->update(view, KeyClass::security));
  EXPECT_EQ(configuration->settings()->rest.listen_port, 7100);
  EXPECT_EQ(load()->settings()->rest.listen_port, 6060);
  EXPECT_EQ(load()->settings()->base.description, "new");
}

TEST_F(ConfigurationTest, LabelsAreCheckedSavedAndBounded) {
  const auto configuration = load();
  EXPECT_FALSE(configuration->set_label("", "v"));
  EXPECT_FALSE(configuration->set_label("a/b", "v"));
  EXPECT_FALSE(configuration->set_label(std::string(129, 'x'), "v"));
  EXPECT_FALSE(configuration->set_label("a", std::string(1025, 'v')));
  EXPECT_FALSE(configuration->set_label("a", "line\nbreak"));
  ASSERT_TRUE(configuration->set_label("a b", "v: \"quoted\" #1"));
  ASSERT_TRUE(configuration->set_label("arch", "mine"));
  EXPECT_EQ(load()->labels().at("a b"), "v: \"quoted\" #1");
  EXPECT_EQ(load()->labels().at("arch"), "mine");
  ASSERT_TRUE(configuration->delete_label("arch"));
  EXPECT_NE(configuration->labels().at("arch"), "mine");
  ASSERT_TRUE(configuration->delete_label("never there"));

  boost::json::object many;
  for (int i = 0; i < 1001; ++i) many[std::to_string(i)] = "x";
  EXPECT_FALSE(configuration->update({{"Labels", many}}, KeyClass::security));
}

TEST_F(ConfigurationTest, ObserversSeeEachChangeAndReadersKeepTheirSnapshot) {
  const auto configuration = load();
  const auto old = configuration->settings();
  std::vector<LogLevel> seen;
  configuration->observe([&](const Settings& s) { seen.push_back(s.base.log_level); });
  ASSERT_TRUE(configuration->update(object(R"({"BaseConfig":{"LogLevel":"WARN"}})"), KeyClass::security));
  write(paths_.config_file, "BaseConfig: {LogLevel: ERROR}\n");
  ASSERT_TRUE(configuration->reload());
  write(paths_.config_file, "BaseConfig: {LogLevel: 7}\n");
  EXPECT_FALSE(configuration->reload());
  EXPECT_THAT(seen, ElementsAre(LogLevel::warn, LogLevel::error));
  EXPECT_EQ(old->base.log_level, LogLevel::info);
  EXPECT_EQ(configuration->settings()->base.log_level, LogLevel::error);
}

TEST_F(ConfigurationTest, WritersFromManyThreadsLoseNoLabel) {
  const auto configuration = load();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 5; ++i) {
          EXPECT_TRUE(configuration->set_label("t" + std::to_string(t) + "." + std::to_string(i), "x"));
          EXPECT_GE(configuration->settings()->labels.size(), 4u);
        }
      });
    }
  }
  EXPECT_EQ(load()->labels().size(), 20u + 3u);
}

TEST_F(ConfigurationTest, TheHomeHasPrivateDirectoriesWhereSecretsLie) {
  EXPECT_EQ(mode_of(paths_.work_config), 0700u);
  EXPECT_EQ(mode_of(paths_.run), 0700u);
  EXPECT_EQ(mode_of(paths_.tmp), 0755u);
  ::chmod(paths_.work_config.c_str(), 0755);
  ASSERT_TRUE(make_home(paths_));
  EXPECT_EQ(mode_of(paths_.work_config), 0700u);
  std::filesystem::remove_all(paths_.run);
  std::filesystem::create_directory_symlink("/tmp", paths_.run);
  EXPECT_FALSE(make_home(paths_));
}

}  // namespace
}  // namespace appmesh::store
