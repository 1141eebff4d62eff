// A connection on which one thread has many requests under way: what was added leaves in one write, and answers are
// taken in the order in which they come, whichever request they are of. A MessageConnection hands each answer to the
// thread that waits for it; here nobody waits for a particular one. Owned and used by one thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include <appmesh/transport.h>

#include "frame_buffer.h"
#include "tls_connection.h"

namespace appmesh::detail {

class Pipeline {
 public:
  struct Answer {
    std::uint64_t number = 0;
    Response response;
  };

  // Connects, within options.connect_timeout.
  Pipeline(const Url& url, SSL_CTX* context, const TransportOptions& options, int cancel);

  // The request goes with the next flush(); its answer has the number that is returned, never 0. Throws
  // ClientError(kUsage) when it is too long.
  std::uint64_t add(const Request& request);
  [[nodiscard]] std::size_t unsent_bytes() const { return outgoing_.size(); }
  // Sends what was added. After an error nothing more can be sent.
  void flush(tls::Deadline deadline, int cancel);
  // Waits for the next answer. Nothing is lost by a kTimeout.
  Answer next(tls::Deadline deadline, int cancel);
  // Whether next() would not wait: another whole answer was received already.
  [[nodiscard]] bool has_next();

 private:
  tls::Connection connection_;
  std::mutex tls_;  // what the connection's functions for sharing ask for
  FrameBuffer incoming_;
  std::string outgoing_;
  std::uint64_t count_ = 0;
  bool broken_ = false;
};

}  // namespace appmesh::detail
