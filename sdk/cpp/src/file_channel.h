// A connection that carries one file over TCP (docs/wire.md#tcp-files). The pieces of a file bear no mark of what
// they belong to, so a file does not share the connection of calls and events. Owned by one transfer; one thread.
#pragma once

#include <string>

#include <appmesh/transport.h>

#include "tls_connection.h"

namespace appmesh::detail {

class FileChannel {
 public:
  FileChannel(const Url& url, SSL_CTX* context, const TransportOptions& options, int cancel);

  // Both return the daemon's refusal, if it has one, before any byte of the file. Throws where the stream breaks.
  Response download(const Request& request, tls::Deadline deadline);
  Response upload(const Request& request, tls::Deadline deadline);

 private:
  Response ask(const Request& request, tls::Deadline deadline);
  // The next frame, good until the next call; empty at the end of a file.
  std::string_view receive(std::uint64_t limit, tls::Deadline deadline);

  const std::uint64_t max_message_bytes_;
  const int cancel_;
  tls::Connection connection_;
  std::string outgoing_;
  std::string incoming_;
  std::size_t taken_ = 0;
};

}  // namespace appmesh::detail
