// appc shell: a terminal on the host of the daemon. What is typed goes there as it is; the size follows the window; a
// restart of the daemon is bridged by attaching again.
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <appmesh/duration.h>
#include <appmesh/error.h>
#include <appmesh/web_socket.h>
#include <appmesh/wire/json_text.h>
#include <boost/json/object.hpp>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "cli/app_options.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kProtocol = "appmesh-pty";
constexpr std::string_view kPath = "/appmesh/pty";
constexpr std::chrono::seconds kPing{30};      // the daemon gives up a peer that is silent for two minutes
constexpr std::chrono::seconds kReattach{45};  // it keeps a terminal for a minute that nobody is at
constexpr std::chrono::milliseconds kRetry{300};
constexpr std::uint16_t kGoingAway = 1001;

struct ShellCommand {
  std::string command, timeout, lifetime;
  std::vector<std::string> env;
  bool session_login = false, retry = false;
};

// The end of the input is told again until it is heard: a shell that has not begun to read when it comes loses it.
constexpr std::chrono::seconds kEndOfInput{1};

constexpr int kTimedOut = 124;  // as timeout(1) has it

// The daemon went away while the shell was open.
struct ConnectionLost {};

class Shell {
 public:
  Shell(Context& context, const Interrupt& interrupt, Clock::time_point end)
      : context_(context), interrupt_(interrupt), end_(end) {}

  void open(const std::string& command) {
    const TerminalSize size = terminal_size();
    const char* term = std::getenv("TERM");
    Fields query{{"rows", std::to_string(size.rows)}, {"columns", std::to_string(size.columns)}};
    if (term != nullptr && *term != '\0') query.emplace_back("term", term);
    if (!command.empty()) query.emplace_back("command", command);
    connect(std::move(query));
  }

  // Until the shell has ended: its exit code for ours.
  int run() {
    for (;;) {
      try {
        return converse();
      } catch (const ConnectionLost&) {
        if (const auto code = attach_again()) return *code;
      }
    }
  }

 private:
  void connect(Fields query) {
    Request request;
    request.path = kPath;
    request.query = std::move(query);
    request.headers.emplace_back("Authorization", "Bearer " + context_.client().token());
    socket_.emplace(context_.url().text(), context_.transport_options(), request, kProtocol, interrupt_.fd());
  }

  int converse() {
    auto next_ping = Clock::now() + kPing;
    for (;;) {
      if (const auto code = take_messages()) return *code;
      if (Clock::now() >= end_) return kTimedOut;
      if (!input_open_ && Clock::now() >= next_end_of_input_) send_end_of_input();
      const auto next = std::min({next_ping, end_, input_open_ ? next_ping : next_end_of_input_});
      const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
      std::array<pollfd, 4> set{pollfd{socket_->descriptor(), POLLIN, 0}, pollfd{interrupt_.fd(), POLLIN, 0},
                                pollfd{sizes_.fd(), POLLIN, 0}, pollfd{STDIN_FILENO, POLLIN, 0}};
      const int ready = ::poll(set.data(), input_open_ ? 4 : 3, static_cast<int>(std::max(wait, 0ms).count()));
      if (ready < 0 && errno != EINTR) throw CliError(kFailed, "poll failed");
      if (interrupt_.signal() != 0) return kSignalBase + interrupt_.signal();
      try {
        if (ready == 0 && Clock::now() >= next_ping) {
          socket_->ping();
          next_ping = Clock::now() + kPing;
        }
        if (set[2].revents != 0) send_size();
        if (input_open_ && set[3].revents != 0) input_open_ = send_input();
      } catch (const ClientError& error) {
        lost(error);
      }
    }
  }

  // What has come; the exit code when the shell has ended.
  std::optional<int> take_messages() {
    for (;;) {
      std::optional<WebSocket::Message> message;
      try {
        message = socket_->receive();
      } catch (const ClientError& error) {
        lost(error);
      }
      if (!message) return std::nullopt;
      switch (message->kind) {
        case WebSocket::Message::Kind::kBinary:
          if (!write_output(message->data)) return kSignalBase + SIGPIPE;
          break;
        case WebSocket::Message::Kind::kText:
          if (const auto code = take_text(message->data)) return code;
          break;
        case WebSocket::Message::Kind::kClosed:
          if (message->close_code == kGoingAway) throw ConnectionLost();
          throw CliError(kFailed, "the daemon closed the shell: " +
                                      (message->data.empty() ? std::string("no reason given") : message->data));
      }
    }
  }

  std::optional<int> take_text(const std::string& text) {
    boost::system::error_code malformed;
    const boost::json::value value = wire::read_json(text, malformed);
    if (malformed || !value.is_object()) throw CliError(kFailed, "the daemon sent what is no JSON object");
    const boost::json::object& object = value.get_object();
    if (const auto* name = object.if_contains("name"); name != nullptr && name->is_string()) name_ = name->get_string();
    if (const auto* code = object.if_contains("exit_code"); code != nullptr && code->is_int64())
      return shell_exit_code(static_cast<int>(code->get_int64()));
    if (const auto* error = object.if_contains("error"); error != nullptr && error->is_string())
      throw CliError(kFailed, "the shell has ended: " + std::string(error->get_string()));
    return std::nullopt;
  }

