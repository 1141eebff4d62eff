// The worker side of tasks: what a program that the daemon runs uses to get work and to give back results. It needs no
// login: the key of this very process, which the daemon put into its environment, is the permission.
//
// A worker has 64 slots. Each is a worker to itself: one fetch, one task in hand, one result, in any order with the
// others. Each slot belongs to one thread at a time. Over tcp:// threads may use the slots of one Worker beside each
// other; over https:// exchanges follow one another, so that each thread needs a Worker of its own. stop() from any
// thread.
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
  static constexpr unsigned kMaxSlots = 64;

  // Throws kUsage when this process was not started by App Mesh.
  explicit Worker(WorkerOptions options = {});
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Waits for the slot's next task and returns its payload. What was fetched and not answered comes again, to the same
  // slot. Throws kSuperseded when a newer
  // process of the app has taken this one's place, kCancelled after stop(), kUsage for a slot beyond 63 or, slot 0
  // aside, when the daemon is an older one that knows no slots.
  std::string fetch_task(unsigned slot = 0);
  // The result of the task that the slot fetched last.
  void send_result(std::string_view result, unsigned slot = 0);

  // Fetches and answers until stop() or until it is superseded, which ends it without an error; what `work` throws ends
  // it, too.
  //
  // With more than one slot (tcp:// only, else kUsage; at most 64) the next tasks are fetched while this thread works,
  // and results leave together: that makes workers faster whose tasks take microseconds. Tasks are still worked on one
  // after another, so one may wait here behind a slow one while another process of the app is free by then. After
  // stop(), what has come already is worked off first; tasks that are still in hand when the process ends fail. A
  // daemon that knows no slots is served with one.
  void serve(const std::function<std::string(std::string payload)>& work, unsigned slots = 1);
  void stop();

 private:
  Response exchange(std::string_view method, unsigned slot, std::string_view body);
  void ask_for_slots();
  void serve_one(const std::function<std::string(std::string payload)>& work);

  WorkerOptions options_;
  std::string path_;
  int wake_ = -1;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> slots_known_{false};
  std::unique_ptr<Transport> transport_;
};

}  // namespace appmesh
