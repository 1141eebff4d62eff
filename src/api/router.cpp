#include "api/router.h"

#include <algorithm>
#include <stdexcept>

#include "core/text.h"

namespace appmesh::api {
namespace {

constexpr std::size_t kRoutableMethods = 4;  // get, post, put, del

constexpr std::size_t kMaxEchoedPath = 256;

std::string_view next_segment(std::string_view& rest) {
  const std::size_t end = rest.find('/');
  const std::string_view segment = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return segment;
}

// A trailing slash makes no other path.
std::string_view segments_of(std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

bool is_variable(std::string_view segment) {
  return segment.starts_with('{') && segment.ends_with('}');
}

bool is_good_value(std::string_view value) {
  if (value.empty()) return false;
  return std::ranges::none_of(
      value, [](char c) { return c == '/' || c == '*' || static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

}  // namespace

const std::string& Context::variable(std::string_view name) const {
  for (const PathVariable& variable : variables) {
    if (variable.name == name) return variable.value;
  }
  throw std::logic_error("the pattern has no variable " + std::string(name));
}

struct RouteTable::Node {
  struct Target {
    const Route* route = nullptr;
    std::array<std::string_view, kMaxPathVariables> names;  // into the route's pattern
  };

  std::vector<std::pair<std::string, std::unique_ptr<Node>>> fixed;  // sorted by segment
  std::unique_ptr<Node> variable;
  std::array<Target, kRoutableMethods> targets;

  [[nodiscard]] const Node* find_fixed(std::string_view segment) const {
    const auto it = std::ranges::lower_bound(fixed, segment, std::less<>{},
                                             [](const auto& e) -> std::string_view { return e.first; });
    return it != fixed.end() && it->first == segment ? it->second.get() : nullptr;
  }

  Node& make_fixed(std::string_view segment) {
    auto it = std::ranges::lower_bound(fixed, segment, std::less<>{},
                                       [](const auto& e) -> std::string_view { return e.first; });
    if (it == fixed.end() || it->first != segment) {
      it = fixed.emplace(it, std::string(segment), std::make_unique<Node>());
    }
    return *it->second;
  }

  using Values = std::array<std::string_view, kMaxPathVariables>;

  // Goes back from a fixed segment to a variable when the method is not there: GET /app/run is an app named "run",
  // while POST /app/run is a route of its own. The depth is that of the longest pattern.
  [[nodiscard]] const Target* find(std::size_t method, std::string_view rest, Values& values, std::size_t count) const {
    if (rest.empty()) return targets[method].route ? &targets[method] : nullptr;
    const std::string_view segment = next_segment(rest);
    if (const Node* next = find_fixed(segment)) {
      if (const Target* found = next->find(method, rest, values, count)) return found;
    }
    if (!variable || segment.empty() || count == kMaxPathVariables) return nullptr;
    values[count] = segment;
    return variable->find(method, rest, values, count + 1);
  }
};

RouteTable::RouteTable() : root_(std::make_unique<Node>()) {}
RouteTable::~RouteTable() = default;
RouteTable::RouteTable(RouteTable&&) noexcept = default;
RouteTable& RouteTable::operator=(RouteTable&&) noexcept = default;

void RouteTable::add(Route route) {
  const auto refuse = [&](const char* reason) {
    throw std::invalid_argument("route " + std::string(to_string(route.method)) + " " + route.pattern + ": " + reason);
  };
  if (!route.pattern.starts_with('/')) refuse("a pattern starts with '/'");
  if (route.pattern.size() > 1 && route.pattern.ends_with('/')) refuse("a pattern does not end with '/'");
  if (static_cast<std::size_t>(route.method) >= kRoutableMethods) refuse("only GET, POST, PUT and DELETE have routes");
  if (!route.handler == !route.direct) refuse("one handler is wanted");

  auto owned = std::make_unique<const Route>(std::move(route));
  Node::Target target{owned.get(), {}};
  Node* node = root_.get();
  std::size_t count = 0;
  for (std::string_view rest = segments_of(owned->pattern); !rest.empty();) {
    const std::string_view segment = next_segment(rest);
    if (segment.empty()) throw std::invalid_argument("route " + owned->pattern + ": empty segment");
    if (!is_variable(segment)) {
      node = &node->make_fixed(segment);
      continue;
    }
    if (count == kMaxPathVariables) throw std::invalid_argument("route " + owned->pattern + ": too many variables");
    target.names[count++] = segment.substr(1, segment.size() - 2);
    if (!node->variable) node->variable = std::make_unique<Node>();
    node = node->variable.get();
  }
  Node::Target& slot = node->targets[static_cast<std::size_t>(owned->method)];
  if (slot.route) throw std::invalid_argument("route " + owned->pattern + ": added twice");
  slot = target;
  routes_.push_back(std::move(owned));
}

Result<RouteTable::Match> RouteTable::find(Method method, std::string_view path) const {
  const auto not_found = [&] {
    std::string message = "Path not found ";
    message.append(to_string(method)).append(":").append(path.substr(0, kMaxEchoedPath));
    return fail(ErrorKind::not_found, std::move(message));
  };
  if (static_cast<std::size_t>(method) >= kRoutableMethods || !path.starts_with('/')) return not_found();

  Node::Values values;
  const Node::Target* target = root_->find(static_cast<std::size_t>(method), segments_of(path), values, 0);
  if (!target) return not_found();
  Match match;
  match.route = target->route;
  for (std::size_t i = 0; i < kMaxPathVariables && !target->names[i].empty(); ++i) {
    auto value = percent_decode(values[i]);
    if (!value) return std::unexpected(std::move(value.error()));
    if (!core::is_utf8(*value))
      return fail(ErrorKind::invalid_argument,
                  "path variable '" + std::string(target->names[i]) + "': not valid UTF-8");
    if (!is_good_value(*value)) return not_found();
    match.variables[i] = {target->names[i], std::move(*value)};
  }
  return match;
}

}  // namespace appmesh::api
