#include "cli/follow_many.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <mutex>
#include <thread>

#include "cli/exit_code.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

constexpr std::size_t kLongestLine = 64UL * 1024;  // a longer one is written in parts
constexpr std::size_t kTailBytes = 1024UL * 1024;  // where a tail is looked for first
constexpr int kHistoryDepth = 50;

// Lines of one app, whole, behind its name.
class PrefixedLines {
 public:
  PrefixedLines(std::string prefix, std::mutex& output) : prefix_(std::move(prefix)), output_(output) {}
  ~PrefixedLines() {
    if (!line_.empty()) write("\n");
  }
  PrefixedLines(const PrefixedLines&) = delete;
  PrefixedLines& operator=(const PrefixedLines&) = delete;

  bool write(std::string_view bytes) {
    std::string whole;
    while (!bytes.empty()) {
      const auto end = bytes.find('\n');
      line_.append(bytes.substr(0, end));
      if (end == std::string_view::npos && line_.size() < kLongestLine) break;
      whole += prefix_ + line_ + "\n";
      line_.clear();
      bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    }
    const std::lock_guard lock(output_);
    return write_output(whole);
  }

 private:
  std::string prefix_;
  std::mutex& output_;
  std::string line_;
};

class Tail {
 public:
  explicit Tail(int lines) : lines_(static_cast<std::size_t>(std::max(lines, 0))) {}
  void add(std::string_view bytes) {
    kept_ += bytes;
    if (kept_.size() > 4 * kTailBytes) cut();
  }
  std::string take() {
    cut();
    return std::exchange(kept_, {});
  }

 private:
  void cut() {
    if (lines_ == 0) return kept_.clear();
    std::size_t from = kept_.ends_with('\n') ? kept_.size() - 1 : kept_.size();
    for (std::size_t line = 0; line < lines_; ++line) {
      const auto before = from == 0 ? std::string::npos : kept_.rfind('\n', from - 1);
      if (before == std::string::npos) return;
      from = before;
    }
    kept_.erase(0, from + 1);
  }
  std::size_t lines_;
  std::string kept_;
};

// What is there of the present run; where it ends.
FollowStart print_present(Client& client, const App& app, int tail, const OutputWriter& write) {
  FollowStart at{app.process_uuid().value_or(""), 0};
  const auto bytes = static_cast<std::uint64_t>(app.number("stdout_cache_size").value_or(0));
  Tail last(tail);
  OutputQuery query{.process_uuid = at.process_uuid};
  if (tail >= 0 && bytes > kTailBytes) query.position = bytes - kTailBytes;
  for (;;) {
    const Output output = client.app_output(app.name(), query);
    if (output.run_changed && query.position > 0 && at.position == 0) {  // older runs' bytes were counted, too
      query.position = 0;
      continue;
    }
    if (output.run_changed || output.text.empty()) break;
    if (tail < 0) {
      if (!write(output.text)) return at;
    } else {
      last.add(output.text);
    }
    at.position = query.position = std::max(output.position, query.position + output.text.size());
  }
  if (tail >= 0) write(last.take());
  return at;
}

// Kept output of older runs that ended after the instant, oldest first.
void print_older(Client& client, const App& app, double since, const OutputWriter& write) {
  std::vector<int> indices;
  int index = 0;
  for (const boost::json::value& value : client.app_runs(app.name(), kHistoryDepth)) {
    if (!value.is_object()) continue;
    const auto& run = value.get_object();
    const auto* id = run.if_contains("process_uuid");
    if (id != nullptr && id->is_string() && id->get_string() == app.process_uuid().value_or("")) continue;
    ++index;
    const auto* end = run.if_contains("end_time");
    if (end == nullptr || !end->is_number() || end->to_number<double>() < since) break;
    indices.push_back(index);
  }
  std::ranges::reverse(indices);
  for (const int older : indices) {
    OutputQuery query{.index = older};
    for (;;) {
      const Output output = client.app_output(app.name(), query);
      if (output.run_changed || output.text.empty()) break;
      if (!write(output.text)) return;
      query.position = std::max(output.position, query.position + output.text.size());
    }
  }
}

}  // namespace

int follow_many(Context& context, const std::vector<std::string>& apps, const FollowManyOptions& options) {
  double since = 0;
  if (!options.since.empty()) {
    const auto instant = parse_since(options.since, std::time(nullptr));
    if (!instant) throw CliError(kUsage, "--since " + options.since + " is no duration and no time");
    since = static_cast<double>(*instant);
  }
  const Interrupt interrupt;
  std::size_t width = 0;
  for (const auto& app : apps) width = std::max(width, app.size());
  std::vector<Client> clients;
  for (std::size_t i = 0; i < apps.size(); ++i) clients.push_back(context.another_client());
  std::mutex output;
  std::atomic<int> code{kOk};
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < apps.size(); ++i) {
      threads.emplace_back([&, i] {
        const std::string& name = apps[i];
        const std::string prefix =
            apps.size() == 1 ? std::string() : printable(name) + std::string(width - name.size(), ' ') + " | ";
        PrefixedLines lines(prefix, output);
        const OutputWriter write = [&](std::string_view bytes) { return lines.write(bytes); };
        try {
          Client& client = clients[i];
          client.cancel_on(interrupt.fd());
          const App app = client.get_app(name);
          if (!options.since.empty()) print_older(client, app, since, write);
          const FollowStart at = print_present(client, app, options.tail, write);
          if (options.follow) follow_app(client, name, interrupt, write, at);
        } catch (const ClientError& error) {
          if (error.kind() == ErrorKind::kCancelled) return;
          const std::lock_guard lock(output);
          complain(name + ": " + error.what());
          code = error.status() == 401 ? kNotLoggedIn : kFailed;
        }
      });
    }
  }
  return interrupt.signal() != 0 ? kSignalBase + interrupt.signal() : code.load();
}

}  // namespace appmesh::cli
