#include "cli/rolling_restart.h"

#include <chrono>

#include <fmt/format.h>

#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/format.h"

namespace appmesh::cli {
namespace {

constexpr std::chrono::milliseconds kPause{300};
constexpr std::chrono::minutes kGiveUp{10};  // of a daemon that is away

struct Roll {
  std::string state;  // running, stopped, or empty: none
  std::string reason;
};

Roll roll_of(const App& app) {
  const auto* value = app.json().if_contains("rolling_restart");
  if (value == nullptr || !value->is_object()) return {};
  const App fields(value->get_object());
  return {fields.text("state").value_or(""), fields.text("reason").value_or("")};
}

}  // namespace

int await_rolling_restart(Client& client, const std::string& name, const Interrupt& interrupt) {
  bool waited = false;
  auto seen = std::chrono::steady_clock::now();
  for (;;) {
    try {
      const Roll roll = roll_of(client.get_app(name));
      seen = std::chrono::steady_clock::now();
      if (roll.state == "stopped") {
        complain(fmt::format("the rolling restart of {} stopped: {}", name, roll.reason));
        tell("  the other instances keep their old processes; when the cause is gone: appc restart -a " + name);
        return kFailed;
      }
      if (roll.state != "running") {
        if (waited) tell("Every instance of " + name + " was restarted.");
        return kOk;
      }
      if (!waited) tell("Its instances are restarted one after the other. Ctrl-C stops the waiting, not the restart.");
      waited = true;
    } catch (const ClientError& error) {
      if (error.status() == 404 || error.status() == 403)
        return kOk;  // nothing is there to be waited for, or not by us
      const bool away = error.connection_lost() || error.status() == 502 || error.status() == 503;
      if (!away || std::chrono::steady_clock::now() - seen > kGiveUp) throw;
    }
    if (interrupt.pause(kPause)) return kSignalBase + interrupt.signal();
  }
}

}  // namespace appmesh::cli
