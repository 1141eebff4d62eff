#include "cli/follow.h"

#include <algorithm>
#include <chrono>

#include "cli/context.h"
#include "cli/exit_code.h"

namespace appmesh::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kLongPoll{30};
constexpr std::chrono::milliseconds kIdlePause{500};  // between looks at an app that has nothing to tell
constexpr std::chrono::milliseconds kFirstRetry{100};
constexpr std::chrono::milliseconds kLongestRetry{2'000};
constexpr std::chrono::minutes kGiveUp{10};
constexpr int kHistoryDepth = 50;

struct Interrupted {};

// Calls that outlive a restart of the daemon: apps do, so their followers should.
class PatientClient {
 public:
  PatientClient(Client& client, const Interrupt& interrupt) : client_(client), interrupt_(interrupt) {
    client_.cancel_on(interrupt_.fd());
  }
  PatientClient(const PatientClient&) = delete;
  PatientClient& operator=(const PatientClient&) = delete;
  ~PatientClient() { client_.cancel_on(-1); }

  template <typename Call>
  auto call(Call what) {
    const auto give_up = std::chrono::steady_clock::now() + kGiveUp;
    std::chrono::milliseconds wait = kFirstRetry;
    for (bool told = false;; told = true) {
      try {
        auto result = what(client_);
        if (told) tell("-- connected again --");
        return result;
      } catch (const ClientError& error) {
        if (error.kind() == ErrorKind::kCancelled) throw Interrupted{};
        const bool away = error.connection_lost() || error.status() == 502 || error.status() == 503;
        if (!away || std::chrono::steady_clock::now() > give_up) throw;
        if (!told) tell(std::string("-- ") + error.what() + "; waiting for the daemon --");
      }
      pause(wait);
      wait = std::min(wait * 2, kLongestRetry);
    }
  }

  void pause(std::chrono::milliseconds time) const {
    if (interrupt_.pause(time)) throw Interrupted{};
  }

 private:
  Client& client_;
  const Interrupt& interrupt_;
};

// Which run an app is at. Daemons that do not tell the id of a run are followed by their count of starts.
struct RunMark {
  std::string uuid;
  std::int64_t starts = 0;
  bool operator==(const RunMark&) const = default;
};

std::string newest_run(const boost::json::array& runs) {
  if (runs.empty() || !runs.front().is_object()) return {};
  return App(runs.front().get_object()).text("process_uuid").value_or("");
}

boost::json::array history(PatientClient& client, const std::string& name, int limit) {
  try {
    return client.call([&](Client& inner) { return inner.app_runs(name, limit); });
  } catch (const ClientError& error) {
    if (error.kind() == ErrorKind::kStatus && error.status() != 401) return {};
    throw;
  }
}

RunMark current_run(PatientClient& client, const std::string& name) {
  const App app = client.call([&](Client& inner) { return inner.get_app(name); });
  RunMark mark{app.process_uuid().value_or(""), app.starts().value_or(0)};
  if (mark.uuid.empty() && mark.starts > 0) mark.uuid = newest_run(history(client, name, 1));
  return mark;
}

// The number under which the output of an older run is kept (1 = the one before the current), 0 when it is not known.
// The history may or may not begin with the current run, and the row of a run that has just ended may still be missing.
int output_index(PatientClient& client, const std::string& name, const std::string& uuid, const std::string& current) {
  const boost::json::array runs = history(client, name, kHistoryDepth);
  int index = 0;
  for (const boost::json::value& value : runs) {
    if (!value.is_object()) continue;
    const App run(value.get_object());
    const auto id = run.text("process_uuid");
    if (id == current || run.number("instance").value_or(0) != 0) continue;
    ++index;
    if (id == uuid) return index;
  }
  return 0;
}

// The app restarted between two reads: what its last run wrote at the end is still in the output history, when the app
// keeps one (stdout_cache_num).
void drain_old_run(PatientClient& client, const std::string& name, const std::string& uuid, const std::string& current,
                   std::uint64_t position, const OutputWriter& write) {
  constexpr int kTries = 3;
  int index = 0;
  for (int i = 0; i < kTries && index == 0; ++i) {
    if (i > 0) client.pause(50ms);
    index = output_index(client, name, uuid, current);
  }
  while (index > 0) {
    const OutputQuery query{.position = position, .index = index};
    const Output rest = client.call([&](Client& inner) { return inner.app_output(name, query); });
    if (rest.run_changed || rest.text.empty()) return;
    if (!write(rest.text)) throw Interrupted{};
    position = std::max(rest.position, position + rest.text.size());
  }
}

class Follower {
 public:
  Follower(Client& client, std::string name, const Interrupt& interrupt, OutputWriter write)
      : client_(client, interrupt), name_(std::move(name)), write_(std::move(write)) {}

  // Until the app is removed: leaves by a 404.
  void follow(const FollowStart& start) {
    run_ = current_run(client_, name_);
    if (!start.process_uuid.empty() && run_.uuid == start.process_uuid) position_ = start.position;
    for (;;) {
      const OutputQuery query{.position = position_, .process_uuid = run_.uuid, .wait = kLongPoll};
      const auto begin = std::chrono::steady_clock::now();
      const Output output = client_.call([&](Client& client) { return client.app_output(name_, query); });
      if (output.run_changed) {
        next_run();
        continue;
      }
      if (!output.text.empty()) {
        if (!write_(output.text)) throw Interrupted{};
        position_ = std::max(output.position, position_ + output.text.size());
      }
      if (output.exit_code && output.text.empty()) {
        ended(*output.exit_code);
      } else if (output.text.empty() && std::chrono::steady_clock::now() - begin < kIdlePause) {
        client_.pause(kIdlePause);  // no run yet: such an answer comes at once
        if (run_.uuid.empty()) look_for_next_run();
      }
    }
  }

 private:
  void next_run() {
    const RunMark now = current_run(client_, name_);
    if (!run_.uuid.empty() && now.uuid != run_.uuid)
      drain_old_run(client_, name_, run_.uuid, now.uuid, position_, write_);
    if (now == run_) client_.pause(kIdlePause);  // a daemon of another mind must not make us spin
    run_ = now;
    position_ = 0;
    told_end_ = false;
  }

  void look_for_next_run() {
    const RunMark now = current_run(client_, name_);
    if (now == run_) return;
    run_ = now;
    position_ = 0;
    told_end_ = false;
  }

  void ended(int code) {
    if (!told_end_)
      tell("-- " + name_ + " ended with return code " + std::to_string(code) + "; waiting for its next run --");
    told_end_ = true;
    client_.pause(kIdlePause);
    look_for_next_run();
  }

  PatientClient client_;
  std::string name_;
  OutputWriter write_;
  RunMark run_;
  std::uint64_t position_ = 0;
  bool told_end_ = false;
};

}  // namespace

