// The lifecycle state as JSON. Instants are microseconds of the epoch; a field at its default is left out.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/lifecycle.h"

namespace appmesh::core {

namespace {

namespace json = boost::json;
using std::chrono::microseconds;

std::int64_t to_micros(WallTime at) {
  return at.time_since_epoch().count();
}
WallTime from_micros(std::int64_t micros) {
  return WallTime(microseconds(micros));
}

// A steady instant is saved as the wall time that it has by now's reckoning.
WallTime to_wall(SteadyTime at, Now now) {
  return now.wall + (at - now.steady);
}

class StateWriter {
 public:
  explicit StateWriter(json::object& out) : out_(out) {}
  void number(std::string_view name, std::uint64_t value) {
    if (value != 0) out_[name] = value;
  }
  void flag(std::string_view name, bool value) {
    if (value) out_[name] = true;
  }
  void time(std::string_view name, WallTime value) {
    if (value != WallTime{}) out_[name] = to_micros(value);
  }
  void time(std::string_view name, const std::optional<WallTime>& value) {
    if (value) out_[name] = to_micros(*value);
  }
  // The wall time of its end, and the wait that is left: a clock that jumps while nobody watches cannot stretch it.
  void wait(std::string_view until, std::string_view left, const std::optional<SteadyTime>& end, Now now) {
    if (!end) return;
    out_[until] = to_micros(to_wall(*end, now));
    out_[left] = std::max(microseconds(0), *end - now.steady).count();
  }

 private:
  json::object& out_;
};

// Reads what StateWriter wrote. A wrong type or a number that does not fit is remembered as the error.
class StateReader {
 public:
  explicit StateReader(const json::object& saved, std::optional<Error>& error) : saved_(saved), error_(error) {}

  template <typename Int>
  void number(std::string_view name, Int& out, std::int64_t high = std::numeric_limits<std::int64_t>::max()) {
    if (const auto value = integer(name, 0, high)) out = static_cast<Int>(*value);
  }
  void flag(std::string_view name, bool& out) {
    const json::value* value = saved_.if_contains(name);
    if (value == nullptr) return;
    if (!value->is_bool()) return refuse(name);
    out = value->get_bool();
  }
  void text(std::string_view name, std::string& out) {
    const json::value* value = saved_.if_contains(name);
    if (value == nullptr) return;
    if (!value->is_string()) return refuse(name);
    out = value->get_string();
  }
  std::optional<WallTime> time(std::string_view name) {
    const auto value = integer(name, 0, kLastInstant);
    if (!value) return std::nullopt;
    return from_micros(*value);
  }
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t low, std::int64_t high) {
    const json::value* value = saved_.if_contains(name);
    if (value == nullptr) return std::nullopt;
    boost::system::error_code error;
    const auto number = value->is_number() ? value->to_number<std::int64_t>(error) : 0;
    if (!value->is_number() || error || number < low || number > high) return refuse(name), std::nullopt;
    return number;
  }
  // What is left of a wait that was to end at `until` and had `left` to go when it was saved.
  std::optional<microseconds> wait(std::string_view until, std::string_view left, Now now) {
    const auto most = integer(left, 0, std::numeric_limits<std::int64_t>::max() / 2);
    if (!most) return std::nullopt;
    return std::clamp(time(until).value_or(now.wall) - now.wall, microseconds(0), microseconds(*most));
  }
  // The same in steady time, where what is over stays in the past. A state that is older than the field `left` says
  // only when it was to end.
  std::optional<SteadyTime> end_of_wait(std::string_view until, std::string_view left, Now now) {
    const auto end = time(until);
    if (!end) return std::nullopt;
    const auto most = integer(left, 0, std::numeric_limits<std::int64_t>::max() / 2);
    return now.steady + std::min(*end - now.wall, most ? microseconds(*most) : microseconds::max());
  }
  std::optional<int> code(std::string_view name) {
    const auto value = integer(name, std::numeric_limits<int>::min(), std::numeric_limits<int>::max());
    if (!value) return std::nullopt;
    return static_cast<int>(*value);
  }
  const json::object* object(std::string_view name) {
    const json::value* value = saved_.if_contains(name);
    if (value == nullptr) return nullptr;
    if (!value->is_object()) refuse(name);
    return value->if_object();
  }

