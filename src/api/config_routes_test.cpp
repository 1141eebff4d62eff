#include "api/config_routes.h"

#include <filesystem>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <unistd.h>

#include "store/home_paths.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;

class ConfigRoutesTest : public testing::Test {
 protected:
  ConfigRoutesTest() {
    char name[] = "/tmp/appmesh-routes-XXXXXX";
    home_ = ::mkdtemp(name);
    EXPECT_TRUE(store::make_home(store::home_paths(home_)));
    configuration_ = std::move(store::Configuration::load(home_, {}).value());
    states_ = std::move(store::StateStore::open(home_ / "state.db", {}).value());
    audit_.emplace(*states_);
    add_config_routes(table_, {.configuration = *configuration_,
                               .audit = *audit_,
                               .worker = worker_.get_executor(),
                               .resources = [this]() -> boost::json::object {
                                 resources_thread_ = std::this_thread::get_id();
                                 return {{"schema_version", 3}};
                               },
                               .metrics = [] { return std::string("a_metric 1\n"); }});
  }
  ~ConfigRoutesTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(home_, ignored);
  }

  Response call(Method method, std::string path, std::vector<NameValue> query = {}, std::string body = {}) {
    Request request{.method = method, .path = std::move(path), .query = std::move(query), .body = std::move(body)};
    auto match = table_.find(method, request.path);
    EXPECT_TRUE(match) << request.path;
    Context context{.request = request, .principal = caller_, .variables = match->variables};
    asio::io_context io;
    auto answer = asio::co_spawn(io, match->route->handler(context), asio::use_future);
    io.run();
    return answer.get();
  }

  std::filesystem::path home_;
  std::unique_ptr<store::Configuration> configuration_;
  std::unique_ptr<store::StateStore> states_;
  std::optional<security::AuditTrail> audit_;
  std::shared_ptr<security::Principal> caller_ =
      std::make_shared<security::Principal>(security::Principal{.user = "ann", .permissions = {"config-security"}});
  asio::thread_pool worker_{1};
  RouteTable table_;
  std::thread::id resources_thread_;
};

TEST_F(ConfigRoutesTest, LabelsAreSetListedAndDeleted) {
  const auto set = call(Method::put, "/appmesh/label/zone", {{"value", "a"}});
  EXPECT_EQ(set.status, 200);
  EXPECT_EQ(set.body, "Add label success");
  const auto labels = boost::json::parse(call(Method::get, "/appmesh/labels").body).as_object();
  EXPECT_EQ(labels.at("zone").as_string(), "a");
  EXPECT_TRUE(labels.contains("HOST_NAME"));
  EXPECT_EQ(call(Method::del, "/appmesh/label/zone").body, "Label delete success");
  EXPECT_EQ(call(Method::del, "/appmesh/label/zone").status, 200);
  EXPECT_FALSE(configuration_->labels().contains("zone"));
}

TEST_F(ConfigRoutesTest, ALabelWithoutAValueIsRefused) {
  const auto refused = call(Method::put, "/appmesh/label/zone");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, testing::HasSubstr("query value required"));
  EXPECT_EQ(call(Method::put, "/appmesh/label/" + std::string(200, 'x'), {{"value", "a"}}).status, 400);
}

TEST_F(ConfigRoutesTest, AConfigurationChangeAnswersWithTheWholeConfiguration) {
  const auto changed = call(Method::post, "/appmesh/config", {}, R"({"BaseConfig":{"LogLevel":"DEBUG"}})");
  EXPECT_EQ(changed.status, 200);
  const auto view = boost::json::parse(changed.body);
  EXPECT_EQ(view.at("BaseConfig").at("LogLevel").as_string(), "DEBUG");
  EXPECT_EQ(view.at("REST").at("RestListenPort").as_int64(), 6060);
  EXPECT_TRUE(view.as_object().contains("Version"));
  EXPECT_EQ(boost::json::parse(call(Method::get, "/appmesh/config").body), view);
}

TEST_F(ConfigRoutesTest, ABadConfigurationChangeNamesTheKey) {
  const auto refused = call(Method::post, "/appmesh/config", {}, R"({"REST":{"RestListenPort":"x"}})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, testing::HasSubstr("REST.RestListenPort"));
  EXPECT_EQ(call(Method::post, "/appmesh/config", {}, "{").status, 400);
  EXPECT_EQ(call(Method::post, "/appmesh/config", {}, "[]").status, 400);
}

TEST_F(ConfigRoutesTest, MetricsAreTextThatPrometheusReads) {
  for (const char* path : {"/metrics", "/appmesh/metrics"}) {
    const Response page = call(Method::get, path);
    EXPECT_EQ(page.body, "a_metric 1\n");
    EXPECT_EQ(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
  }
}

TEST_F(ConfigRoutesTest, ResourcesAreCollectedOnAWorkerThread) {
  const auto answer = call(Method::get, "/appmesh/resources");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(boost::json::parse(answer.body).at("schema_version").as_int64(), 3);
  EXPECT_NE(resources_thread_, std::this_thread::get_id());
}

}  // namespace
}  // namespace appmesh::api