StreamEnd stream_run(Client& client, const Run& run, const Interrupt& interrupt) {
  StreamEnd end;
  try {
    PatientClient patient(client, interrupt);
    std::uint64_t position = 0;
    for (;;) {
      const OutputQuery query{.position = position, .process_uuid = run.process_uuid, .wait = kLongPoll};
      const auto begin = std::chrono::steady_clock::now();
      const Output output = patient.call([&](Client& inner) { return inner.app_output(run.name, query); });
      if (output.run_changed) throw CliError(kFailed, "the output of " + run.name + " is no longer there");
      if (!write_output(output.text)) {
        end.why = StreamEnd::Why::kOutputClosed;
        return end;
      }
      position = std::max(output.position, position + output.text.size());
      if (output.exit_code) {
        // The code may come with a page that is not the last one.
        end.exit_code = output.exit_code;
        if (output.text.empty()) return end;
      } else if (output.text.empty() && std::chrono::steady_clock::now() - begin < 50ms) {
        patient.pause(50ms);
      }
    }
  } catch (const Interrupted&) {
    end.why = StreamEnd::Why::kInterrupted;
    return end;
  }
}

int follow_app(Client& client, const std::string& name, const Interrupt& interrupt, const OutputWriter& write,
               const FollowStart& start) {
  bool seen = false;
  try {
    client.get_app(name);
    seen = true;
    Follower(client, name, interrupt, write).follow(start);
  } catch (const Interrupted&) {
    return interrupt.signal() == 0 ? kOk : kSignalBase + interrupt.signal();
  } catch (const ClientError& error) {
    if (!seen || error.status() != 404) throw;
    tell("-- " + name + " was removed --");
  }
  return kOk;
}

int print_output(Client& client, const std::string& name, int index) {
  OutputQuery query{.index = index};
  for (;;) {
    const Output output = client.app_output(name, query);
    if (output.run_changed) {
      if (query.position > 0) return kOk;  // a new run began while we read
      throw CliError(kFailed, name + " has no stored output with index " + std::to_string(index));
    }
    if (!write_output(output.text)) return kFailed;
    const std::uint64_t next = std::max(output.position, query.position + output.text.size());
    // A page that is not full was the last; a program that writes all the time must not hold us forever.
    if (output.text.size() < 1024 * 1024 || next == query.position) return kOk;
    query.position = next;
  }
}

}  // namespace appmesh::cli