 private:
  static constexpr std::int64_t kLastInstant = 253402300799LL * 1'000'000;  // of the year 9999
  void refuse(std::string_view name) {
    if (!error_) error_ = Error{ErrorKind::invalid_argument, fmt::format("saved state: bad '{}'", name), {}};
  }
  const json::object& saved_;
  std::optional<Error>& error_;
};

// Earlier daemons saved conditions and history as one text.
void forget_old_conditions(Message& history) {
  history.text.resize(std::min(history.text.size(), history.text.find("; restart in ")));
  const bool condition = history.text == "not enabled" || history.text == "outside valid time range" ||
                         history.text.starts_with("waiting for ");
  if (condition) history = {};
}

}  // namespace

json::object save_state(const LifecycleState& s, Now now) {
  json::object out;
  StateWriter fields(out);
  out["status"] = static_cast<std::int64_t>(s.status);
  out["phase"] = static_cast<std::int64_t>(s.phase);
  fields.number("current_run", s.current_run);
  fields.number("last_run", s.last_run);
  fields.number("outgoing_run", s.outgoing_run);
  if (s.outgoing_until || s.outgoing_exited) {
    json::object& outgoing = out["outgoing"].emplace_object();
    StateWriter(outgoing).wait("until", "left", s.outgoing_until, now);
    if (s.outgoing_exited) outgoing["exited"] = true;
  }
  fields.flag("start_is_due", s.start_is_due);
  fields.number("stop_reason", static_cast<std::uint64_t>(s.stop_reason));
  fields.flag("restart_after_stop", s.restart_after_stop);
  fields.flag("remove_after_stop", s.remove_after_stop);
  if (s.next_start) {
    json::object& next = out["next_start"].emplace_object();
    next["at"] = to_micros(s.next_start->wall);
    StateWriter(next).wait("at", "back_off", s.next_start->steady, now);
  }
  if (s.on_demand) {
    json::object& run = out["on_demand"].emplace_object();
    StateWriter members(run);
    members.number("timeout", static_cast<std::uint64_t>(s.on_demand->timeout.count()));
    members.wait("kill_at", "kill_left", s.on_demand->kill_at, now);
    members.wait("remove_at", "remove_left", s.on_demand->remove_at, now);
  }
  fields.flag("dormant", s.dormant);
  fields.wait("remove_at", "remove_left", s.remove_at, now);
  fields.number("backoff_step", s.backoff_step);
  fields.time("run_started", s.run_started_wall);
  fields.number("starts", s.starts);
  if (s.return_code) out["return_code"] = *s.return_code;
  if (s.run_return_code) out["run_return_code"] = *s.run_return_code;
  fields.time("last_start", s.last_start);
  fields.time("last_exit", s.last_exit);
  if (!s.history.text.empty()) out["last_error"] = s.history.text;
  fields.time("last_error_time", s.history.time);
  if (s.condition != Condition::none) {
    json::object& condition = out["condition"].emplace_object();
    condition["kind"] = static_cast<std::int64_t>(s.condition);
    condition["text"] = s.condition_message.text;
    StateWriter(condition).time("time", s.condition_message.time);
  }
  fields.flag("healthy", s.healthy);
  fields.flag("ready", s.ready);
  if (s.ready_by) {
    json::object& ready = out["ready_by"].emplace_object();
    ready["at"] = to_micros(to_wall(*s.ready_by, now));
    ready["left"] = std::max(microseconds(0), *s.ready_by - now.steady).count();
  }
  if (!s.status_text.empty()) out["status_text"] = s.status_text;
  fields.number("missed_starts", s.missed_starts);
  fields.flag("exit_unknown", !s.exit_known);
  return out;
}

