#include "keeper/log.h"

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <ctime>

#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "keeper/descriptor.h"
#include "keeper/protocol.h"

namespace appmesh::keeper {
namespace {

int log_directory = -1;

void open_log() {
  const Descriptor file{
      ::openat(log_directory, kLogName, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!file) return;
  ::dup2(file.get(), STDOUT_FILENO);
  ::dup2(file.get(), STDERR_FILENO);
}

}  // namespace

bool logs_into(int directory) {
  struct stat open{}, named{};
  return ::fstat(STDERR_FILENO, &open) == 0 && ::fstatat(directory, kLogName, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

void log_into(int directory) {
  log_directory = directory;
  open_log();
}

std::int64_t realtime_us() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * INT64_C(1'000'000) + now.tv_nsec / 1000;
}

void log(const char* format, ...) {
  const std::int64_t now_us = realtime_us();
  // gmtime_r() would load time zone files into the heap.
  const std::chrono::sys_seconds now{std::chrono::seconds{now_us / 1'000'000}};
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{now - day};
  char line[512];
  constexpr std::size_t kRoom = sizeof line - 1;  // for the line feed
  int used = std::snprintf(line, kRoom, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ appkeeper[%d] ",
                           static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                           static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                           static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                           static_cast<int>(now_us / 1000 % 1000), static_cast<int>(::getpid()));
  va_list arguments;
  va_start(arguments, format);
  used += std::vsnprintf(line + used, kRoom - static_cast<std::size_t>(used), format, arguments);
  va_end(arguments);
  std::size_t length = static_cast<std::size_t>(used) < kRoom ? static_cast<std::size_t>(used) : kRoom - 1;
  line[length++] = '\n';
  if (log_directory >= 0) {
    struct stat status{};
    if (!logs_into(log_directory)) {
      open_log();
    } else if (::fstat(STDERR_FILENO, &status) == 0 && status.st_size + static_cast<long>(length) > kMaxLogBytes) {
      char older[sizeof kLogName + 2];
      std::snprintf(older, sizeof older, "%s.1", kLogName);
      ::renameat(log_directory, kLogName, log_directory, older);
      open_log();
    }
  }
  (void)!::write(STDERR_FILENO, line, length);
}

}  // namespace appmesh::keeper
