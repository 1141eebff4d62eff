// What clients are told of an app (last_error). What happened has its time and is history. What keeps the app from
// running is a condition of the present: every step looks whether it still holds, so that no word outlives its truth.
#include <utility>

#include <fmt/format.h>

#include "core/lifecycle_decider.h"
#include "core/schedule.h"

namespace appmesh::core {

namespace {

constexpr std::string_view kRestartIn = "; restart in ";

}  // namespace

void Decider::note(std::string text) {
  s_.history = {std::move(text), now_.wall};
  persist();
}

void Decider::set_condition(Condition condition, std::string text) {
  if (condition == s_.condition && text == s_.condition_message.text) return;
  s_.condition = condition;
  s_.condition_message = {std::move(text), now_.wall};
  persist();
}

void Decider::clear_condition() {
  if (s_.condition == Condition::none) return;
  s_.condition = Condition::none;
  s_.condition_message = {};
  persist();
}

void Decider::tell_no_start() {
  if (is_live()) return;
  if (next_opening(definition(), now_.wall) != now_.wall) {
    set_condition(Condition::closed, "outside valid time range");
  } else if (s_.dormant) {
    set_condition(Condition::no_start_ahead, "no further start before end_time");
  }
}

// Why it has to wait is told with how long.
void Decider::tell_back_off(Seconds delay) {
  const bool failed = s_.condition == Condition::start_failed;
  const std::string& last = (failed ? s_.condition_message : s_.history).text;
  const std::string_view why = std::string_view(last).substr(0, last.find(kRestartIn));
  set_condition(failed ? Condition::start_failed : Condition::back_off,
                fmt::format("{}{}{} s (back-off)", why, kRestartIn, delay.count()));
}

void Decider::review_condition() {
  if (s_.phase == Phase::removed) return;
  if (!is_enabled()) return set_condition(Condition::not_enabled, "not enabled");
  const bool backs_off = s_.phase == Phase::waiting && s_.next_start && s_.next_start->steady;
  const bool rests = s_.phase == Phase::idle || s_.phase == Phase::waiting;
  switch (s_.condition) {
    case Condition::none:
      // A state that was saved by an older version does not tell.
      if (backs_off) tell_back_off(ceil<Seconds>(*s_.next_start->steady - now_.steady));
      return;
    case Condition::not_enabled:
      return clear_condition();
    case Condition::closed:
      if (!rests || next_opening(definition(), now_.wall) == now_.wall) clear_condition();
      return;
    case Condition::no_start_ahead:
      if (s_.phase != Phase::idle || !s_.dormant) clear_condition();
      return;
    case Condition::start_failed:
      if (!rests && s_.phase != Phase::starting) return clear_condition();
      if (const auto wait = s_.condition_message.text.find(kRestartIn); wait != std::string::npos && !backs_off) {
        s_.condition_message.text.resize(wait);
        persist();
      }
      return;
    case Condition::waiting_for:
      if (s_.phase != Phase::blocked) clear_condition();
      return;
    case Condition::back_off:
      if (!backs_off) clear_condition();
      return;
  }
}

}  // namespace appmesh::core
