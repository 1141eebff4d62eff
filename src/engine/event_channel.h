// What EventHub holds of one app and of one subscription. Inner part of event_hub.cpp and event_output.cpp.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/event_hub.h"

namespace appmesh::engine {

struct EventHub::Member {
  Subscription subscription;
  std::uint64_t generation = 0;  // of the app; 0: all apps
  bool over = false;
};

// A run whose output is read for subscribers.
struct EventHub::Follow {
  EventApp app;
  EventRun run;
  std::uint64_t position = 0;  // told up to here
  std::size_t held = 0;        // bytes from there that are the beginning of a character
  core::SteadyTime last_told{};
  std::uint64_t token = 0;  // of the one wait or step under way; older ones are void
  bool finishing = false;   // the run is gone
  platform::UniqueFd file;  // then: the file's name may be gone too
  std::optional<boost::json::object> exit;
};

struct EventHub::Channel {
  std::vector<MemberPtr> members;
  std::unordered_map<runtime::RunId, std::unique_ptr<Follow>, runtime::RunIdHash> follows;
  std::deque<std::move_only_function<void()>> waiting;  // behind the run that is finishing
  bool busy = false;                                    // a run is finishing
};

}  // namespace appmesh::engine
