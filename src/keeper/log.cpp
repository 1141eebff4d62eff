#include "keeper/log.h"

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <ctime>

#include <unistd.h>

namespace appmesh::keeper {

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
  (void)!::write(STDERR_FILENO, line, length);
}

}  // namespace appmesh::keeper
