// Pieces of an app definition that several verbs read from the command line. Pure functions but for reading the file
// and the environment that the user names.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <appmesh/app.h>

namespace appmesh::cli {

// When an app starts, as the user typed it.
struct ScheduleOptions {
  std::string interval, begin, end, daily_begin, daily_end;
  bool cron = false;
};
void add_schedule_options(CLI::App& verb, ScheduleOptions& options);
// Throws CliError(kUsage) for what is no time, and for options that need each other.
void set_schedule(App& app, const ScheduleOptions& options);

// The object in this field, made when there is none.
boost::json::object& child_object(App& app, const char* field);

// NAME=VALUE, or NAME alone for the value that it has here. Throws CliError(kUsage).
void set_environment(App& app, const std::vector<std::string>& entries, bool secret);
// The text itself, or the content of FILE for @FILE.
std::string metadata_text(const std::string& argument);
// A whole file, at most `limit` bytes; throws CliError(kFailed) with the reason.
std::string read_file(const std::string& path, std::size_t limit);

}  // namespace appmesh::cli
