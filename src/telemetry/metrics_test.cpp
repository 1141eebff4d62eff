#include "telemetry/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::telemetry {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

TEST(RequestMetrics, CountsByRouteAndStatusAndPutsTheDurationIntoItsBucket) {
  RequestMetrics metrics({{"GET", "/a"}, {"PUT", "/b"}});
  metrics.began();
  metrics.began();
  metrics.ended(0, 200, 600us);
  metrics.ended(7, 404, 2h);

  const auto counts = metrics.counts();
  ASSERT_EQ(counts.size(), 2U) << "a route that nobody used says nothing";
  EXPECT_EQ(counts[0].name.pattern, "/a");
  ASSERT_EQ(counts[0].statuses.size(), 1U);
  EXPECT_EQ(counts[0].statuses[0].status, 200);
  EXPECT_EQ(counts[0].buckets[1], 1U);
  EXPECT_EQ(counts[1].name.pattern, "unmatched");
  EXPECT_EQ(counts[1].buckets.back(), 1U) << "longer than every bound";
  EXPECT_EQ(metrics.in_flight(), 0);
}

TEST(Metrics, EverySeriesSaysTheHostAndHistogramsAreCumulative) {
  RequestMetrics requests({{"GET", "/a"}});
  requests.began();
  requests.ended(0, 200, 3ms);
  Metrics metrics({.host = "h\"1", .version = "9", .apps = {}, .requests = &requests});
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr(R"(appmesh_build_info{version="9",host="h\"1"} 1)"));
  EXPECT_THAT(
      page,
      HasSubstr(
          R"(appmesh_http_requests_total{method="GET",route="/a",status_code="200",status_class="2xx",host="h\"1"} 1)"));
  EXPECT_THAT(page, HasSubstr(R"(le="0.0025"} 0)"));
  EXPECT_THAT(page, HasSubstr(R"(le="0.005"} 1)"));
  EXPECT_THAT(page, HasSubstr(R"(le="+Inf"} 1)"));
  EXPECT_THAT(page, HasSubstr("# TYPE appmesh_http_request_duration_seconds histogram"));
}

TEST(Metrics, AnAppWithoutAProcessHasNoProcessValuesAndOneThatCannotBeReadIsCounted) {
  std::vector<AppUse> apps{{.name = "idle", .starts = 3, .enabled = true},
                           {.name = "gone", .starts = 1, .enabled = true, .pid = 7}};
  Metrics metrics({.host = "h", .version = "9", .apps = [&] { return apps; }});
  static_cast<void>(metrics.render());
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr(R"(appmesh_application_process_starts_total{application="idle",host="h"} 3)"));
  EXPECT_THAT(page, Not(HasSubstr("appmesh_application_process_resident_memory_bytes")));
  EXPECT_THAT(page, HasSubstr(R"(appmesh_application_metrics_collection_errors_total{application="gone",host="h"} 2)"));
  EXPECT_THAT(page, HasSubstr(R"(appmesh_application_metrics_collection_errors_total{application="idle",host="h"} 0)"));
  EXPECT_THAT(page, HasSubstr(R"(appmesh_metrics_scrapes_total{host="h"} 2)"));
}

}  // namespace
}  // namespace appmesh::telemetry