Result<void> load_state(LifecycleState& state, const json::object& saved, Now now) {
  LifecycleState s;
  s.definition = state.definition;
  std::optional<Error> error;
  StateReader fields(saved, error);
  fields.number("status", s.status, 2);
  fields.number("phase", s.phase, static_cast<std::int64_t>(Phase::blocked));
  fields.number("current_run", s.current_run);
  fields.number("last_run", s.last_run);
  fields.number("outgoing_run", s.outgoing_run);
  if (const auto* outgoing = fields.object("outgoing")) {
    StateReader members(*outgoing, error);
    members.flag("exited", s.outgoing_exited);
    if (const auto left = members.wait("until", "left", now)) s.outgoing_until = now.steady + *left;
  }
  fields.flag("start_is_due", s.start_is_due);
  fields.number("stop_reason", s.stop_reason, static_cast<std::int64_t>(StopReason::watchdog));
  fields.flag("restart_after_stop", s.restart_after_stop);
  fields.flag("remove_after_stop", s.remove_after_stop);
  if (const auto* next = fields.object("next_start")) {
    StateReader members(*next, error);
    PlannedStart planned{.wall = members.time("at").value_or(now.wall)};
    if (const auto left = members.wait("at", "back_off", now))
      planned = {.wall = now.wall + *left, .steady = now.steady + *left};
    s.next_start = planned;
  }
  if (const auto* run = fields.object("on_demand")) {
    StateReader members(*run, error);
    OnDemand on_demand;
    on_demand.timeout = std::chrono::seconds(members.integer("timeout", 0, 1'000'000'000).value_or(0));
    on_demand.kill_at = members.end_of_wait("kill_at", "kill_left", now);
    on_demand.remove_at = members.end_of_wait("remove_at", "remove_left", now);
    s.on_demand = on_demand;
  }
  fields.flag("dormant", s.dormant);
  s.remove_at = fields.end_of_wait("remove_at", "remove_left", now);
  fields.number("backoff_step", s.backoff_step, 64);
  s.run_started_wall = fields.time("run_started").value_or(WallTime{});
  s.run_started_steady = now.steady - std::max(microseconds(0), now.wall - s.run_started_wall);
  fields.number("starts", s.starts);
  s.return_code = fields.code("return_code");
  s.run_return_code = fields.code("run_return_code");
  s.last_start = fields.time("last_start");
  s.last_exit = fields.time("last_exit");
  fields.text("last_error", s.history.text);
  s.history.time = fields.time("last_error_time");
  if (const auto* condition = fields.object("condition")) {
    StateReader members(*condition, error);
    members.number("kind", s.condition, static_cast<std::int64_t>(Condition::back_off));
    members.text("text", s.condition_message.text);
    s.condition_message.time = members.time("time");
  } else {
    forget_old_conditions(s.history);
  }
  fields.flag("healthy", s.healthy);
  fields.flag("ready", s.ready);
  if (const auto* ready = fields.object("ready_by")) {
    StateReader members(*ready, error);
    if (const auto left = members.wait("at", "left", now)) s.ready_by = now.steady + *left;
  }
  fields.text("status_text", s.status_text);
  fields.number("missed_starts", s.missed_starts);
  bool exit_unknown = false;
  fields.flag("exit_unknown", exit_unknown);
  s.exit_known = !exit_unknown;
  if (error) return std::unexpected(std::move(*error));
  // What the rest relies on: a run in the phases that have one, and a planned start while waiting.
  const bool has_run = s.phase >= Phase::starting && s.phase <= Phase::draining;
  const bool has_outgoing = s.outgoing_run != 0;
  if (has_run != (s.current_run != 0) || s.current_run > s.last_run || (s.phase == Phase::waiting && !s.next_start) ||
      s.outgoing_run > s.last_run || (has_outgoing && s.outgoing_run == s.current_run) ||
      (!has_outgoing && (s.outgoing_until || s.outgoing_exited)))
    return fail(ErrorKind::invalid_argument, "saved state: phase, run and plan do not fit together");
  state = std::move(s);
  return {};
}

}  // namespace appmesh::core
