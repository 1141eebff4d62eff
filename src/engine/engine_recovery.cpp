// Going on where an earlier daemon left off: definitions from YAML, state from SQLite, living and ended runs from the
// keeper. A run belongs to its app's present life when it is the one that the saved state names, or a newer one (state
// is saved a moment after it is decided); any other run is an orphan of a deleted app and is stopped.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/json/parse.hpp>
#include <spdlog/spdlog.h>

#include "engine/app.h"
#include "engine/engine.h"
#include "platform/clock.h"
#include "platform/process.h"

namespace appmesh::engine {

namespace {

struct SavedRun {
  std::string run_id;
  std::string outgoing_id;
  std::string cgroup;
  std::string outgoing_cgroup;
  std::int32_t pid = 0;
};

Result<boost::json::object> parse_object(const std::string& text) {
  boost::system::error_code error;
  auto value = boost::json::parse(text, error);
  if (error || !value.is_object()) return fail(ErrorKind::internal, "saved state is not a JSON object");
  return std::move(value.get_object());
}

SavedRun saved_run(const boost::json::object& saved) {
  SavedRun run;
  const auto read = [&](const char* field, std::string& out) {
    if (const auto* text = saved.if_contains(field); text != nullptr && text->is_string()) out = text->get_string();
  };
  read("run_id", run.run_id);
  read("outgoing_run_id", run.outgoing_id);
  read("run_cgroup", run.cgroup);
  read("outgoing_run_cgroup", run.outgoing_cgroup);
  if (const auto* pid = saved.if_contains("run_pid"); pid != nullptr && pid->is_int64())
    run.pid = static_cast<std::int32_t>(pid->get_int64());
  return run;
}

// A run that ended with the host did not end by itself: its app starts anew, whatever its exit policy.
bool began_before_boot(std::optional<core::WallTime> start) {
  const auto boot = platform::ProcFs().boot_time();
  return boot && start && *start < *boot;
}

bool ended_with_host(const runtime::KnownRun& run) {
  return run.exit && !run.exit->known && began_before_boot(run.started);
}

}  // namespace

Result<void> Engine::load() {
  auto saved = states_.load_apps();
  if (!saved) return std::unexpected(saved.error());
  std::unordered_map<std::string, const store::SavedApp*> states;
  for (const auto& app : *saved) states.emplace(app.name, &app);

  auto loaded = definitions_.load_all();
  for (const auto& refused : loaded.refused)
    spdlog::error("definition {} is left alone: {}", refused.file.filename().string(), refused.error.message);
  for (auto& definition : loaded.definitions) {
    const auto state_of = [&](const App& app) {
      const auto state = states.find(app.name());
      return state != states.end() && state->second->definition.empty() ? state->second : nullptr;
    };
    App& first = add_app(std::make_shared<const core::AppDefinition>(std::move(definition)));
    dependencies_.set(first.name(), first.state.definition->depends_on);
    first.instance_count = first.state.definition->instances;
    load_app(first, state_of(first), false);
    for (std::uint32_t k = 1; k < first.instance_count; ++k) {
      App& instance = add_instance(first, k);
      load_app(instance, state_of(instance), false);
    }
  }
  for (const auto& app : *saved) {
    if (apps_.contains(app.name)) continue;
    auto json = app.definition.empty() ? fail(ErrorKind::not_found, "") : parse_object(app.definition);
    auto parsed = json ? core::parse_definition(*json) : std::unexpected(json.error());
    if (!parsed) {  // its YAML file was removed by hand, or the row is damaged
      states_.delete_app(app.name);
      continue;
    }
    parsed->definition.status = core::AppStatus::not_available;
    if (const auto* owner = json->if_contains("owner"); owner != nullptr && owner->is_string())
      parsed->definition.owner = owner->get_string();
    load_app(add_app(std::make_shared<const core::AppDefinition>(std::move(parsed->definition))), &app, true);
  }
  return {};
}

void Engine::load_app(App& app, const store::SavedApp* saved, bool on_demand) {
  const core::AppStatus status = app.state.status;
  if (on_demand) app.state.on_demand.emplace();
  if (saved == nullptr) return;
  const auto json = parse_object(saved->state);
  if (!json) {
    spdlog::error("state of {}: {}", app.name(), json.error().message);
    return;
  }
  if (auto state = core::load_state(app.state, *json, platform::now()); !state)
    spdlog::error("state of {}: {}", app.name(), state.error().message);
  app.state.status = status;  // the definition on disk decides: people may edit it
  const SavedRun run = saved_run(*json);
  if (const auto* past = json->if_contains("restart_past"); past != nullptr && past->is_int64())
    app.restart_past = static_cast<core::RunNumber>(past->get_int64());
  app.saved_run_id = run.run_id;
  app.saved_outgoing_id = run.outgoing_id;
  app.saved_cgroup = run.cgroup;
  app.saved_outgoing_cgroup = run.outgoing_cgroup;
  if (const auto id = runtime::RunId::parse(run.run_id)) {
    app.run_id = *id;
    app.run_number = app.state.last_run;
    app.pid = run.pid;
  }
}

void Engine::recover(const std::vector<runtime::KnownRun>& known) {
  std::unordered_map<std::string, std::vector<const runtime::KnownRun*>> by_app;
  for (const auto& run : known) {
    const auto tag = runtime::RunTag::decode(run.tag);
    if (tag) taken_cgroups_.insert(tag->cgroup);
    if (tag && tag->kind == runtime::RunKind::health)
      end_check(run, *tag);
    else if (tag && apps_.contains(tag->app))
      by_app[tag->app].push_back(&run);
    else if (tag)
      adopt_orphan(run, *tag);
    else if (run.exit)
      supervisor_.forget(run.id);
  }
  expect_dependencies();
  std::vector<std::pair<std::string, std::uint64_t>> apps;  // recovering an app may delete it
  for (const auto& [name, app] : apps_) apps.emplace_back(name, app->generation);
  for (const auto& [name, generation] : apps)
    if (App* app = find(name, generation)) recover_app(*app, by_app[name]);
  settle_dependencies();
  resume_rolls();
  sort_outputs();
  supervisor_.remove_stray_cgroups();
  notify_.remove_strays();
  spdlog::info("{} applications, {} runs found", apps_.size(), known.size());
}

void Engine::recover_app(App& app, const std::vector<const runtime::KnownRun*>& runs) {
  const core::RunNumber saved_current = app.state.current_run;
  const core::RunNumber saved_last = app.state.last_run;
  const core::RunNumber saved_outgoing = app.state.outgoing_run;
  const runtime::KnownRun* newest = nullptr;
  runtime::RunTag newest_tag;
  std::vector<std::pair<const runtime::KnownRun*, runtime::RunTag>> older;
  for (const auto* run : runs) {
    const auto tag = *runtime::RunTag::decode(run->tag);
    // An app of the same name that was deleted may have had a run of the same number: ids tell them apart.
    const std::string id = run->id.text();
    const bool named = id == app.saved_run_id || id == app.saved_outgoing_id || app.saved_run_id.empty();
    const bool live = tag.run_number == saved_current || tag.run_number == saved_outgoing;
    const bool ours = tag.run_number > saved_last || (live && named);
    if (!ours) {
      adopt_orphan(*run, tag);
      continue;
    }
    if (newest != nullptr) older.emplace_back(newest, newest_tag);
    newest = run;
    newest_tag = tag;
  }
  // A handed-over run is never the newest, even when it is all that is left.
  if (newest != nullptr && newest_tag.run_number == saved_outgoing && saved_outgoing < saved_last) {
    older.emplace_back(newest, newest_tag);
    newest = nullptr;
  }

  core::RecoveredRun what = core::RecoveredRun::none;
  core::RunNumber number = 0;
  if (newest != nullptr && ended_with_host(*newest)) {
    number = newest_tag.run_number;
    what = core::RecoveredRun::lost;
    app.run_id = newest->id;
    app.run_number = number;
    app.pid = 0;
    app.run_complete = true;
    adopt_orphan(*newest, newest_tag);  // records its end
  } else if (newest != nullptr) {
    number = newest_tag.run_number;
    what = newest->exit ? core::RecoveredRun::exited : core::RecoveredRun::running;
    app.run_id = newest->id;
    app.run_number = number;
    app.pid = newest->exit ? 0 : newest->pid;
    supervisor_.adopt_known(*newest, newest_tag, app.generation);
    watch_.add(newest->id, newest_tag.app, number);
    if (!newest->exit) {  // a worker goes on with the key that it was born with
      app.tasks->add_worker(newest->id, newest_tag.instance, newest_tag.process_key);
      app.tasks->worker_started(newest->id);
    }
    if (LiveRun* run = supervisor_.find(newest->id); run != nullptr && !newest->exit) notify_.follow(*run);
    if (newest_tag.terminal) watch_unattended(app);
  } else {
    app.pid = 0;
    app.run_complete = app.run_number != 0;
    const bool was_alive = app.state.phase == core::Phase::running || app.state.phase == core::Phase::stopping;
    if (saved_current != 0 && was_alive) {
      // A power cut may also take the keeper's journal. Else somebody removed the journal: what may be left is stopped.
      if (began_before_boot(app.state.last_start)) what = core::RecoveredRun::lost;
      number = saved_current;
      store::RunRecord row;
      row.run_id = app.saved_run_id;
      row.app = app.public_name();
      row.instance = app.instance;
      row.run_number = number;
      row.start = app.state.last_start;
      row.end = platform::wall_now();
      row.reason = "exit status unknown";
      if (!row.run_id.empty()) states_.record_run(std::move(row));
    }
  }
  const std::string name = app.name();
  const std::uint64_t generation = app.generation;
  const bool never_ran = app.state.on_demand && newest == nullptr && app.state.last_run == 0;
  if (never_ran) return delete_app(app);  // its caller was never answered
  std::vector<core::OtherRun> others;
  for (const auto& [run, tag] : older)
    others.push_back({tag.run_number, run->exit ? core::RecoveredRun::exited : core::RecoveredRun::running});
  auto effects = core::recover(app.state, number, what, others, platform::now(), options_.policy);
  for (const auto& [run, tag] : older) {
    if (tag.run_number != app.state.outgoing_run && tag.run_number != app.state.current_run) {
      adopt_orphan(*run, tag);  // its end is recorded
      continue;
    }
    app.outgoing_id = run->id;
    supervisor_.adopt_known(*run, tag, app.generation);
    watch_.add(run->id, tag.app, tag.run_number);
  }
  carry_out(app, std::move(effects));
  if (App* still = find(name, generation)) {
    publish(*still);
    settle_limits(*still);
  }
}

// A run of an app that is gone, or an older run whose end was not recorded: it is stopped, recorded and forgotten.
void Engine::adopt_orphan(const runtime::KnownRun& run, const runtime::RunTag& tag) {
  LiveRun& orphan = supervisor_.adopt_known(run, tag, 0);
  if (run.exit) return;
  orphan_numbers_[tag.app] = std::max(orphan_numbers_[tag.app], tag.run_number);
  // The daemon died in the milliseconds before this run was on record: its caller is gone, but it may finish.
  if (tag.awaited && !apps_.contains(tag.app)) return;
  supervisor_.stop(orphan, options_.policy.stop_grace, "removed");
}

// A health check that an earlier daemon began tells nothing any more.
void Engine::end_check(const runtime::KnownRun& run, const runtime::RunTag& tag) {
  LiveRun& check = supervisor_.adopt_known(run, tag, 0);
  if (!run.exit) supervisor_.stop(check, std::chrono::seconds{0}, "a check of an earlier daemon");
}

// Output files left on disk become each app's history; files of apps that are gone are removed.
void Engine::sort_outputs() {
  std::unordered_map<std::string, std::vector<core::RunNumber>> files;
  for (auto& entry : outputs_.list()) files[std::move(entry.app)].push_back(entry.run);
  for (auto& [name, numbers] : files) {
    const auto found = apps_.find(name);
    const auto orphan = orphan_numbers_.find(name);
    std::ranges::sort(numbers, std::greater<>{});
    if (found == apps_.end()) {
      for (const auto number : numbers)
        if (orphan == orphan_numbers_.end() || orphan->second != number) outputs_.remove(name, number);
      continue;
    }
    App& app = *found->second;
    for (const auto number : numbers)
      if (number != app.run_number) app.kept_runs.push_back(number);
    prune_outputs(app);
    publish(app);
  }
}

}  // namespace appmesh::engine
