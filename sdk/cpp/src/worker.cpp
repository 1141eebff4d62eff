#include <cstdlib>

#include <sys/eventfd.h>

#include <appmesh/error.h>
#include <appmesh/worker.h>
#include <poll.h>
#include <unistd.h>

#include "client_json.h"

namespace appmesh {
namespace {

constexpr int kRetryMilliseconds = 100;

std::string from_environment(std::string given, const char* variable) {
  if (!given.empty()) return given;
  const char* value = std::getenv(variable);  // NOLINT: nothing here changes the environment
  if (value == nullptr || *value == '\0') {
    throw ClientError(ErrorKind::kUsage, std::string(variable) + " is not set: a worker has to be started by App Mesh");
  }
  return value;
}

void check_superseded(const Response& response) {
  if (response.status == 412) {
    throw ClientError(ErrorKind::kSuperseded, "a newer process of this app has taken this one's place", 412);
  }
}

}  // namespace

Worker::Worker(WorkerOptions options) : options_(std::move(options)) {
  options_.app = from_environment(std::move(options_.app), "APP_MESH_APPLICATION_NAME");
  options_.process_key = from_environment(std::move(options_.process_key), "APP_MESH_PROCESS_KEY");
  path_ = detail::app_path(options_.app, "task");
  transport_ = make_transport(options_.url, options_.transport);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) throw ClientError(ErrorKind::kUsage, "no descriptor is left");
  transport_->cancel_on(wake_);
}

Worker::~Worker() {
  transport_.reset();
  ::close(wake_);
}

Response Worker::exchange(std::string_view method, std::string_view body) {
  Request request;
  request.method = method;
  request.path = path_;
  request.query.emplace_back("process_key", options_.process_key);
  request.headers.emplace_back("User-Agent", "appmesh/cpp");
  request.body = body;
  return transport_->exchange(request);
}

std::string Worker::fetch_task() {
  for (int tries = 0;; ++tries) {
    if (stopped_) throw ClientError(ErrorKind::kCancelled, "the worker was stopped");
    try {
      Response response = exchange("GET", {});
      if (response.status == 200) return std::move(response.body);
      check_superseded(response);
      detail::fail(response);
    } catch (const ClientError& error) {
      // The daemon may be restarting, or a proxy in between may have had enough of waiting.
      const bool passing = error.connection_lost() || error.kind() == ErrorKind::kStatus;
      if (!passing || error.status() == 400 || error.status() == 404) throw;
      if (options_.retries && tries >= *options_.retries) throw;
    }
    pollfd pause{wake_, POLLIN, 0};
    ::poll(&pause, 1, kRetryMilliseconds);
  }
}

void Worker::send_result(std::string_view result) {
  const Response response = exchange("PUT", result);
  if (response.status == 200) return;
  check_superseded(response);
  detail::fail(response);
}

void Worker::serve(const std::function<std::string(std::string payload)>& work) {
  try {
    for (;;) {
      const std::string result = work(fetch_task());
      try {
        send_result(result);
      } catch (const ClientError& error) {
        // Nobody waits for that result any more, or the daemon is away: then the task comes again.
        if (error.status() != 417 && !error.connection_lost()) throw;
      }
    }
  } catch (const ClientError& error) {
    if (error.kind() != ErrorKind::kSuperseded && error.kind() != ErrorKind::kCancelled) throw;
  }
}

void Worker::stop() {
  stopped_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

}  // namespace appmesh
