#include "cli/app_options.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "cli/exit_code.h"
#include "cli/format.h"

namespace appmesh::cli {

void set_environment(App& app, const std::vector<std::string>& entries, bool secret) {
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    if (name.empty()) throw CliError(kUsage, "'" + entry + "' is not NAME=VALUE");
    if (std::ranges::any_of(name, [](unsigned char c) { return c <= ' ' || c == 0x7f; }))
      throw CliError(kUsage,
                     std::string(secret ? "-z" : "-e") + " '" + entry + "': '" + name +
                         "' is no name of a variable, it has a space in it",
                     "give -e once for each variable: -e A=1 -e B=2");
    std::string value;
    if (equals == std::string::npos) {
      const char* here = std::getenv(name.c_str());
      if (here == nullptr) throw CliError(kUsage, "'" + name + "' has no value: give NAME=VALUE, or set it here");
      value = here;
    } else {
      value = entry.substr(equals + 1);
    }
    secret ? app.set_secret_env(name, value) : app.set_env(name, value);
  }
}

std::string metadata_text(const std::string& argument) {
  constexpr std::size_t kMaxMetadata = 16 * 1024 * 1024;
  return argument.starts_with('@') ? read_file(argument.substr(1), kMaxMetadata) : argument;
}

std::string read_file(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw CliError(kFailed, "cannot read " + path + ": " + std::strerror(errno));
  std::string text(limit + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) throw CliError(kFailed, "cannot read " + path + ": " + std::strerror(errno));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > limit) throw CliError(kFailed, path + " is over " + std::to_string(limit) + " bytes");
  return text;
}

boost::json::object& child_object(App& app, const char* field) {
  boost::json::value& value = app.json()[field];
  if (!value.is_object()) value.emplace_object();
  return value.get_object();
}

namespace {

std::int64_t time_of(const char* option, const std::string& text) {
  const auto epoch = parse_time(text);
  if (!epoch) throw CliError(kUsage, std::string(option) + " '" + text + "' is no time: write 2025-01-31T08:00:00");
  return *epoch;
}

std::int64_t time_of_day(const char* option, const std::string& text) {
  const auto seconds = parse_time_of_day(text);
  if (!seconds)
    throw CliError(kUsage, std::string(option) + " '" + text + "' is no time of day: write 08:00 or 08:00:00");
  return *seconds;
}

}  // namespace

void add_schedule_options(CLI::App& verb, ScheduleOptions& options) {
  verb.add_option("-b,--begin-time", options.begin, "not before this local time (2025-01-31T08:00:00)");
  verb.add_option("-x,--end-time", options.end, "not after this local time");
  verb.add_option("-S,--daily-begin", options.daily_begin, "daily window from this local time of day (08:00)");
  verb.add_option("-E,--daily-end", options.daily_end, "daily window until this local time of day");
  verb.add_option("-i,--interval", options.interval, "start every so often: seconds, ISO 8601, or cron with -Y");
  verb.add_flag("-Y,--cron", options.cron, "-i is a cron expression");
}

void set_schedule(App& app, const ScheduleOptions& options) {
  if (!options.begin.empty()) app.set("start_time", time_of("-b", options.begin));
  if (!options.end.empty()) app.set("end_time", time_of("-x", options.end));
  if (options.daily_begin.empty() != options.daily_end.empty()) throw CliError(kUsage, "-S and -E belong together");
  if (!options.daily_begin.empty()) {
    child_object(app, "daily_limitation")["daily_start"] = time_of_day("-S", options.daily_begin);
    child_object(app, "daily_limitation")["daily_end"] = time_of_day("-E", options.daily_end);
  }
  if (options.cron && options.interval.empty() && !app.json().contains("start_interval_seconds")) {
    throw CliError(kUsage, "-Y needs the cron expression in -i");
  }
  if (!options.interval.empty()) app.set("start_interval_seconds", boost::json::string(options.interval));
  if (options.cron) app.set("cron", true);
}

}  // namespace appmesh::cli
