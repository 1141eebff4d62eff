// The worker side of tasks: what a program that the daemon runs uses to get work and to give back results. It needs no
// login: the key of this very process, which the daemon put into its environment, is the permission. One thread at a
// time; stop() from any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <appmesh/transport.h>

namespace appmesh {

struct WorkerOptions {
  std::string url = "tcp://127.0.0.1:6059";
  TransportOptions transport;
  std::string app;          // empty: APP_MESH_APPLICATION_NAME
  std::string process_key;  // empty: APP_MESH_PROCESS_KEY
  // How often a fetch is tried again while the daemon is away; none: for ever.
  std::optional<int> retries;
};

class Worker {
 public:
  // Throws kUsage when this process was not started by App Mesh.
  explicit Worker(WorkerOptions options = {});
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Waits for the next task and returns its payload. What was fetched and not answered comes again. Throws kSuperseded
  // when a newer process of the app has taken this one's place, kCancelled after stop().
  std::string fetch_task();
  // The result of the task that was fetched last.
  void send_result(std::string_view result);
  // Fetches and answers until stop() or until it is superseded, which ends it without an error.
  void serve(const std::function<std::string(std::string payload)>& work);
  void stop();

 private:
  Response exchange(std::string_view method, std::string_view body);

  WorkerOptions options_;
  std::string path_;
  int wake_ = -1;
  std::atomic<bool> stopped_{false};
  std::unique_ptr<Transport> transport_;
};

}  // namespace appmesh
