// What the keeper does with each message, and what it answers.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "keeper/keeper.h"
#include "keeper/log.h"
#include "keeper/process.h"

namespace appmesh::keeper {

void Keeper::handle_message() {
  const Header& header = *reinterpret_cast<const Header*>(inbox_.bytes());
  if (inbox_.size() < sizeof(Header)) {
    return send_error(Header{}, EBADMSG, "header: shorter than 16 bytes");
  }
  if (inbox_.size() > kMaxMessageBytes) return send_error(header, E2BIG, "size: over the limit of a message");
  if (header.size != inbox_.size()) return send_error(header, EBADMSG, "size: not that of the datagram");
  if (header.request_id == 0) return send_error(header, EINVAL, "request_id: zero");
  if (inbox_.too_many_descriptors()) return send_error(header, E2BIG, "descriptors: too many");
  if (!greeted_ && header.type != MessageType::hello) return send_error(header, EPROTO, "hello: has to come first");

  const auto whole = [&](std::size_t size) {
    if (header.size == size) return true;
    send_error(header, EBADMSG, "size: wrong for this request");
    return false;
  };
  switch (header.type) {
    case MessageType::hello:
      if (whole(sizeof(Hello))) on_hello(reinterpret_cast<const Hello&>(header));
      return;
    case MessageType::spawn:
      return on_spawn();
    case MessageType::signal:
      if (whole(sizeof(Signal))) on_signal(reinterpret_cast<const Signal&>(header));
      return;
    case MessageType::list:
      if (!whole(sizeof(Request))) return;
      listing_ = true;
      list_request_ = header.request_id;
      list_at_ = 0;
      list_count_ = 0;
      return;
    case MessageType::adopt:
      if (header.size < sizeof(Adopt)) return send_error(header, EBADMSG, "size: wrong for this request");
      return on_adopt(reinterpret_cast<const Adopt&>(header));
    case MessageType::forget:
      if (whole(sizeof(Forget))) on_forget(reinterpret_cast<const Forget&>(header));
      return;
    case MessageType::keep:
      if (whole(sizeof(Keep))) on_keep(reinterpret_cast<const Keep&>(header));
      return;
    case MessageType::ask_kept:
      if (whole(sizeof(AskKept))) on_ask_kept(reinterpret_cast<const AskKept&>(header));
      return;
    case MessageType::main_pid:
      if (whole(sizeof(MainPid))) on_main_pid(reinterpret_cast<const MainPid&>(header));
      return;
    case MessageType::reexec:
      if (!whole(sizeof(Reexec))) return;
      if (inbox_.descriptor_count() > 1) return send_error(header, EINVAL, "descriptors: one program at most");
      // The next program could not tell when their children have exec'ed.
      if (spawner_.pending() > 0) return send_error(header, EBUSY, "reexec: starts are under way, ask again");
      return send_error(header, reexec(header.request_id), "reexec: the program cannot be executed");
    default:
      return send_error(header, EOPNOTSUPP, "type: unknown request");
  }
}

void Keeper::on_hello(const Hello& request) {
  greeted_ = true;
  table_.clear_unsent();
  HelloReply reply{};
  reply.header = header_of<HelloReply>(MessageType::hello_reply, request.header.request_id);
  reply.version = kProtocolVersion;
  reply.pid = ::getpid();
  reply.slots_capacity = kSlotCapacity;
  reply.slots_used = table_.used();
  reply.generation = table_.header().generation;
  reply.started_us = started_us_;
  reply.max_message_bytes = kMaxMessageBytes;
  reply.features = kFeatureKept | kFeatureOwnPid | kFeatureMainPid | kFeatureHomeDirectory;
  std::memcpy(reply.boot_id, table_.header().boot_id, sizeof reply.boot_id);
  std::snprintf(reply.program_version, sizeof reply.program_version, "%s", APPMESH_VERSION);
  send(&reply, sizeof reply);
}

void Keeper::on_signal(const Signal& request) {
  if (request.signal < 0 || request.signal > SIGRTMAX)
    return send_error(request.header, EINVAL, "signal: no such signal");
  if (request.scope == SignalScope::cgroup) {
    if (inbox_.descriptor_count() != 1) return send_error(request.header, EINVAL, "descriptors: one cgroup directory");
    std::uint32_t count = 0;
    const int error = cgroups_.send(inbox_.descriptors()[0], request.signal, count);
    if (error == EINVAL) return send_error(request.header, error, "descriptors: not a cgroup directory");
    if (error == EPERM) return send_error(request.header, error, "cgroup: refused, or the keeper is in it");
    if (error != 0) return send_error(request.header, error, "cgroup: cannot be signalled");
    return send_done(request.header.request_id, count);
  }
  if (request.scope != SignalScope::process && request.scope != SignalScope::group) {
    return send_error(request.header, EINVAL, "scope: unknown");
  }
  Slot* const slot = table_.find(request.run_id);
  if (slot != nullptr && unwatched(*slot)) take_over(*slot);
  if (slot == nullptr || slot->state != RunState::running)
    return send_error(request.header, ESRCH, "run_id: no living run");
  const bool group = request.scope == SignalScope::group;
  if (unwatched(*slot)) return send_error(request.header, EMFILE, "run_id: no descriptor left to hold its process");
  int error = 0;
  if (slot->pidfd >= 0) {
    error = group ? signal_group(slot->pidfd, slot->pid, request.signal) : signal_process(slot->pidfd, request.signal);
  } else if (::kill(group ? -slot->pid : slot->pid, request.signal) !=
             0) {  // our child and not reaped: its pid is safe
    error = errno;
  }
  if (error != 0) return send_error(request.header, error, "signal: refused by the kernel");
  send_done(request.header.request_id, 1);
}

void Keeper::on_forget(const Forget& request) {
  Slot* const slot = table_.find(request.run_id);
  if (slot == nullptr) return send_error(request.header, ESRCH, "run_id: unknown");
  if (slot->state != RunState::exited) return send_error(request.header, EBUSY, "run_id: still living");
  table_.release(*slot);
  send_done(request.header.request_id, 1);
}

void Keeper::on_keep(const Keep& request) {
  Slot* const slot = table_.find(request.run_id);
  if (slot == nullptr) return send_error(request.header, ESRCH, "run_id: unknown");
  if (inbox_.descriptor_count() == 0) return send_error(request.header, EINVAL, "descriptors: none");
  if (slot->kept_count + inbox_.descriptor_count() > kMaxKept)
    return send_error(request.header, E2BIG, "descriptors: too many for one run");
  for (std::size_t i = 0; i < inbox_.descriptor_count(); ++i) table_.keep(*slot, inbox_.take_descriptor(i));
  send_done(request.header.request_id, slot->kept_count);
}

void Keeper::on_ask_kept(const AskKept& request) {
  const Slot* const slot = table_.find(request.run_id);
  if (slot == nullptr) return send_error(request.header, ESRCH, "run_id: unknown");
  Kept answer{};
  answer.header = header_of<Kept>(MessageType::kept, request.header.request_id);
  answer.run_id = slot->run_id;
  answer.count = slot->kept_count;
  if (!outbox_.send(connection_.get(), &answer, sizeof answer, slot->kept, slot->kept_count)) drop_connection();
}

void Keeper::send_next_run() {
  while (++list_at_ <= table_.high_water()) {
    Slot& slot = table_.at(list_at_);
    if (unwatched(slot)) take_over(slot);
    if (slot.state != RunState::running && slot.state != RunState::exited) continue;
    struct {
      Run run;
      char tag[kMaxTagBytes];
    } message{};
    Run& run = message.run;
    run.header = header_of<Run>(MessageType::run, list_request_);
    run.header.size += slot.tag_bytes;
    run.run_id = slot.run_id;
    run.state = slot.state;
    run.flags = slot.flags;
    run.pid = slot.pid;
    run.tag_bytes = slot.tag_bytes;
    run.sequence = slot.sequence;
    run.start_ticks = slot.start_ticks;
    run.started_us = slot.started_us;
    run.exit = slot.exit;
    std::memcpy(message.tag, slot.tag, slot.tag_bytes);
    ++list_count_;
    return send(&message, run.header.size);
  }
  listing_ = false;
  ListEnd end{};
  end.header = header_of<ListEnd>(MessageType::list_end, list_request_);
  end.count = list_count_;
  send(&end, sizeof end);
}

void Keeper::send_exited(Slot& slot) {
  Exited message{};
  message.header = header_of<Exited>(MessageType::exited, 0);
  message.run_id = slot.run_id;
  message.pid = slot.pid;
  message.flags = slot.flags;
  message.exit = slot.exit;
  table_.exit_sent(slot);
  send(&message, sizeof message);
}

void Keeper::send_started(const Slot& slot, MessageType type, std::uint64_t request_id) {
  Started message{};
  message.header = header_of<Started>(type, request_id);
  message.run_id = slot.run_id;
  message.pid = slot.pid;
  message.start_ticks = slot.start_ticks;
  message.started_us = slot.started_us;
  send(&message, sizeof message);
}

void Keeper::send_done(std::uint64_t request_id, std::uint32_t count) {
  Done message{};
  message.header = header_of<Done>(MessageType::done, request_id);
  message.count = count;
  send(&message, sizeof message);
}

void Keeper::send_error(const Header& request, int error, const char* text) {
  Error message{};
  message.header = header_of<Error>(MessageType::error, request.request_id);
  message.request = request.type;
  message.error = error;
  std::snprintf(message.message, sizeof message.message, "%s", text);
  send(&message, sizeof message);
}

void Keeper::send(const void* message, std::size_t size) {
  if (!outbox_.send(connection_.get(), message, size)) drop_connection();
}

}  // namespace appmesh::keeper
