#include "runtime/run_tag.h"

#include <charconv>

#include <fmt/format.h>

namespace appmesh::runtime {

namespace {

template <typename Number>
bool read_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string RunTag::encode() const {
  return fmt::format("app={} run={} instance={} key={} cgroup={}{}{}{}{}{}{}{}", app, run_number, instance, process_key,
                     cgroup, kind == RunKind::health ? " kind=health" : "", awaited ? " awaited=1" : "",
                     notify.empty() ? "" : " notify=", notify, terminal ? " terminal=1" : "",
                     made_of.empty() ? "" : " made_of=", made_of);
}

std::optional<RunTag> RunTag::decode(std::string_view text) {
  RunTag tag;
  while (!text.empty()) {
    const auto space = text.find(' ');
    const std::string_view item = text.substr(0, space);
    text = space == std::string_view::npos ? std::string_view{} : text.substr(space + 1);
    const auto equals = item.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view key = item.substr(0, equals);
    const std::string_view value = item.substr(equals + 1);
    if (key == "app") tag.app = value;
    if (key == "key") tag.process_key = value;
    if (key == "cgroup") tag.cgroup = value;
    if (key == "notify") tag.notify = value;
    if (key == "made_of") tag.made_of = value;
    if (key == "terminal") tag.terminal = value == "1";
    if (key == "awaited") tag.awaited = value == "1";
    if (key == "kind" && value == "health") tag.kind = RunKind::health;
    if (key == "run" && !read_number(value, tag.run_number)) return std::nullopt;
    if (key == "instance" && !read_number(value, tag.instance)) return std::nullopt;
  }
  if (tag.app.empty() || tag.run_number == 0) return std::nullopt;
  return tag;
}

}  // namespace appmesh::runtime
