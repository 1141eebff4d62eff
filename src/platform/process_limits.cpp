#include "platform/process_limits.h"

#include <sys/resource.h>

#include <fmt/format.h>
#include <pthread.h>

namespace appmesh::platform {

namespace {

constexpr rlim_t kDescriptors = 65536;
constexpr std::size_t kThreadStackBytes = std::size_t{8} * 1024 * 1024;

std::string& limits_text() {
  static std::string text;
  return text;
}

void raise_limit(__rlimit_resource resource, rlim_t wanted) {
  rlimit before{};
  if (::getrlimit(resource, &before) != 0) return;
  rlimit raised = before;
  if (before.rlim_max < wanted) {
    raised.rlim_cur = raised.rlim_max = wanted;
    if (::setrlimit(resource, &raised) != 0) raised = before;  // only the privileged may
  }
  raised.rlim_cur = raised.rlim_max;
  if (raised.rlim_cur == before.rlim_cur || ::setrlimit(resource, &raised) != 0) return;
  limits_text() += fmt::format("{}{}:{}:{}", limits_text().empty() ? "" : ",", static_cast<int>(resource),
                               before.rlim_cur, before.rlim_max);
}

}  // namespace

void raise_own_limits() {
  raise_limit(RLIMIT_NOFILE, kDescriptors);
  for (const auto resource : {RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_CPU}) raise_limit(resource, RLIM_INFINITY);
  for (const auto resource : {RLIMIT_NPROC, RLIMIT_MEMLOCK, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE})
    raise_limit(resource, 0);
  // The stack limit is what glibc gives to each thread.
  pthread_attr_t attributes;
  if (::pthread_getattr_default_np(&attributes) != 0) return;
  ::pthread_attr_setstacksize(&attributes, kThreadStackBytes);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

const std::string& limits_of_the_start() {
  return limits_text();
}

}  // namespace appmesh::platform
