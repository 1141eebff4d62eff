#include "cli/app_table.h"

#include <fmt/format.h>

#include "cli/format.h"

namespace appmesh::cli {
namespace {

Cell status_cell(const App& app) {
  // Its definition: what it has of a status is that of the last good one.
  if (app.json().contains("invalid")) return {"invalid", Style::kBad};
  switch (app.status()) {
    case AppStatus::kEnabled:
      return {"enabled", Style::kGood};
    case AppStatus::kDisabled:
      return {"disabled", Style::kDim};
    default:
      return {"N/A", Style::kDim};
  }
}

Cell health_cell(const App& app) {
  // Nothing runs and nothing should: neither well nor ill.
  if (!app.pid() && app.status() != AppStatus::kEnabled) return {};
  if (!app.number("health")) return {};
  return app.healthy() ? Cell{"OK", Style::kGood} : Cell{"unhealthy", Style::kBad};
}

Cell number_cell(std::optional<std::int64_t> value) {
  return {value ? std::to_string(*value) : ""};
}

Cell duration_cell(const App& app, std::int64_t now) {
  const auto start = app.number("last_start_time");
  if (!start || *start <= 0) return {};
  if (app.pid()) return {human_duration(now - *start)};
  const auto end = app.number("last_exit_time");
  if (!end || *end < *start) return {};
  return {human_duration(*end - *start)};
}

Cell time_cell(std::optional<std::int64_t> epoch) {
  return {epoch && *epoch > 0 ? local_time(*epoch) : ""};
}

std::string command_text(const App& app) {
  const std::string image = app.text("docker_image").value_or("");
  const std::string command = app.command();
  if (image.empty()) return command;
  return command.empty() ? "docker:" + image : "docker:" + image + " " + command;
}

}  // namespace

Table app_table(const std::vector<App>& apps, std::int64_t now, bool wide) {
  std::vector<Column> columns{{"ID"},  {"NAME", 12}, {"OWNER", 8}, {"STATUS"},     {"HEALTH"},
                              {"PID"}, {"USER", 8},  {"MEMORY"},   {"%CPU"},       {"RETURN"},
                              {"AGE"}, {"DURATION"}, {"STARTS"},   {"COMMAND", 10}};
  if (wide) {
    columns.push_back({"NEXT_START"});
    columns.push_back({"LAST_ERROR"});
  }
  Table table(std::move(columns));
  int id = 0;
  for (const App& app : apps) {
    const auto memory = app.memory_bytes();
    const auto cpu = app.cpu_percent();
    const auto code = app.return_code();
    const auto registered = app.number("register_time");
    std::vector<Cell> row{
        {std::to_string(id++)},
        {app.name()},
        {app.owner()},
        status_cell(app),
        health_cell(app),
        number_cell(app.pid()),
        {app.text("pid_user").value_or("")},
        {memory ? human_bytes(*memory) : ""},
        {cpu ? fmt::format("{:.1f}", *cpu) : ""},
        {code ? std::to_string(*code) : "", code.value_or(0) == 0 ? Style::kPlain : Style::kBad},
        {registered && *registered > 0 ? human_duration(now - *registered) : ""},
        duration_cell(app, now),
        number_cell(app.starts()),
        {command_text(app)},
    };
    if (wide) {
      row.push_back(time_cell(app.number("next_start_time")));
      row.push_back({in_local_time(app.text("last_error").value_or(""))});
    }
    table.add(std::move(row));
  }
  return table;
}

}  // namespace appmesh::cli
