// An app that tells when it began to live: appends "<pid> <CLOCK_MONOTONIC in ns>\n" to the file it is given, in one
// write, then waits for its death. Nothing runs before the clock is read but the C library's start.
#include <cstdio>
#include <ctime>

#include <fcntl.h>
#include <unistd.h>

int main(int argc, char** argv) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (argc != 2) return 2;
  const int fd = ::open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return 1;
  char line[64];
  const int length = std::snprintf(line, sizeof line, "%d %lld%09ld\n", static_cast<int>(::getpid()),
                                   static_cast<long long>(now.tv_sec), now.tv_nsec);
  if (::write(fd, line, static_cast<std::size_t>(length)) != length) return 1;
  for (;;) ::pause();
}
