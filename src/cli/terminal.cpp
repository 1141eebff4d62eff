#include "cli/terminal.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "cli/exit_code.h"

namespace appmesh::cli {
namespace {

constexpr std::size_t kMaxAnswer = 1024;

volatile std::sig_atomic_t g_signal = 0;
int g_event = -1;
constexpr std::array kCaught{SIGINT, SIGTERM, SIGHUP};
std::array<struct sigaction, 3> g_old_actions;
struct sigaction g_old_pipe;

termios g_cooked{};  // while a RawTerminal lives
volatile std::sig_atomic_t g_is_raw = 0;

void on_signal(int number) {
  // The second one is meant: do not wait for the daemon any longer.
  if (g_signal != 0) {
    if (g_is_raw != 0) ::tcsetattr(STDIN_FILENO, TCSANOW, &g_cooked);
    ::_exit(kSignalBase + number);
  }
  const int saved = errno;
  g_signal = number;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(g_event, &one, sizeof one);
  errno = saved;
}

// Echo off for a password, and back on however the question ends.
class Silence {
 public:
  explicit Silence(bool active) : active_(active && ::tcgetattr(STDIN_FILENO, &old_) == 0) {
    if (!active_) return;
    termios quiet = old_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    quiet.c_lflag |= ECHONL;
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &old_);
  }

 private:
  termios old_{};
  bool active_;
};

}  // namespace

bool output_is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}
bool input_is_terminal() {
  return ::isatty(STDIN_FILENO) == 1;
}

std::optional<std::size_t> output_width() {
  if (!output_is_terminal()) return std::nullopt;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

bool output_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool refused = no_colour != nullptr && *no_colour != '\0';
  return output_is_terminal() && !refused && term != nullptr && std::string_view(term) != "dumb";
}

std::string ask(const std::string& question, bool echo, const std::string& hint) {
  if (!input_is_terminal()) {
    throw CliError(kNotLoggedIn, "there is no terminal to ask for: " + question, hint);
  }
  const Interrupt interrupt;
  const Silence silence(!echo);
  const std::string prompt = question + ": ";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, prompt.data(), prompt.size());
  std::string answer;
  for (;;) {
    std::array<pollfd, 2> set{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{interrupt.fd(), POLLIN, 0}};
    if (::poll(set.data(), set.size(), -1) < 0 && errno != EINTR) break;
    if (interrupt.signal() != 0) throw CliError(kSignalBase + interrupt.signal(), "cancelled");
    if (set[0].revents == 0) continue;
    std::array<char, kMaxAnswer> buffer{};
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count <= 0) throw CliError(kFailed, "no answer");
    answer.append(buffer.data(), static_cast<std::size_t>(count));
    if (answer.back() == '\n' || answer.size() >= kMaxAnswer) break;
  }
  while (!answer.empty() && (answer.back() == '\n' || answer.back() == '\r')) answer.pop_back();
  return answer;
}

std::string read_input(std::size_t limit) {
  std::string text;
  std::array<char, 16'384> buffer{};
  for (;;) {
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (text.size() > limit) throw CliError(kFailed, "standard input is over " + std::to_string(limit) + " bytes");
  }
}

bool write_output(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

TerminalSize terminal_size() {
  winsize size{};
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO}) {
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) return {size.ws_row, size.ws_col};
  }
  return {};
}

RawTerminal::RawTerminal() {
  if (::tcgetattr(STDIN_FILENO, &g_cooked) != 0) return;
  g_is_raw = 1;
  termios raw = g_cooked;
  ::cfmakeraw(&raw);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

RawTerminal::~RawTerminal() {
  if (g_is_raw == 0) return;
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &g_cooked);
  g_is_raw = 0;
}

SizeWatch::SizeWatch() {
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGWINCH);
  ::sigprocmask(SIG_BLOCK, &only, nullptr);
  fd_ = ::signalfd(-1, &only, SFD_CLOEXEC | SFD_NONBLOCK);
}

SizeWatch::~SizeWatch() {
  ::close(fd_);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGWINCH);
  ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
}

void SizeWatch::clear() const {
  signalfd_siginfo information{};
  while (::read(fd_, &information, sizeof information) > 0) {
  }
}

Interrupt::Interrupt() {
  g_signal = 0;
  g_event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct sigaction action{};
  action.sa_handler = on_signal;
  for (std::size_t i = 0; i < kCaught.size(); ++i) ::sigaction(kCaught[i], &action, &g_old_actions[i]);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &g_old_pipe);
}

Interrupt::~Interrupt() {
  for (std::size_t i = 0; i < kCaught.size(); ++i) ::sigaction(kCaught[i], &g_old_actions[i], nullptr);
  ::sigaction(SIGPIPE, &g_old_pipe, nullptr);
  ::close(g_event);
  g_event = -1;
}

int Interrupt::fd() const {
  return g_event;
}
int Interrupt::signal() const {
  return g_signal;
}

bool Interrupt::pause(std::chrono::milliseconds time) const {
  pollfd set{g_event, POLLIN, 0};
  ::poll(&set, 1, static_cast<int>(time.count()));
  return g_signal != 0;
}

}  // namespace appmesh::cli
