// Going on where an earlier daemon left off: definitions from YAML, state from SQLite, living and ended runs from the
// keeper. A run belongs to its app's present life when it is the one that the saved state names, or a newer one (state
// is saved a moment after it is decided); any other run is an orphan of a deleted app and is stopped. What cannot be
// read is not deleted: invalid_definitions.cpp.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include <appmesh/wire/json_text.h>
#include <boost/asio/post.hpp>
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
  auto value = wire::read_json(text, error);
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

std::optional<AttachTarget> saved_target(const boost::json::object& saved) {
  const auto* attach = saved.if_contains("attach");
  if (attach == nullptr || !attach->is_object()) return std::nullopt;
  const auto* pid = attach->get_object().if_contains("pid");
  const auto* ticks = attach->get_object().if_contains("start_ticks");
  if (pid == nullptr || !pid->is_int64() || ticks == nullptr || !ticks->is_number()) return std::nullopt;
  boost::system::error_code error;
  const auto start = ticks->to_number<std::uint64_t>(error);
  if (error) return std::nullopt;
  return AttachTarget{static_cast<pid_t>(pid->get_int64()), start};
}

// A cgroup is used again once it is empty. The keeper may still hold the exit of the run that had it before, and what
// is in it now is not left over from that run.
std::vector<runtime::KnownRun> with_own_cgroups(std::vector<runtime::KnownRun> runs) {
  std::unordered_set<std::string> taken;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {  // the newest first
    auto tag = runtime::RunTag::decode(run->tag);
    if (!tag || tag->cgroup.empty() || taken.insert(tag->cgroup).second) continue;
    tag->cgroup.clear();
    run->tag = tag->encode();
  }
  return runs;
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

std::optional<bool> is_outdated(const runtime::RunTag& tag, const core::AppDefinition& definition) {
  const std::string present = core::run_fingerprint(definition);
  const auto version = present.find(':') + 1;
  if (tag.made_of.substr(0, version) != present.substr(0, version)) return std::nullopt;
  return tag.made_of != present;
}

Result<void> Engine::load() {
  auto saved = states_.load_apps();
  if (!saved) return std::unexpected(saved.error());
  SavedRows rows;
  bool knows_registered = false;
  for (auto& app : *saved) {
    SavedRow row{.saved = std::move(app), .state = {}, .on_demand = false};
    row.state = parse_object(row.saved.state);
    // A damaged row with a definition may be of either kind. What has a file is looked for there.
    row.on_demand = row.state ? row.state->contains("on_demand") : !row.saved.definition.empty();
    knows_registered = knows_registered || (row.state && !row.on_demand);
    const std::string name = row.saved.name;
    rows.emplace(name, std::move(row));
  }

  auto loaded = definitions_.load_all();
  if (loaded.unreadable && loaded.unreadable->kind == ErrorKind::not_found && !knows_registered) {
    if (auto made = definitions_.make_folder(); !made) return made;  // the first start
    loaded.unreadable.reset();
  }
  if (loaded.unreadable) {
    unread_folder_ = std::make_shared<const InvalidDefinition>(
        InvalidDefinition{definitions_.directory().string(), 0, loaded.unreadable->message});
    spdlog::error("no definition can be read: {}; every application goes on with what was known of it",
                  unread_folder_->text());
  }
  for (auto& definition : loaded.definitions)
    load_registered(std::make_shared<const core::AppDefinition>(std::move(definition)), rows, nullptr);
  for (const auto& refused : loaded.refused) {
    InvalidDefinition invalid{refused.file.string(), refused.line, refused.error.message};
    spdlog::error("the definition is left alone: {}", invalid.text());
    if (!refused.name.empty() && !apps_.contains(refused.name)) load_invalid(refused.name, std::move(invalid), rows);
  }
  for (const auto& [name, row] : rows) {
    if (apps_.contains(name)) continue;
    const auto [app, instance] = core::split_instance(name);
    if (row.on_demand)
      load_run(row);
    else if (unread_folder_ != nullptr && instance == 0)
      load_invalid(name, *unread_folder_, rows);
    else if (!may_be_of_unread(name))
      states_.delete_app(name);  // its YAML file was removed by hand
  }
  return {};
}

void Engine::load_registered(std::shared_ptr<const core::AppDefinition> definition, const SavedRows& rows,
                             std::shared_ptr<const InvalidDefinition> invalid) {
  const auto row_of = [&](const App& app) {
    const auto row = rows.find(app.name());
    return row != rows.end() && !row->second.on_demand ? &row->second : nullptr;
  };
  App& first = add_app(std::move(definition));
  dependencies_.set(first.name(), first.state.definition->depends_on);
  first.instance_count = first.state.definition->instances;
  first.invalid = std::move(invalid);
  first.invalid_since = platform::wall_now();
  load_app(first, row_of(first), false);
  for (std::uint32_t k = 1; k < first.instance_count; ++k) {
    App& instance = add_instance(first, k);
    instance.before = first.before == nullptr ? nullptr : definition_of(first.before, k);
    load_app(instance, row_of(instance), false);
  }
}

// On-demand runs have no file. A row that is damaged is kept, and so is its run.
void Engine::load_run(const SavedRow& row) {
  auto json = parse_object(row.saved.definition);
  auto parsed = json ? core::parse_definition(*json, row.saved.definition) : std::unexpected(json.error());
  const Error* problem = !parsed ? &parsed.error() : !row.state ? &row.state.error() : nullptr;
  if (problem != nullptr) {
    const InvalidDefinition invalid{(options_.home / "work/state.db").string(), 0,
                                    "the row of " + row.saved.name + ": " + problem->message};
    spdlog::error("an on-demand run goes on without its definition: {}", invalid.text());
    App& app = add_placeholder(row.saved.name, std::make_shared<const InvalidDefinition>(invalid));
    app.state.status = core::AppStatus::not_available;
    load_app(app, &row, true);
    constexpr std::chrono::hours kLongestLife{72};
    if (!app.state.on_demand->remove_at) app.state.on_demand->remove_at = platform::now().steady + kLongestLife;
    return;
  }
  parsed->definition.status = core::AppStatus::not_available;
  if (const auto* owner = json->if_contains("owner"); owner != nullptr && owner->is_string())
    parsed->definition.owner = owner->get_string();
  load_app(add_app(std::make_shared<const core::AppDefinition>(std::move(parsed->definition))), &row, true);
}

// The state is as it was saved, its status too: where the definition on disk says something else, people have edited
// it, and core::recover() decides what that means.
void Engine::load_app(App& app, const SavedRow* row, bool on_demand) {
  if (on_demand) app.state.on_demand.emplace();
  if (row == nullptr) return;
  if (!row->saved.definition.empty() && !on_demand && app.instance == 0) {
    if (auto copy = definitions_.from_copy(row->saved.definition)) {
      copy->name = app.name();
      app.copy_is_due = !core::same_definition(*copy, *app.state.definition);
      if (app.copy_is_due) app.before = std::make_shared<const core::AppDefinition>(std::move(*copy));
    } else {
      spdlog::error("the last good definition of {}: {}", app.name(), copy.error().message);
    }
  }
  take_saved_state(app, row->saved.state);
}

void Engine::take_saved_state(App& app, const std::string& text) {
  if (app.placeholder) app.unrecovered_state = text;
  const auto json = parse_object(text);
  if (!json) return spdlog::error("state of {}: {}", app.name(), json.error().message);
  if (auto state = core::load_state(app.state, *json, platform::now()); !state)
    spdlog::error("state of {}: {}", app.name(), state.error().message);
  const SavedRun run = saved_run(*json);
  if (const auto* past = json->if_contains("restart_past"); past != nullptr && past->is_int64())
    app.restart_past = static_cast<core::RunNumber>(past->get_int64());
  app.attach = saved_target(*json);
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

void Engine::recover(const std::vector<runtime::KnownRun>& listed) {
  const std::vector<runtime::KnownRun> known = with_own_cgroups(listed);
  std::unordered_map<std::string, std::vector<const runtime::KnownRun*>> by_app;
  for (const auto& run : known) {
    const auto tag = runtime::RunTag::decode(run.tag);
    if (tag) taken_cgroups_.insert(tag->cgroup);
    if (tag && tag->kind != runtime::RunKind::health && !tag->awaited) adopt_unread(tag->app);
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
  watch_definitions();
  spdlog::info("{} applications, {} runs found", apps_.size(), known.size());
}

void Engine::recover_app(App& app, const std::vector<const runtime::KnownRun*>& runs) {
  if (app.placeholder && runs.empty()) return leave_unrecovered(app);
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
  if (never_ran && !app.placeholder) return delete_app(app);  // its caller was never answered
  std::vector<core::OtherRun> others;
  for (const auto& [run, tag] : older)
    others.push_back({tag.run_number, run->exit ? core::RecoveredRun::exited : core::RecoveredRun::running});
  const App* first = instance_of(app.public_name(), 0);
  core::Recovery found{.newest_run = number, .what = what, .others = others};
  found.before = app.before.get();
  found.rolls = first != nullptr && first->instance_count > 1;
  if (newest != nullptr && !app.placeholder) found.outdated = is_outdated(newest_tag, *app.state.definition);
  auto effects = core::recover(app.state, found, platform::now(), options_.policy);
  const bool differs = app.before != nullptr && core::needs_restart(*app.before, *app.state.definition);
  if (found.rolls && what == core::RecoveredRun::running && found.outdated.value_or(differs) && !app.restart_past)
    app.restart_past = app.state.last_run;
  app.before.reset();
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
    if (found == apps_.end() && may_be_of_unread(name)) continue;
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
