#include "api/app_json.h"

#include <chrono>
#include <cmath>

#include <appmesh/wire/json_text.h>
#include <fmt/format.h>

#include "core/access.h"

namespace appmesh::api {

namespace {

class Fields {
 public:
  Fields(boost::json::object& json, const TimeText& time_text) : json_(json), time_text_(time_text) {}

  void time(std::string_view name, const std::optional<core::WallTime>& instant) {
    if (!instant) return;
    json_[name] = core::epoch_seconds(*instant);
    text(name, time_text_(*instant));
  }
  // The text beside an instant that the definition already wrote.
  void time_text(std::string_view name, std::int64_t epoch_seconds) {
    if (epoch_seconds != 0) text(name, time_text_(core::WallTime(std::chrono::seconds(epoch_seconds))));
  }
  void text(std::string_view name, std::string value) { json_[std::string(name) + "_TEXT"] = std::move(value); }

 private:
  boost::json::object& json_;
  const TimeText& time_text_;
};

std::int64_t mean(engine::TaskFigures::Duration total, std::uint64_t count) {
  return count == 0 ? 0 : total.count() / static_cast<std::int64_t>(count);
}

boost::json::object tasks_json(const engine::TaskFigures& tasks) {
  return {{"queued", tasks.queued},
          {"active", tasks.active},
          {"waiting_workers", tasks.waiting_workers},
          {"submitted", tasks.submitted},
          {"answered", tasks.answered},
          {"timed_out", tasks.timed_out},
          {"interrupted", tasks.interrupted},
          {"cancelled", tasks.cancelled},
          {"abandoned", tasks.abandoned},
          {"refused", tasks.refused},
          {"wait_us_mean", mean(tasks.wait_total, tasks.taken)},
          {"wait_us_max", tasks.wait_max.count()},
          {"service_us_mean", mean(tasks.service_total, tasks.answered)},
          {"service_us_max", tasks.service_max.count()}};
}

}  // namespace

boost::json::object instance_json(const engine::AppView& app, std::uint32_t instance, const TimeText& time_text) {
  boost::json::object json{{"instance", instance},
                           {"status", static_cast<int>(app.status)},
                           {"health", app.healthy ? 0 : 1},
                           {"ready", app.ready},
                           {"starts", app.starts}};
  if (app.run_number != 0) json["process_uuid"] = app.run_id;
  if (app.pid != 0) json["pid"] = app.pid;
  if (!app.status_text.empty()) json["status_text"] = app.status_text;
  if (app.return_code) json["return_code"] = *app.return_code;
  Fields fields(json, time_text);
  fields.time("last_start_time", app.last_start);
  fields.time("last_exit_time", app.last_exit);
  fields.time("next_start_time", app.next_start);
  if (!app.last_error.empty())
    json["last_error"] = app.last_error_time ? time_text(*app.last_error_time) + " " + app.last_error : app.last_error;
  return json;
}

namespace {

constexpr std::chrono::seconds kOutputSizeLife{1};

// Everything that stays as it is as long as the picture does.
boost::json::object picture_json(const engine::AppView& app, const TimeText& time_text) {
  const core::AppDefinition& definition = *app.definition;
  boost::json::object json = core::write_definition(definition, core::SecretFields::omit);
  if (!definition.owner.empty()) json["owner"] = core::name_of_owner(definition.owner);
  json["status"] = static_cast<int>(app.status);
  json["health"] = app.healthy ? 0 : 1;
  json["starts"] = app.starts;
  if (app.missed_starts > 0) json["missed_starts"] = app.missed_starts;
  if (app.return_code) json["return_code"] = *app.return_code;

  Fields fields(json, time_text);
  fields.time_text("register_time", definition.register_time);
  fields.time_text("start_time", definition.start_time);
  fields.time_text("end_time", definition.end_time);
  if (auto* daily = json.if_contains("daily_limitation"); daily != nullptr && daily->is_object()) {
    daily->get_object()["daily_start_TEXT"] = time_text.time_of_day(definition.daily_limitation->start_of_day());
    daily->get_object()["daily_end_TEXT"] = time_text.time_of_day(definition.daily_limitation->end_of_day());
  }
  fields.time("last_start_time", app.last_start);
  fields.time("last_exit_time", app.last_exit);
  fields.time("next_start_time", app.next_start);
  if (!app.last_error.empty())
    json["last_error"] = app.last_error_time ? time_text(*app.last_error_time) + " " + app.last_error : app.last_error;
  if (app.invalid != nullptr) {
    boost::json::object& invalid = json["invalid"].emplace_object();
    invalid["file"] = app.invalid->file;
    if (app.invalid->line != 0) invalid["line"] = app.invalid->line;
    invalid["reason"] = app.invalid->reason;
  }

  if (app.rolls) {
    json["rolling_restart"] = {{"state", "running"}};
  } else if (!app.roll_stopped.empty()) {
    json["rolling_restart"] = {{"state", "stopped"}, {"reason", app.roll_stopped}};
  }

  if (app.run_number != 0) json["process_uuid"] = app.run_id;
  if (!app.waiting_for.empty()) {
    boost::json::object& waiting = json["waiting_for"].emplace_object();
    for (const auto& [name, dependency] : app.waiting_for) waiting[name] = core::to_string(dependency.condition);
  }
  if (app.pid != 0) {
    json["pid"] = app.pid;
    json["ready"] = app.ready;
    if (!app.status_text.empty()) json["status_text"] = app.status_text;
  }
  return json;
}

std::string json_string(std::string_view text) {
  std::string json;
  wire::append_json_string(json, text);
  return json;
}

std::string open_text(const engine::AppView& app, const TimeText& time_text) {
  std::string text;
  wire::append_json_object(text, picture_json(app, time_text));
  // As it was sent: no JSON value could keep the spelling of its numbers.
  const core::Metadata& metadata = app.definition->metadata;
  if (metadata.kind() != core::Metadata::Kind::none) wire::append_member(text, "metadata", metadata.json());
  text.pop_back();
  return text;
}

std::uint64_t output_bytes(const engine::AppView& app, const runtime::OutputFiles& outputs) {
  if (app.run_number == 0) return 0;
  const std::string& name = app.definition->name;
  std::uint64_t bytes = outputs.size(name, app.run_number);
  for (const auto kept : app.kept_runs) bytes += outputs.size(name, kept);
  return bytes;
}

// The times of day of these depend on the offset of now.
bool changes_by_itself(const engine::AppView& app) {
  return app.definition->daily_limitation.has_value();
}

std::shared_ptr<const engine::ShownApp> shown_app(const engine::AppView& app, const runtime::OutputFiles& outputs,
                                                  const TimeText& time_text, Keep keep) {
  const auto now = std::chrono::steady_clock::now();
  const auto before = app.shown.get();
  const bool same_text = before != nullptr && before->zone == time_text.zone() && !changes_by_itself(app);
  // A file that nobody writes any more is looked at each time: it may be removed.
  const bool same_size = before != nullptr && app.pid != 0 && now - before->output_read < kOutputSizeLife;
  if (same_text && same_size) return before;
  auto shown = std::make_shared<engine::ShownApp>();
  shown->zone = time_text.zone();
  shown->json = same_text ? before->json : open_text(app, time_text);
  shown->output_bytes = same_size ? before->output_bytes : output_bytes(app, outputs);
  shown->output_read = same_size ? before->output_read : now;
  if (keep == Keep::yes) app.shown.set(shown);
  return shown;
}

}  // namespace

std::string app_text(const engine::AppView& app, const ProcessSample* sample, const runtime::OutputFiles& outputs,
                     const TimeText& time_text, Keep keep) {
  const auto shown = shown_app(app, outputs, time_text, keep);
  std::string text;
  text.reserve(shown->json.size() + 256);
  text += shown->json;
  const auto out = std::back_inserter(text);
  if (app.run_number != 0) fmt::format_to(out, R"(,"stdout_cache_size":{})", shown->output_bytes);
  if (app.pid != 0) {
    if (sample != nullptr)
      fmt::format_to(out, R"(,"memory":{},"cpu":{},"fd":{},"pid_user":{},"pstree":{})", sample->memory_bytes,
                     std::round(sample->cpu_percent * 100) / 100, sample->descriptors, json_string(sample->user),
                     json_string(sample->tree));
    const engine::TaskFigures tasks = app.tasks->figures();
    fmt::format_to(out, R"(,"task_id":{},"task_status":"{}")", tasks.last_task, tasks.busy() ? "busy" : "idle");
    if (tasks.submitted > 0 || tasks.waiting_workers > 0)
      fmt::format_to(out, R"(,"tasks":{})", wire::write_json(tasks_json(tasks)));
  }
  text += '}';
  return text;
}

void add_member(std::string& object, std::string_view name, const boost::json::value& value) {
  wire::append_member(object, name, wire::write_json(value));
}

void name_unknown(Response& response, const std::vector<core::UnknownField>& fields) {
  if (!fields.empty()) response.add_header("X-Unknown-Fields", core::names_of(fields));
}

}  // namespace appmesh::api
