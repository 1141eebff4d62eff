#include "keeper/limits.h"

#include <cstdio>
#include <initializer_list>

namespace appmesh::keeper {
namespace {

constexpr rlim_t kDescriptors = 65536;

bool is_known(const ChildLimits& limits, std::uint32_t resource) {
  for (std::uint32_t i = 0; i < limits.count; ++i) {
    if (limits.items[i].resource == resource) return true;
  }
  return false;
}

void raise(__rlimit_resource resource, rlim_t wanted, ChildLimits& limits) {
  rlimit before{};
  if (::getrlimit(resource, &before) != 0 || before.rlim_cur >= wanted) return;
  rlimit raised = before;
  if (raised.rlim_max < wanted) {  // only the privileged may
    raised.rlim_max = raised.rlim_cur = wanted;
    if (::setrlimit(resource, &raised) != 0) raised = before;
  }
  raised.rlim_cur = raised.rlim_max;
  if (::setrlimit(resource, &raised) != 0 || raised.rlim_cur == before.rlim_cur) return;
  if (!is_known(limits, resource)) limits.items[limits.count++] = {resource, before};
}

}  // namespace

bool parse_limits(const char* text, ChildLimits& limits) {
  limits.count = 0;
  while (*text != 0) {
    unsigned resource = 0;
    unsigned long long soft = 0, hard = 0;
    int used = 0;
    if (std::sscanf(text, "%u:%llu:%llu%n", &resource, &soft, &hard, &used) != 3 || soft > hard) return false;
    if (limits.count == sizeof limits.items / sizeof limits.items[0] || is_known(limits, resource)) return false;
    limits.items[limits.count++] = {resource, {.rlim_cur = soft, .rlim_max = hard}};
    text += used;
    if (*text == ',') ++text;
  }
  return true;
}

void format_limits(const ChildLimits& limits, char (&text)[kLimitsTextBytes]) {
  std::size_t at = 0;
  text[0] = 0;
  for (std::uint32_t i = 0; i < limits.count; ++i) {
    const ChildLimits::One& one = limits.items[i];
    at += static_cast<std::size_t>(std::snprintf(text + at, sizeof text - at, "%s%u:%llu:%llu", i > 0 ? "," : "",
                                                 one.resource, static_cast<unsigned long long>(one.limit.rlim_cur),
                                                 static_cast<unsigned long long>(one.limit.rlim_max)));
  }
}

void raise_own_limits(ChildLimits& limits) {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  raise(RLIMIT_NOFILE, descriptors.rlim_max > kDescriptors ? descriptors.rlim_max : kDescriptors, limits);
  for (const auto resource : {RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_CPU}) raise(resource, RLIM_INFINITY, limits);
}

}  // namespace appmesh::keeper
