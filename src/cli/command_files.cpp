// get and put: files of the host, with a bar on a terminal.
#include <chrono>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

namespace fs = std::filesystem;

struct FileOptions {
  std::string remote;
  std::string local;
  bool no_attributes = false;
};

// One line on stderr, drawn anew ten times a second at most, and taken away at the end.
class Bar {
 public:
  explicit Bar(std::string name) : name_(std::move(name)), shown_(::isatty(STDERR_FILENO) == 1) {}
  Bar(const Bar&) = delete;
  Bar& operator=(const Bar&) = delete;
  ~Bar() {
    if (shown_ && drawn_) fmt::print(stderr, "\r\x1b[K");
  }

  void draw(std::uint64_t done, std::uint64_t total) {
    if (!shown_) return;
    const auto now = Clock::now();
    if (drawn_ && now - last_ < std::chrono::milliseconds(100) && done != total) return;
    last_ = now;
    drawn_ = true;
    const double seconds = std::max(1e-3, std::chrono::duration<double>(now - start_).count());
    std::string line = printable(name_) + "  ";
    if (total > 0) {
      constexpr std::size_t kWidth = 30;
      const auto filled = static_cast<std::size_t>(kWidth * done / total);
      line += fmt::format("[{}{}] {:3}%  ", std::string(filled, '#'), std::string(kWidth - filled, ' '),
                          100 * done / total);
    }
    line += fmt::format("{:.1f} MiB  {:.1f} MiB/s", in_mib(done), in_mib(done) / seconds);
    fmt::print(stderr, "\r\x1b[K{}", line);
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double in_mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1024 * 1024); }

  std::string name_;
  bool shown_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_;
};

TransferOptions transfer_options(const FileOptions& options, Bar& bar) {
  return {.attributes = !options.no_attributes,
          .progress = [&bar](std::uint64_t done, std::uint64_t total) { bar.draw(done, total); }};
}

std::string name_of(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  if (name.empty()) throw CliError(kUsage, "'" + path + "' is no file name");
  return name;
}

// Nothing of a file is left when Ctrl-C ends its way: 0, or the exit code for the signal.
template <typename Transfer>
int transfer(Context& context, const std::string& name, const Transfer& work) {
  Bar bar(name);
  const Interrupt interrupt;
  Client& client = context.client();
  client.cancel_on(interrupt.fd());
  try {
    work(client, bar);
  } catch (const ClientError& error) {
    if (error.kind() != ErrorKind::kCancelled || interrupt.signal() == 0) throw;
    return kSignalBase + interrupt.signal();
  }
  client.cancel_on(-1);
  return kOk;
}

int get(Context& context, const FileOptions& options) {
  fs::path local = options.local.empty() ? fs::path(name_of(options.remote)) : fs::path(options.local);
  std::error_code ignored;
  if (fs::is_directory(local, ignored)) local /= name_of(options.remote);
  const int code = transfer(context, local.filename().string(), [&](Client& client, Bar& bar) {
    client.download_file(options.remote, local.string(), transfer_options(options, bar));
  });
  if (code != kOk) return code;
  tell(fmt::format("{} is here: {} bytes", printable(local.string()), fs::file_size(local, ignored)));
  return kOk;
}

int put(Context& context, const FileOptions& options) {
  const std::string remote = options.remote.empty() ? name_of(options.local) : options.remote;
  const int code = transfer(context, name_of(options.local), [&](Client& client, Bar& bar) {
    client.upload_file(options.local, remote, transfer_options(options, bar));
  });
  if (code != kOk) return code;
  tell(printable(remote) + " is there");
  return kOk;
}

}  // namespace

void add_file_commands(CLI::App& root, Context& context) {
  add_command<FileOptions>(
      root, context, "get", "Fetch a file of the host",
      [](CLI::App& verb, FileOptions& options) {
        verb.add_option("-r,--remote", options.remote, "file there; relative: to the daemon's work/tmp")->required();
        verb.add_option("-l,--local", options.local, "file or directory here (default: the same name, here)");
        verb.add_flag("-a,--no-attr", options.no_attributes, "leave permissions and owner as new files have them");
      },
      get);
  add_command<FileOptions>(
      root, context, "put", "Send a file to the host; it never replaces one",
      [](CLI::App& verb, FileOptions& options) {
        verb.add_option("-l,--local", options.local, "file here")->required();
        verb.add_option("-r,--remote", options.remote, "file there (default: the same name, in work/tmp)");
        verb.add_flag("-a,--no-attr", options.no_attributes, "do not send permissions and owner");
      },
      put);
}

}  // namespace appmesh::cli
