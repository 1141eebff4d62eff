// A scheduled app that tells when it began to live: appends "<name> <CLOCK_REALTIME in ns>\n" to the file it is given,
// in one write, and ends. Nothing runs before the clock is read but the C library's start.
#include <cstdio>
#include <ctime>

#include <fcntl.h>
#include <unistd.h>

int main(int argc, char** argv) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (argc != 3) return 2;
  const int fd = ::open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return 1;
  char line[64];
  const int length =
      std::snprintf(line, sizeof line, "%.20s %lld%09ld\n", argv[2], static_cast<long long>(now.tv_sec), now.tv_nsec);
  return ::write(fd, line, static_cast<std::size_t>(length)) == length ? 0 : 1;
}
