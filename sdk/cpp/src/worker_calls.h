// What a worker says to the daemon, and how it takes a refusal: the same whether it serves one slot or several.
// Internal to the library; pure functions.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <appmesh/error.h>
#include <appmesh/transport.h>
#include <appmesh/worker.h>

#include "client_json.h"

namespace appmesh::detail {

// A fetch that failed is tried again after this.
inline constexpr std::chrono::milliseconds kFetchAgainAfter{100};

// GET fetches, PUT answers. Slot 0 is not named: daemons that know no slots have that one.
inline Request worker_request(std::string_view method, std::string_view path, std::string_view key, unsigned slot) {
  Request request;
  request.method = method;
  request.path = path;
  request.query.emplace_back("process_key", key);
  if (slot != 0) request.query.emplace_back("slot", std::to_string(slot));
  request.headers.emplace_back("User-Agent", "appmesh/cpp");
  return request;
}

// A daemon that knows no slots takes all of a worker for one: it would give one task to several, and take the result of
// one for the task of another. Hence this question. Who knows slots refuses this one (400) before looking at the key;
// who does not, the key (412).
inline Request slots_question(std::string_view path) {
  return worker_request("GET", path, "none", Worker::kMaxSlots);
}

// Throws ClientError(kStatus) for what is no answer to that.
inline bool knows_slots(const Response& response) {
  if (response.status != 400 && response.status != 412) fail(response);
  return response.status == 400;
}

inline bool is_superseded(const Response& response) {
  return response.status == 412;
}

// The daemon may be restarting, or a proxy in between may have had enough of waiting.
inline bool may_fetch_again(const ClientError& error) {
  if (error.kind() == ErrorKind::kStatus) return error.status() != 400 && error.status() != 404;
  return error.connection_lost();
}

// Of a result: it was given to its caller, or nobody waits for it any more, which must not end a worker.
inline bool is_settled(const Response& response) {
  return response.status == 200 || response.status == 417;
}

}  // namespace appmesh::detail
