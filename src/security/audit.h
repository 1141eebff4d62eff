// Who did what, for those who have to know afterwards: one JSON line an event, in the state store's chained trail.
// Owned by the daemon; note() never waits for the disk, and may be called from any thread but the store's own.
#pragma once

#include <optional>
#include <string>

#include "store/state_store.h"

namespace appmesh::security {

struct AuditEvent {
  std::string action;  // "shell started"
  std::string user;    // who asked
  std::string peer;    // from where
  std::string app;     // what ran
  std::string run_id;
  std::string os_user;  // as whom
  std::optional<int> exit_code;
  std::string detail = {};  // what else there is to say; never a secret
};

class AuditTrail {
 public:
  // `states` must outlive it.
  explicit AuditTrail(store::StateStore& states) : states_(states) {}
  void note(const AuditEvent& event);

 private:
  store::StateStore& states_;
};

}  // namespace appmesh::security
