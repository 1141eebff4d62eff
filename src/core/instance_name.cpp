#include "core/instance_name.h"

#include <charconv>

#include <fmt/format.h>

namespace appmesh::core {

std::string instance_key(std::string_view app, std::uint32_t instance) {
  return instance == 0 ? std::string(app) : fmt::format("{}#{}", app, instance);
}

InstanceName split_instance(std::string_view key) {
  const auto mark = key.rfind('#');
  if (mark == std::string_view::npos) return {key, 0};
  InstanceName name{key.substr(0, mark), 0};
  std::from_chars(key.data() + mark + 1, key.data() + key.size(), name.instance);
  return name;
}

}  // namespace appmesh::core
