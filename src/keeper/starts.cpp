// Starts as the keeper's loop sees them: asked for, waited for beside everything else, answered, given up.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include <sys/epoll.h>

#include "keeper/keeper.h"
#include "keeper/log.h"

namespace appmesh::keeper {
namespace {

std::int64_t monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1'000'000) + now.tv_nsec / 1000;
}

// With its NUL, cut at the front when it is longer than room.
std::size_t append_text(char* to, std::size_t room, const char* text) {
  const std::size_t length = std::strlen(text);
  if (length < room) {
    std::memcpy(to, text, length + 1);
    return length + 1;
  }
  std::snprintf(to, room, "...%s", text + length - (room - 4));
  return room;
}

}  // namespace

void Keeper::on_spawn() {
  const Spawn& request = *reinterpret_cast<const Spawn*>(inbox_.bytes());
  int error = 0;
  SpawnBlock* const block = spawner_.take(error);
  if (block == nullptr) return refuse_start(request, error, spawner_.made());
  block->request_id = request.header.request_id;
  block->connection = connection_source_;
  const auto complain = [&](const char* complaint) {
    spawner_.give_back(*block);
    send_error(request.header, error, complaint);
  };
  if (const char* const complaint =
          block->parse(inbox_.bytes(), inbox_.size(), inbox_.descriptors(), inbox_.descriptor_count(), error);
      complaint != nullptr) {
    return complain(complaint);
  }
  error = EEXIST;
  if (table_.find(request.run_id) != nullptr) return complain("run_id: in use");
  if (const std::uint32_t held = spawner_.held_by(block->uid); held >= kMaxStartsOfUser) {
    spawner_.give_back(*block);
    return refuse_start(request, EAGAIN, held);
  }
  Slot* const slot = table_.allocate(request.run_id, block->plan.tag, request.tag_bytes, error);
  if (slot == nullptr) return complain("table: no slot free");
  slot->started_us = realtime_us();
  for (std::size_t i = inbox_.descriptor_count() - request.kept_count; i < inbox_.descriptor_count(); ++i) {
    // The child has these numbers too, and closes them: nothing of the plan names them.
    table_.keep(*slot, inbox_.take_descriptor(i));
  }

  Descriptor writer;
  error = spawner_.open_notice(*block, writer);
  // Once only: a child that hangs early holds a copy of this end, which would go on telling of the other's close.
  epoll_event event{.events = EPOLLET, .data = {.u64 = kStartBase + spawner_.index_of(*block)}};
  if (error == 0 && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, block->notice.get(), &event) != 0) error = errno;
  if (error != 0) {
    slot->spawn_step = SpawnStep::fork;
    slot->spawn_error = error;
  } else {
    error = spawner_.start(*block, *slot, writer, monotonic_us(), options_.spawn_timeout_us);
  }
  if (error == 0) return;
  block->slot = slot;
  start_ended(*block);  // there is no child
}

void Keeper::refuse_start(const Spawn& request, int error, std::uint32_t count) {
  SpawnFailed failed{};
  failed.header = header_of<SpawnFailed>(MessageType::spawn_failed, request.header.request_id);
  failed.run_id = request.run_id;
  failed.step = SpawnStep::admission;
  failed.error = error;
  failed.detail = count;
  send(&failed, sizeof failed);
}

// The kernel has cleared the word of the child, or there is no child: block and slot are ours alone again.
void Keeper::start_ended(SpawnBlock& block) {
  Slot& slot = *block.slot;
  const bool given_up = block.state == SpawnBlock::State::given_up;
  spawner_.ended(block);
  if (given_up) {
    table_.release_quarantined(slot);
    if (!block.answer_due) spawner_.give_back(block);
    return;
  }
  note_outcome(block, slot.spawn_error);
  if (slot.spawn_error != 0) {
    table_.release(slot);
  } else {
    table_.set_running(slot, 0, slot.started_us);
  }
}

void Keeper::note_outcome(SpawnBlock& block, std::int32_t error) {
  const Slot& slot = *block.slot;
  block.outcome = {.run_id = slot.run_id,
                   .pid = slot.pid,
                   .start_ticks = slot.start_ticks,
                   .started_us = slot.started_us,
                   .step = slot.spawn_step,
                   .error = error,
                   .detail = slot.spawn_detail};
  block.answer_due = true;
  ++answers_due_;
}

// Answers those whose time is over. Their children are killed, but only the kernel knows when they are dead.
void Keeper::give_up_late_starts() {
  if (spawner_.pending() == 0) return;
  const std::int64_t now = monotonic_us();
  for (std::uint32_t i = 0; i < spawner_.made(); ++i) {
    SpawnBlock& block = spawner_.at(i);
    if (block.state != SpawnBlock::State::pending || block.deadline_us > now) continue;
    if (block.has_ended()) {
      start_ended(block);
      continue;
    }
    spawner_.give_up(block);
    log("pid %d of uid %u hangs at the step '%s' of its start: killed", block.pid, block.uid,
        to_string(block.slot->spawn_step));
    note_outcome(block, ETIMEDOUT);
    block.slot->spawn_error = ETIMEDOUT;  // so that a next keeper does not take it for a run
    table_.quarantine(*block.slot);
  }
}

int Keeper::wait_ms() const {
  const std::int64_t first = spawner_.first_deadline_us();
  if (first == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<std::int64_t>((first - monotonic_us() + 999) / 1000, 0, 60'000));
}

void Keeper::send_due_answer() {
  std::uint32_t index = 0;
  while (!spawner_.at(index).answer_due) ++index;
  SpawnBlock& block = spawner_.at(index);
  block.answer_due = false;
  --answers_due_;
  if (greeted_ && block.connection == connection_source_) send_outcome(block);
  if (block.state == SpawnBlock::State::ended) spawner_.give_back(block);
}

void Keeper::send_outcome(const SpawnBlock& block) {
  const SpawnOutcome& outcome = block.outcome;
  if (outcome.error == 0) {
    Started started{};
    started.header = header_of<Started>(MessageType::spawned, block.request_id);
    started.run_id = outcome.run_id;
    started.pid = outcome.pid;
    started.start_ticks = outcome.start_ticks;
    started.started_us = outcome.started_us;
    return send(&started, sizeof started);
  }
  struct {
    SpawnFailed failed;
    char text[kMaxFailureText];
  } message{};
  message.failed.header = header_of<SpawnFailed>(MessageType::spawn_failed, block.request_id);
  message.failed.run_id = outcome.run_id;
  message.failed.step = outcome.step;
  message.failed.error = outcome.error;
  message.failed.detail = outcome.detail;
  std::size_t text_bytes = 0;
  // What a child that is given up has in its block is still its own.
  if (outcome.step == SpawnStep::exec && outcome.error != ETIMEDOUT && block.path[0] != 0) {
    constexpr std::size_t kHalf = kMaxFailureText / 2;
    text_bytes = append_text(message.text, kHalf, block.path);
    if (block.interpreter[0] != 0) text_bytes += append_text(message.text + text_bytes, kHalf, block.interpreter);
  }
  message.failed.header.size += static_cast<std::uint32_t>(text_bytes);
  send(&message, message.failed.header.size);
}

}  // namespace appmesh::keeper