  void send_size() {
    sizes_.clear();
    const TerminalSize size = terminal_size();
    socket_->send_text(wire::write_json(
        boost::json::object{{"resize", boost::json::object{{"rows", size.rows}, {"columns", size.columns}}}}));
  }

  void send_end_of_input() {
    socket_->send_binary("\x04");  // as a terminal knows it
    next_end_of_input_ = Clock::now() + kEndOfInput;
  }

  bool send_input() {
    std::array<char, 16'384> buffer{};
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (count <= 0) {
      send_end_of_input();
      return false;
    }
    socket_->send_binary({buffer.data(), static_cast<std::size_t>(count)});
    return true;
  }

  [[noreturn]] static void lost(const ClientError& error) {
    if (error.kind() == ErrorKind::kClosed || error.kind() == ErrorKind::kConnect) throw ConnectionLost();
    throw error;
  }

  // Nothing: it is open again. A code: the shell ended meanwhile, or somebody wants to leave.
  std::optional<int> attach_again() {
    socket_.reset();
    if (name_.empty()) throw CliError(kFailed, "the connection to the daemon was lost");
    tell("\r\n-- connection lost, attaching again --\r");
    const auto until = Clock::now() + kReattach;
    for (;;) {
      try {
        connect({{"attach", name_}});
        send_size();
        return std::nullopt;
      } catch (const ClientError& error) {
        if (error.status() == 404) return ended_meanwhile();
        const bool may_pass = error.kind() != ErrorKind::kStatus || error.status() >= 500 || error.status() == 409;
        if (!may_pass || Clock::now() > until)
          throw CliError(kFailed, std::string("the shell is lost: ") + error.what());
      }
      if (interrupt_.pause(kRetry)) return kSignalBase + interrupt_.signal();
    }
  }

  int ended_meanwhile() {
    Client& client = context_.client();
    try {
      const auto code = client.get_app(name_).number("return_code");
      if (code) {
        client.delete_app(name_);
        return shell_exit_code(static_cast<int>(*code));
      }
    } catch (const ClientError& error) {
      if (error.status() != 404) throw;
    }
    throw CliError(kFailed, "the shell has ended while the daemon was away");
  }

  Context& context_;
  const Interrupt& interrupt_;
  const SizeWatch sizes_;
  std::optional<WebSocket> socket_;
  std::string name_;
  const Clock::time_point end_;
  bool input_open_ = true;
  Clock::time_point next_end_of_input_;
};

// The daemon starts a login shell or one command; variables are set by a line of shell in front of either.
std::string command_line(const ShellCommand& options) {
  if (options.env.empty()) return options.command;
  App variables;
  set_environment(variables, options.env, false);
  std::string line;
  for (const auto& [name, value] : variables.json().at("env").get_object()) {
    if (name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != name.npos)
      throw CliError(kUsage, "-e " + std::string(name) + ": a shell takes names of letters, digits and _ only");
    line += "export " + std::string(name) + "=" + shell_quote(std::string_view(value.get_string())) + "; ";
  }
  return line + (options.command.empty() ? "exec \"${SHELL:-/bin/sh}\" -l" : options.command);
}

std::chrono::seconds time_limit(const ShellCommand& options) {
  for (const auto& [option, text] : {std::pair("-t", &options.timeout), std::pair("-T", &options.lifetime)}) {
    if (text->empty()) continue;
    const auto value = parse_duration(*text);
    if (!value || value->count() <= 0)
      throw CliError(kUsage, fmt::format("{} {} is neither seconds nor an ISO 8601 duration", option, *text));
    return *value;
  }
  return std::chrono::hours(24 * 365);
}

int shell_command(Context& context, const ShellCommand& options) {
  if (!context.globals.forward_to.empty()) throw CliError(kUsage, "a shell is not forwarded: name the daemon with -H");
  context.client();  // whoever has to log on does so before the terminal is another
  const std::string command = command_line(options);
  const auto limit = time_limit(options);
  const Interrupt interrupt;
  for (;;) {
    Shell shell(context, interrupt, Clock::now() + limit);
    shell.open(command);
    const int code = [&] {
      const RawTerminal raw;
      return shell.run();
    }();
    if (!options.retry || code == kOk || interrupt.signal() != 0) return code;
    tell(fmt::format("-- exit code {}; again --", code));
    if (interrupt.pause(1s)) return kSignalBase + interrupt.signal();
  }
}

}  // namespace

void add_shell_command(CLI::App& root, Context& context) {
  add_command<ShellCommand>(
      root, context, "shell", "A terminal on the host of the daemon, as your OS user; exits as the shell did",
      [](CLI::App& verb, ShellCommand& options) {
        verb.add_option("-c,--cmd", options.command, "what to run there instead of a login shell");
        verb.add_option("-e,--env", options.env, "NAME=VALUE, or NAME to hand on its value here (repeat)")
            ->allow_extra_args(false);
        verb.add_option("-t,--timeout", options.timeout, "leave after that: seconds or ISO 8601; exits with 124 then");
        verb.add_option("-T,--lifetime", options.lifetime, "the same, for older scripts, when there is no -t");
        verb.add_flag("-r,--retry", options.retry, "again every second until it exits with 0");
        verb.add_flag("-G,--session-login", options.session_login, "always so: accepted for older scripts");
      },
      shell_command);
}

}  // namespace appmesh::cli
