// The user's terminal: is there one, how wide, may it be coloured; questions; and Ctrl-C as a descriptor to wait on.
// Main thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace appmesh::cli {

bool output_is_terminal();
bool input_is_terminal();
// Columns of the terminal on stdout, nothing when stdout goes elsewhere.
std::optional<std::size_t> output_width();
// Terminal, and neither NO_COLOR nor TERM=dumb.
bool output_colour();

// Asks on stderr and reads a line from the terminal. Throws CliError(kNotLoggedIn, …, hint) when there is none.
std::string ask(const std::string& question, bool echo, const std::string& hint);

// Everything on standard input, at most `limit` bytes (CliError beyond).
std::string read_input(std::size_t limit);

// False when the reader has gone away.
bool write_output(std::string_view text);

struct TerminalSize {
  int rows = 24;
  int columns = 80;
};
// Of the terminal on stdin or stdout; the default when there is none.
TerminalSize terminal_size();

// While it lives, what is typed comes as it is, Ctrl-C included, and what is written goes out as it is. Put right again
// on every way out, that of a second signal too. Does nothing when stdin is no terminal. One at a time.
class RawTerminal {
 public:
  RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal();
};

// While it lives, fd() is readable when the size of the terminal has changed. One at a time.
class SizeWatch {
 public:
  SizeWatch();
  SizeWatch(const SizeWatch&) = delete;
  SizeWatch& operator=(const SizeWatch&) = delete;
  ~SizeWatch();

  [[nodiscard]] int fd() const { return fd_; }
  void clear() const;  // until the next change

 private:
  int fd_ = -1;
};

// While it lives, SIGINT, SIGTERM and SIGHUP do not kill appc but make fd() readable; SIGPIPE is ignored. One at a
// time.
class Interrupt {
 public:
  Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt();

  [[nodiscard]] int fd() const;
  // The first signal that came, 0 when none did.
  [[nodiscard]] int signal() const;
  // True when a signal came before the pause was over.
  [[nodiscard]] bool pause(std::chrono::milliseconds time) const;
};

}  // namespace appmesh::cli
