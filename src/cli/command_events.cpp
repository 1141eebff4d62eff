// events, task and logs: what apps do, what they are given to do, and what several of them write.
#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>

#include <appmesh/wire/json_text.h>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/follow_many.h"
#include "cli/format.h"
#include "cli/sse_reader.h"
#include "cli/terminal.h"
#include "cli/usage.h"

namespace appmesh::cli {
namespace {

constexpr std::size_t kMostTaskBytes = 64UL * 1024 * 1024;
constexpr std::chrono::milliseconds kRetry{500};
constexpr std::chrono::minutes kGiveUp{10};

struct EventOptions {
  std::vector<std::string> apps;
  std::string events;
  bool json = false;
};

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

std::string event_line(const StreamedEvent& event, bool raw) {
  if (raw) return event.data + "\n";
  boost::system::error_code error;
  const auto value = wire::read_json(event.data, error);
  if (error || !value.is_object()) return event.data + "\n";
  const App fields(value.get_object());
  const auto* data = value.get_object().if_contains("data");
  return fmt::format("{} {:<7} {}  {}\n", local_time(fields.number("timestamp").value_or(0)), event.type,
                     printable(fields.text("app_name").value_or("")),
                     data == nullptr ? "" : printable(wire::write_json(*data)));
}

// Of the last event of a stream.
std::string reason_of(const std::string& data) {
  boost::system::error_code error;
  const auto value = wire::read_json(data, error);
  if (error || !value.is_object()) return printable(data);
  return printable(App(value.get_object()).text("reason").value_or(data));
}

int events(Context& context, const EventOptions& options) {
  Client& client = context.client();
  const Interrupt interrupt;
  client.cancel_on(interrupt.fd());
  Request request;
  request.method = "GET";
  request.path = "/appmesh/events";
  request.headers.emplace_back("Accept", "text/event-stream");
  if (!options.apps.empty()) request.query.emplace_back("app", joined(options.apps));
  if (!options.events.empty()) request.query.emplace_back("events", options.events);
  bool ended = false, closed = false;
  bool connected = false, was_connected = false;
  auto lost_at = std::chrono::steady_clock::now();
  for (;;) {
    SseReader reader([&](const StreamedEvent& event) {
      if (event.type == "END") {
        ended = true;
        tell("-- " + reason_of(event.data) + " --");
      } else if (!write_output(event_line(event, options.json))) {
        closed = true;
      }
    });
    request.body_sink = [&](const Response&, std::string_view piece) {
      if (!connected) tell(was_connected ? "-- connected again; events in between are not told --" : "-- connected --");
      connected = was_connected = true;
      reader.feed(piece);
      if (closed) throw ClientError(ErrorKind::kCancelled, "nobody reads the output");
    };
    try {
      client.call(request);
      if (ended) return kOk;
    } catch (const ClientError& error) {
      if (closed) return kFailed;
      if (error.kind() == ErrorKind::kCancelled)
        return interrupt.signal() == 0 ? kOk : kSignalBase + interrupt.signal();
      const bool away = error.connection_lost() || error.status() == 503 || error.status() == 502;
      if (!away || !was_connected) throw;  // it was never there: a wrong address will not become right
      if (!connected && std::chrono::steady_clock::now() - lost_at > kGiveUp) throw;
    }
    if (std::exchange(connected, false)) {
      tell("-- the connection was lost; waiting for the daemon --");
      lost_at = std::chrono::steady_clock::now();
    }
    if (interrupt.pause(kRetry)) return kSignalBase + interrupt.signal();
  }
}

struct TaskOptions {
  std::string app;
  std::string data;
  std::string timeout = "300";
  bool cancel = false;
};

std::string payload_of(const std::string& data) {
  if (data.empty() || data == "-") return read_input(kMostTaskBytes);
  if (!data.starts_with('@')) return data;
  std::ifstream file(data.substr(1), std::ios::binary);
  if (!file) throw CliError(kUsage, "cannot read " + data.substr(1));
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (bytes.size() > kMostTaskBytes) throw CliError(kUsage, data.substr(1) + " has more than 64 MiB");
  return bytes;
}

int task(Context& context, const TaskOptions& options) {
  Client& client = context.client();
  const Interrupt interrupt;
  client.cancel_on(interrupt.fd());
  Request request;
  request.method = options.cancel ? "DELETE" : "POST";
  request.path = "/appmesh/app/" + percent_encode(options.app) + "/task";
  if (!options.cancel) {
    request.query.emplace_back("timeout", options.timeout);
    request.headers.emplace_back("Content-Type", "application/octet-stream");
    request.body = payload_of(options.data);
  }
  try {
    const Response response = client.call(std::move(request));
    if (!options.cancel) return write_output(response.body) ? kOk : kFailed;
    tell(response.status == 208 ? "no task was active" : "cancelled");
    return kOk;
  } catch (const ClientError& error) {
    if (error.kind() != ErrorKind::kCancelled) throw;
    return kSignalBase + interrupt.signal();  // the daemon notices that its caller has gone
  }
}

struct LogsOptions : FollowManyOptions {
  std::vector<std::string> apps;
};

}  // namespace

void add_event_commands(CLI::App& root, Context& context) {
  add_command<EventOptions>(
      root, context, "events", "Show what happens to apps, as it happens, until Ctrl-C",
      [](CLI::App& verb, EventOptions& options) {
        verb.add_option("-a,--app", options.apps, "only these apps (all that you may see)")->delimiter(',');
        verb.add_option("-e,--events", options.events, "START,EXIT,STDOUT,HEALTH,STATUS,REMOVED (all)");
        verb.add_flag("-j,--json", options.json, "each event as a line of JSON");
      },
      events);
  add_command<TaskOptions>(
      root, context, "task", "Give a task to a process of an app and print its answer",
      [](CLI::App& verb, TaskOptions& options) {
        verb.add_option("-a,--app", options.app, "the app")->required();
        verb.add_option("-d,--data", options.data, "the payload: text, @FILE, or - for standard input (default)");
        verb.add_option("-t,--timeout", options.timeout, "seconds or a duration to wait for the answer (300)");
        verb.add_flag("--cancel", options.cancel, "cancel what the app's processes work on");
      },
      task);
  add_command<LogsOptions>(
      root, context, "logs", "Print what apps have written, and with -f what they go on to write",
      [](CLI::App& verb, LogsOptions& options) {
        verb.add_option("app", options.apps, "the apps")->required();
        verb.add_flag("-f,--follow", options.follow, "go on until Ctrl-C, run after run");
        verb.add_option("--tail", options.tail, "only the last lines of each app's present run")
            ->check(whole_number(0, 1'000'000));
        verb.add_option(
            "--since", options.since,
            "also the kept output of runs that lived since then: a duration (90s, 2h, PT10M) ago, or a local time "
            "(2025-01-31T08:00)");
      },
      [](Context& inner, const LogsOptions& options) { return follow_many(inner, options.apps, options); });
}

}  // namespace appmesh::cli
