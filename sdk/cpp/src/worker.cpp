#include <cstdlib>

#include <sys/eventfd.h>

#include <appmesh/error.h>
#include <appmesh/worker.h>
#include <poll.h>
#include <unistd.h>

#include "client_json.h"
#include "slot_server.h"
#include "tcp_url.h"
#include "worker_calls.h"

namespace appmesh {
namespace {

std::string from_environment(std::string given, const char* variable) {
  if (!given.empty()) return given;
  const char* value = std::getenv(variable);  // NOLINT: nothing here changes the environment
  if (value == nullptr || *value == '\0') {
    throw ClientError(ErrorKind::kUsage, std::string(variable) + " is not set: a worker has to be started by App Mesh");
  }
  return value;
}

void check_superseded(const Response& response) {
  if (detail::is_superseded(response)) {
    throw ClientError(ErrorKind::kSuperseded, "a newer process of this app has taken this one's place", 412);
  }
}

void check_slot(unsigned slot) {
  if (slot < Worker::kMaxSlots) return;
  throw ClientError(ErrorKind::kUsage, "slot " + std::to_string(slot) + ": a worker has the slots 0 to " +
                                           std::to_string(Worker::kMaxSlots - 1));
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

Response Worker::exchange(std::string_view method, unsigned slot, std::string_view body) {
  Request request = detail::worker_request(method, path_, options_.process_key, slot);
  request.body = body;
  return transport_->exchange(request);
}

std::string Worker::fetch_task(unsigned slot) {
  check_slot(slot);
  for (int tries = 0;; ++tries) {
    if (stopped_) throw ClientError(ErrorKind::kCancelled, "the worker was stopped");
    try {
      if (slot != 0 && !slots_known_) ask_for_slots();
      Response response = exchange("GET", slot, {});
      if (response.status == 200) return std::move(response.body);
      check_superseded(response);
      detail::fail(response);
    } catch (const ClientError& error) {
      if (!detail::may_fetch_again(error) || (options_.retries && tries >= *options_.retries)) throw;
    }
    pollfd pause{wake_, POLLIN, 0};
    ::poll(&pause, 1, static_cast<int>(detail::kFetchAgainAfter.count()));
  }
}

void Worker::ask_for_slots() {
  if (!detail::knows_slots(transport_->exchange(detail::slots_question(path_)))) {
    throw ClientError(ErrorKind::kUsage, "the daemon knows no slots: use slot 0 alone");
  }
  slots_known_ = true;
}

void Worker::send_result(std::string_view result, unsigned slot) {
  check_slot(slot);
  const Response response = exchange("PUT", slot, result);
  if (response.status == 200) return;
  check_superseded(response);
  detail::fail(response);
}

void Worker::serve(const std::function<std::string(std::string payload)>& work, unsigned slots) {
  if (slots == 0 || slots > kMaxSlots) {
    throw ClientError(ErrorKind::kUsage, "a worker has 1 to " + std::to_string(kMaxSlots) + " slots");
  }
  if (slots == 1) return serve_one(work);
  if (!detail::is_tcp_url(options_.url)) {
    throw ClientError(ErrorKind::kUsage, "over https:// exchanges follow one another: use tcp:// for several slots");
  }
  if (!detail::SlotServer(options_, path_, slots, stopped_, wake_).serve(work)) serve_one(work);
}

void Worker::serve_one(const std::function<std::string(std::string payload)>& work) {
  const auto ends_it = [](const ClientError& error) {
    return error.kind() == ErrorKind::kSuperseded || error.kind() == ErrorKind::kCancelled;
  };
  for (;;) {
    std::string payload;
    try {
      payload = fetch_task();
    } catch (const ClientError& error) {
      if (ends_it(error)) return;
      throw;
    }
    const std::string result = work(std::move(payload));
    try {
      send_result(result);
    } catch (const ClientError& error) {
      if (ends_it(error)) return;
      // Nobody waits for that result any more, or the daemon is away: then the task comes again.
      if (error.status() != 417 && !error.connection_lost()) throw;
    }
  }
}

void Worker::stop() {
  stopped_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

}  // namespace appmesh
