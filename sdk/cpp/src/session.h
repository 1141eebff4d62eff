// What the threads that share a Client share: its token, and its subscriptions. Internal to the library.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>

#include <appmesh/client.h>

#include "event_hub.h"

namespace appmesh {

namespace detail {
inline constexpr std::string_view kRenewPath = "/appmesh/token/renew";
}

struct Client::Session {
  std::mutex mutex;
  std::string token;
  int renewals = 0;  // under way: the daemon may refuse the token already
  std::condition_variable renewed;
  detail::EventHub events;
};

}  // namespace appmesh
