// Output of runs as events: read from the file in bounded pieces, one a turn of the engine, cut between characters.
#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>

#include "core/text.h"
#include "engine/event_channel.h"
#include "engine/event_hub.h"
#include "platform/clock.h"

namespace appmesh::engine {

namespace {

constexpr std::chrono::hours kLongWait{1};
constexpr std::uint64_t kLongestCharacter = 4;

}  // namespace

EventHub::Follow* EventHub::find(const std::string& app, const runtime::RunId& run, std::uint64_t token) {
  const auto channel = channels_.find(app);
  if (channel == channels_.end()) return nullptr;
  const auto follow = channel->second->follows.find(run);
  return follow == channel->second->follows.end() || follow->second->token != token ? nullptr : follow->second.get();
}

// Where the output of a run is for somebody who comes now; not inside a character.
std::uint64_t EventHub::joining_position(const std::string& app, const EventRun& run) const {
  const std::uint64_t size = outputs_.size(app, run.number);
  const std::uint64_t look = std::min(size, kLongestCharacter - 1);
  const auto tail = outputs_.read(app, run.number, size - look, look);
  return tail && tail->end == size ? size - core::incomplete_tail(tail->bytes) : size;
}

void EventHub::follow_live_runs(const EventApp& app) {
  for (const EventRun& run : directory_.runs(app.name())) {
    const auto channel = channels_.find(app.name());
    const bool known = channel != channels_.end() && channel->second->follows.contains(run.id);
    // One that nobody wants any more, and that was not given up yet, would be by its pump().
    const bool stale = known && !is_followed(app.name()) && !channel->second->follows.at(run.id)->finishing;
    if (stale) channel->second->follows.erase(run.id);
    if (!known || stale) {
      follow(app, run, joining_position(app.name(), run));
    } else if (Follow& other = *channel->second->follows.at(run.id); !other.finishing) {
      other.token = ++last_token_;
      pump(app.name(), run.id, other.token);
    }
  }
}

void EventHub::follow(const EventApp& app, const EventRun& run, std::uint64_t position) {
  auto& channel = channels_[app.name()];
  if (!channel) channel = std::make_unique<Channel>();
  auto& follow = channel->follows[run.id];
  if (follow) return;
  follow = std::make_unique<Follow>();
  follow->app = app;
  follow->run = run;
  follow->position = position;
  wait_for_output(app.name(), *follow);
}

void EventHub::wait_for_output(const std::string& app, Follow& follow) {
  follow.token = ++last_token_;
  // It may be called at once, so it only asks for a turn.
  watch_.wait(follow.run.id, follow.position + follow.held, kLongWait,
              [this, app, run = follow.run.id, token = follow.token] {
                boost::asio::post(context_, [this, app, run, token] { output_arrived(app, run, token); });
              });
}

// The first bytes after a quiet time are told at once, what follows them waits to be told together.
void EventHub::output_arrived(const std::string& app, const runtime::RunId& run, std::uint64_t token) {
  Follow* follow = find(app, run, token);
  if (follow == nullptr) return;
  const auto due = follow->last_told + limits_.coalesce;
  const auto now = platform::steady_now();
  const bool news = outputs_.size(app, follow->run.number) > follow->position + follow->held;
  if (news && now >= due) return pump(app, run, token);
  auto then = [this, app, run, token] { pump(app, run, token); };
  if (!news) {  // the wait ran out, or the run is not watched any more
    timers_.after(limits_.coalesce, std::move(then));
    return;
  }
  watch_.wait(run, follow->position + limits_.piece_bytes - 1, std::chrono::ceil<std::chrono::milliseconds>(due - now),
              [this, then = std::move(then)] { boost::asio::post(context_, then); });
}

void EventHub::pump_soon(const std::string& app, const Follow& follow) {
  boost::asio::post(context_, [this, app, run = follow.run.id, token = follow.token] { pump(app, run, token); });
}

void EventHub::pump(const std::string& app, const runtime::RunId& run, std::uint64_t token) {
  Follow* follow = find(app, run, token);
  if (follow == nullptr) return;
  Channel& channel = *channels_.at(app);
  const bool wanted = is_followed(app);
  if (!wanted && !follow->finishing) {
    channel.follows.erase(run);
    return forget_if_idle(app);
  }
  if (wanted && all_behind(app) && channel.waiting.size() < limits_.waiting) {
    timers_.after(limits_.pace, [this, app, run, token] { pump(app, run, token); });
    return;
  }

  auto chunk = follow->finishing ? outputs_.read(follow->file, follow->position, limits_.piece_bytes)
                                 : outputs_.read(app, follow->run.number, follow->position, limits_.piece_bytes);
  if (!wanted || !chunk) {
    chunk = runtime::OutputChunk{};
    chunk->begin = chunk->end = chunk->size = follow->position;
  }
  const bool last = follow->finishing && chunk->end >= chunk->size;
  follow->held = last ? 0 : core::incomplete_tail(chunk->bytes);
  const std::string_view whole(chunk->bytes.data(), chunk->bytes.size() - follow->held);
  follow->position = chunk->begin + whole.size();
  const EventApp told_of = follow->app;
  const bool more = chunk->size - chunk->end >= (follow->finishing ? 1 : limits_.piece_bytes);
  if (!whole.empty() || last) {
    follow->last_told = platform::steady_now();
    emit(told_of, EventKind::output,
         {{"output", core::repair_utf8(whole)}, {"position", chunk->begin}, {"finished", last}});
    follow = find(app, run, token);  // a subscriber may have been dropped, and with it everything
    if (follow == nullptr) return;
  }
  if (!last) return more ? pump_soon(app, *follow) : wait_for_output(app, *follow);

  const auto exit = std::move(follow->exit);
  channels_.at(app)->follows.erase(run);
  if (exit) emit(told_of, EventKind::exit, *exit);
  if (const auto settled = channels_.find(app); settled != channels_.end()) settled->second->busy = false;
  settle(app);
}

void EventHub::finish(const std::string& app, const runtime::RunId& run, std::optional<boost::json::object> exit,
                      platform::UniqueFd file) {
  Channel& channel = *channels_.at(app);
  Follow& follow = *channel.follows.at(run);
  channel.busy = true;
  follow.finishing = true;
  follow.file = std::move(file);
  follow.exit = std::move(exit);
  follow.token = ++last_token_;
  pump_soon(app, follow);
}

}  // namespace appmesh::engine
