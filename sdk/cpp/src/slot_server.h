// Serves several slots of a worker with one thread: every slot has a fetch waiting at the daemon, and the results of
// the tasks that came together leave together, with the next fetches of their slots. So under load neither side is
// woken for each task. Used by the one thread that calls serve(), for one call.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <appmesh/worker.h>

#include "pipeline.h"
#include "tls_connection.h"

namespace appmesh::detail {

class SlotServer {
 public:
  using Work = std::function<std::string(std::string payload)>;

  // `options` are complete; their URL is one of TCP. `wake` is readable as soon as `stopped` is set. `slots` > 0.
  SlotServer(const WorkerOptions& options, const std::string& path, unsigned slots, const std::atomic<bool>& stopped,
             int wake);

  // Until it is stopped or superseded: true. False when the daemon knows no slots, and nothing may be pipelined to it.
  // Throws what `work` throws, and ClientError as Worker::serve says.
  bool serve(const Work& work);

 private:
  //   free ─► fetching ─► its task is worked on, the result waits to be sent ─► free
  //    ▲          └──► refused, until `again`
  //    └────────────────┘
  struct Slot {
    Request fetch;
    Request answer;
    std::uint64_t fetching = 0;                   // number of the fetch that is under way, 0: none
    std::optional<tls::Clock::time_point> again;  // earliest time of the next one
    int refusals = 0;                             // one after another
  };

  void connect();
  void ask_for_slots();
  void serve_connection(const Work& work);
  void send();
  std::optional<Pipeline::Answer> receive();
  void take(Pipeline::Answer answer, const Work& work);
  void take_refusal(Slot& slot, const Response& response);
  [[nodiscard]] bool another_comes_along();
  void part();
  [[nodiscard]] Slot* fetched_by(std::uint64_t number);
  [[nodiscard]] tls::Deadline patience() const;

  const WorkerOptions& options_;
  const std::atomic<bool>& stopped_;
  const int wake_;
  const Url url_;
  const tls::Context context_;
  std::optional<Pipeline> pipeline_;
  const Request question_;  // whether the daemon knows slots
  std::vector<Slot> slots_;
  std::size_t unconfirmed_ = 0;           // results whose answer from the daemon is to come
  int losses_ = 0;                        // of connections, since the last task
  tls::Clock::time_point batch_began_{};  // of the oldest result that waits to be sent
};

}  // namespace appmesh::detail
