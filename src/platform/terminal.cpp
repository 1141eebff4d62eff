#include "platform/terminal.h"

#include <cerrno>

#include <sys/ioctl.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

namespace appmesh::platform {
namespace {

std::unexpected<Error> failed(std::string_view step) {
  return fail_errno(ErrorKind::internal, step, errno);
}

}  // namespace

Result<Terminal> open_terminal(TerminalSize size, uid_t uid, gid_t gid) {
  Terminal terminal;
  terminal.master.reset(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!terminal.master) return failed("terminal: /dev/ptmx");
  if (::unlockpt(terminal.master.get()) != 0) return failed("terminal: unlock");
  // By the master and not by its name, which may be another's in another mount namespace: ioctl_tty(2).
  terminal.slave.reset(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) return failed("terminal: open");
  if (::fchown(terminal.slave.get(), uid, gid) != 0) return failed("terminal: owner");
  if (::fchmod(terminal.slave.get(), 0600) != 0) return failed("terminal: mode");
  termios modes{};
  if (::tcgetattr(terminal.slave.get(), &modes) != 0) return failed("terminal: modes");
  modes.c_iflag |= IUTF8;  // so that erasing takes a whole character
  if (::tcsetattr(terminal.slave.get(), TCSANOW, &modes) != 0) return failed("terminal: modes");
  if (auto sized = resize_terminal(terminal.master.get(), size); !sized) return std::unexpected(sized.error());
  return terminal;
}

Result<void> resize_terminal(int master, TerminalSize size) {
  const winsize window{.ws_row = size.rows, .ws_col = size.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  if (::ioctl(master, TIOCSWINSZ, &window) != 0) return failed("terminal: size");
  return {};
}

}  // namespace appmesh::platform
