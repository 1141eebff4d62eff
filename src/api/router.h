// The route table: one line a route, and what is not in it does not exist. It is filled by the add_*_routes() functions
// at start, then never changes, so finding a route needs no lock: const calls are safe on any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "api/request.h"
#include "core/error.h"
#include "security/principal.h"

namespace appmesh::api {

// What a caller needs to use a route. There is no default: every route says it.
class Requirement {
 public:
  enum class Kind : std::uint8_t { free, token, permission };
  [[nodiscard]] static Requirement free() { return {Kind::free, {}}; }
  [[nodiscard]] static Requirement token() { return {Kind::token, {}}; }
  [[nodiscard]] static Requirement permission(std::string id) { return {Kind::permission, std::move(id)}; }

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] const std::string& id() const { return id_; }  // empty unless a permission is required

 private:
  Requirement(Kind kind, std::string id) : kind_(kind), id_(std::move(id)) {}
  Kind kind_;
  std::string id_;
};

inline constexpr std::size_t kMaxPathVariables = 4;

struct PathVariable {
  std::string_view name;  // of the pattern
  std::string value;      // decoded; never empty, no '/', no '*', no control character
};

// What a handler is given. Lives until the handler's coroutine ends.
struct Context {
  Request& request;                                      // a handler may move the body out
  std::shared_ptr<const security::Principal> principal;  // null exactly on free routes
  std::array<PathVariable, kMaxPathVariables> variables;

  [[nodiscard]] const std::string& variable(std::string_view name) const;  // must be one of the pattern
};

// Runs as a coroutine on the connection's executor (co_await asio::this_coro::executor) and must not block it. A thrown
// exception becomes a 500. The handler outlives every call of it, so a lambda with captures may be a coroutine.
using Handler = std::function<boost::asio::awaitable<Response>(Context&)>;

class Call;  // api/call.h
// Runs on the connection's thread, must not block it, and sees to it that the call is answered. An exception before
// that becomes a 500.
using DirectHandler = std::function<void(const std::shared_ptr<Call>&)>;

// Facts for openapi.yaml.
struct Parameter {
  enum class In : std::uint8_t { query, header };
  In in = In::query;
  std::string name;
  std::string description;
  bool required = false;
};
struct Answer {
  int status = 200;
  std::string description;
  std::string content_type = std::string(kJsonType);  // empty: no body
};

struct Route {
  Method method;
  std::string pattern;  // "/appmesh/app/{name}/output": a variable is a whole segment
  Requirement requirement;
  Handler handler = {};  // this one or `direct`
  DirectHandler direct = {};
  std::string summary;
  std::string tag = {};
  std::vector<Parameter> parameters = {};
  std::string request_type = {};          // content type of the request body, empty: none
  std::vector<Answer> answers = {};       // 401 and 403 follow from the requirement
  std::uint64_t streamed_body_bytes = 0;  // not 0: the handler reads Request::body_reader, and this is the most it gets
  // It may wait, stream, or leave something behind that goes on (a subscription, a shell): its requests hold a
  // LongRight, and only they hear when the peer leaves. test/integration/test_rights.py has a row for each.
  bool lasts = false;
};

class RouteTable {
 public:
  RouteTable();
  ~RouteTable();
  RouteTable(RouteTable&&) noexcept;
  RouteTable& operator=(RouteTable&&) noexcept;

  // Throws std::invalid_argument for a malformed pattern or one that is there already: a bug, found at start.
  void add(Route route);

  struct Match {
    const Route* route = nullptr;
    std::array<PathVariable, kMaxPathVariables> variables;
  };
  // A fixed segment wins over a variable. Errors: not_found "Path not found METHOD:/path", also when the path exists
  // for other methods only; invalid_argument for a malformed percent-encoding.
  [[nodiscard]] Result<Match> find(Method method, std::string_view path) const;

  [[nodiscard]] const std::vector<std::unique_ptr<const Route>>& routes() const {
    return routes_;
  }  // in order of add()

 private:
  struct Node;
  std::vector<std::unique_ptr<const Route>> routes_;
  std::unique_ptr<Node> root_;
};

}  // namespace appmesh::api
