// `depends_on`, docs/wire.md#own-fields: an app whose time has come waits until every condition holds, and starts at
// that instant. Conditions count for starts only: what runs goes on when an app that it depends on ends.
#include <utility>

#include <fmt/format.h>

#include "core/lifecycle_decider.h"

namespace appmesh::core {

namespace {

std::string describe(const UnmetDependencies& unmet) {
  std::string text = "waiting for ";
  std::string_view separator;
  for (const auto& [name, dependency] : unmet) {
    text += fmt::format("{}{} ({})", separator, name,
                        dependency.unknown ? "no such application" : to_string(dependency.condition));
    separator = ", ";
  }
  return text;
}

}  // namespace

void Decider::on(const event::DependenciesChanged& changed) {
  if (s_.phase == Phase::removed || s_.waiting_for == changed.waiting_for) return;
  s_.waiting_for = changed.waiting_for;
  review_dependencies();
}

void Decider::review_dependencies() {
  if (s_.phase != Phase::blocked) return;
  if (s_.waiting_for.empty()) return resume();
  set_condition(Condition::waiting_for, describe(s_.waiting_for));
}

// A start that is due has to wait. The next occurrence of a recurring app stays planned; should it come first, the
// earlier one is missed.
void Decider::block() {
  s_.phase = Phase::blocked;
  s_.dormant = false;
  s_.start_is_due = false;
  plan_next_occurrence();
  set_condition(Condition::waiting_for, describe(s_.waiting_for));
}

}  // namespace appmesh::core
