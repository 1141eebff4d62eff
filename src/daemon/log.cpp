#include "daemon/log.h"

#include <memory>
#include <vector>

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "daemon/queued_sink.h"

namespace appmesh::daemon {

namespace {

constexpr std::size_t kFileBytes = 50UL * 1024 * 1024;
constexpr std::size_t kOlderFiles = 4;
constexpr std::size_t kQueuedLines = 1024;
constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ [%t] %v";

spdlog::sink_ptr file_sink(const std::filesystem::path& file) {
  return std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file.string(), kFileBytes, kOlderFiles);
}

}  // namespace

Result<void> open_log(const std::filesystem::path& file) {
  try {
    std::vector<spdlog::sink_ptr> sinks{file_sink(file)};
    if (::isatty(STDERR_FILENO) == 1) sinks.push_back(std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    // spdlog's own asynchronous logger wakes up every ten seconds: a daemon with nothing to do must sleep.
    auto logger =
        std::make_shared<spdlog::logger>("appsvc", std::make_shared<QueuedSink>(std::move(sinks), kQueuedLines));
    logger->set_pattern(kPattern);
    spdlog::set_default_logger(std::move(logger));
  } catch (const spdlog::spdlog_ex& error) {
    return fail(ErrorKind::internal, error.what());
  }
  return {};
}

Result<void> reopen_log(const std::filesystem::path& file) {
  try {
    auto sink = file_sink(file);
    sink->set_pattern(kPattern);
    for (const auto& queued : spdlog::default_logger()->sinks())
      if (auto* queue = dynamic_cast<QueuedSink*>(queued.get())) queue->replace(0, std::move(sink));
  } catch (const spdlog::spdlog_ex& error) {
    return fail(ErrorKind::internal, error.what());
  }
  return {};
}

void set_log_level(store::LogLevel level) {
  switch (level) {
    case store::LogLevel::debug:
      return spdlog::set_level(spdlog::level::debug);
    case store::LogLevel::info:
    case store::LogLevel::notice:
      return spdlog::set_level(spdlog::level::info);
    case store::LogLevel::warn:
      return spdlog::set_level(spdlog::level::warn);
    case store::LogLevel::error:
      return spdlog::set_level(spdlog::level::err);
  }
}

void close_log() {
  spdlog::shutdown();
}

}  // namespace appmesh::daemon
