// Requests that change a registered app. One rule for all: what is decided is durable before anything follows from it,
// so an error leaves memory, processes and disk as they were, and an answer is true for every later daemon too.
//
//   register   row and file, side by side, then the app exists and starts
//   change     all rows of before, then the file, then what follows (a stop, a start, a restart)
//   restart    the wish in the row, then the restart
//   remove     the file, then the app; of an on-demand run its row
//
// A daemon that dies after the file was written finds the difference between file and row, and decides the same then:
// core::recover().
#include <utility>

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "core/app_authority.h"
#include "engine/app.h"
#include "engine/engine.h"
#include "engine/refusals.h"
#include "platform/clock.h"

namespace appmesh::engine {

namespace {

constexpr std::size_t kMaxBusyRequests = 1000;  // waiting on one name

// Several writes of one decision: `done` once, with the first error.
class Together {
 public:
  Together(std::size_t count, Done<> done)
      : shared_(std::make_shared<Shared>(count, Result<void>{}, std::move(done))) {}
  // Each must be called once, on the engine thread.
  [[nodiscard]] Done<> part() const {
    return [shared = shared_](Result<void> result) {
      if (!result && shared->outcome) shared->outcome = std::move(result);
      if (--shared->left == 0) shared->done(std::move(shared->outcome));
    };
  }

 private:
  struct Shared {
    std::size_t left;
    Result<void> outcome;
    Done<> done;
  };
  std::shared_ptr<Shared> shared_;
};

Error is_invalid(const std::string& name, const InvalidDefinition& invalid) {
  return {ErrorKind::precondition_failed,
          fmt::format("the definition of <{}> is invalid ({}): mend the file, or put or delete the application", name,
                      invalid.text()),
          {}};
}

}  // namespace

template <typename T>
Done<T> Engine::releasing(std::string name, Done<T> done) {
  return [this, name = std::move(name), done = std::move(done)](Result<T> result) mutable {
    done(std::move(result));
    release_name(name);
  };
}

template <typename T>
bool Engine::is_crowded(const std::string& name, Done<T>& done) {
  const auto busy = busy_names_.find(name);
  if (busy == busy_names_.end() || busy->second.size() < kMaxBusyRequests) return false;
  done(fail(ErrorKind::unavailable, "too many requests for this application, try again"));
  return true;
}

// ---- what is durable
// ---------------------------------------------------------------------------------------------------

void Engine::save_state(App& app, Done<> done) {
  states_.save_app(row_of(app), [this, name = app.name(), generation = app.generation,
                                 done = std::move(done)](Result<void> saved) mutable {
    boost::asio::post(context_, [this, name, generation, done = std::move(done), saved = std::move(saved)]() mutable {
      // A refused row took the copy of the definition with it.
      if (App* still = saved ? nullptr : find(name, generation)) still->copy_is_due = true;
      done(std::move(saved));
    });
  });
}

// First all that was decided before: a daemon that finds the new file must not meet a state from before the last one.
void Engine::write_definition(std::shared_ptr<const core::AppDefinition> definition, Done<> done) {
  states_.barrier([this, definition = std::move(definition), done = std::move(done)](Result<void> durable) mutable {
    auto answer = [this, done = std::move(done)](Result<void> saved) mutable {
      boost::asio::post(context_,
                        [done = std::move(done), saved = std::move(saved)]() mutable { done(std::move(saved)); });
    };
    if (!durable) return answer(std::move(durable));
    definitions_.save(std::move(definition), std::move(answer));
  });
}

// The row of an app that does not exist yet, as its first decision will make it. Row and file of a new app need no
// order: neither means anything without the other.
void Engine::write_new(std::shared_ptr<const core::AppDefinition> definition, std::optional<AttachTarget> target,
                       Done<> done) {
  const std::string name = definition->name;
  const std::uint32_t instances = definition->instances;
  struct Outcome {
    Result<void> file;
    Result<void> rows;
  };
  auto outcome = std::make_shared<Outcome>();
  const Together both(2, [this, outcome, name, instances, done = std::move(done)](Result<void> all) mutable {
    if (!all) {
      if (outcome->file) definitions_.remove(name, nullptr);
      for (std::uint32_t k = 0; k < instances; ++k) states_.delete_app(core::instance_key(name, k));
    }
    done(std::move(all));
  });
  const Together rows(instances, [outcome, part = both.part()](Result<void> saved) mutable {
    outcome->rows = saved;
    part(std::move(saved));
  });
  for (std::uint32_t k = 0; k < instances; ++k) {
    App future;
    future.instance = k;
    future.attach = target;
    future.state.status = definition->status;
    future.state.definition = definition_of(definition, k);
    if (const auto orphan = orphan_numbers_.find(future.name()); orphan != orphan_numbers_.end())
      future.state.last_run = orphan->second;
    (void)core::step(future.state, core::event::Defined{unmet_dependencies(*definition)}, platform::now(),
                     options_.policy);
    save_state(future, rows.part());
  }
  definitions_.save(std::move(definition), [this, outcome, part = both.part()](Result<void> saved) mutable {
    boost::asio::post(context_, [outcome, part = std::move(part), saved = std::move(saved)]() mutable {
      outcome->file = saved;
      part(std::move(saved));
    });
  });
}

// A process that is to be adopted is part of the decision and in no file: it goes with the wish for a restart.
void Engine::write_changed(App& app, std::shared_ptr<const core::AppDefinition> definition,
                           std::optional<AttachTarget> target, Done<> done) {
  if (!target) return write_definition(std::move(definition), std::move(done));
  const std::string name = app.name();
  const auto past = std::exchange(app.restart_past, app.state.last_run);
  const auto attach = std::exchange(app.attach, target);
  auto undo = [this, name, generation = app.generation, past, attach] {
    App* still = find(name, generation);
    if (still == nullptr) return;
    still->restart_past = past;
    still->attach = attach;
    save_state(*still);
  };
  save_state(app, [this, definition = std::move(definition), undo, done = std::move(done)](Result<void> saved) mutable {
    if (!saved) {
      undo();
      return done(std::move(saved));
    }
    write_definition(std::move(definition), [undo, done = std::move(done)](Result<void> written) mutable {
      if (!written) undo();
      done(std::move(written));
    });
  });
}

// ---- register
// ----------------------------------------------------------------------------------------------------------

void Engine::register_app(core::AppDefinition definition, Expected expected, Done<AppViewPtr> done) {
  boost::asio::post(context_, [this, definition = std::move(definition), expected, done = std::move(done)]() mutable {
    admit(std::move(definition), expected, std::nullopt, std::move(done));
  });
}

void Engine::admit(core::AppDefinition definition, Expected expected, std::optional<Subscription> subscription,
                   Done<AppViewPtr> done) {
  const std::string name = definition.name;
  if (is_crowded(name, done)) return;
  with_name(name, [this, definition = std::move(definition), expected, subscription = std::move(subscription),
                   done = releasing(name, std::move(done))]() mutable {
    if (subscription) done = with_subscription(definition.name, std::move(*subscription), std::move(done));
    take_definition(std::move(definition), expected, std::nullopt, std::move(done));
  });
}

void Engine::take_definition(core::AppDefinition definition, Expected expected, std::optional<AttachTarget> target,
                             Done<AppViewPtr> done) {
  const auto found = apps_.find(definition.name);
  App* existing = found == apps_.end() ? nullptr : found->second.get();
  if (expected.generation.has_value() != (existing != nullptr) ||
      (existing != nullptr && existing->generation != *expected.generation))
    return done(std::unexpected(replaced(definition.name)));
  if (existing != nullptr) {
    const core::AppDefinition& now = *existing->state.definition;
    const bool as_seen =
        expected.definition ? core::same_authority(*expected.definition, now) : definition.owner == now.owner;
    if (!as_seen) return done(std::unexpected(replaced(definition.name)));
  }
  const std::size_t had = existing == nullptr ? 0 : existing->instance_count;
  if (definition.instances > had && apps_.size() + definition.instances - had > options_.max_apps)
    return done(fail(ErrorKind::unavailable, fmt::format("no more than {} applications", options_.max_apps)));
  if (existing != nullptr && existing->state.on_demand)
    return done(fail(ErrorKind::conflict, fmt::format("<{}> is an on-demand run: remove it first", definition.name)));

  const bool is_own = existing != nullptr && existing->pid == definition.pid;
  if (definition.pid != 0 && !is_own && definition.instances > 1)
    return done(fail(ErrorKind::invalid_argument, "field 'pid': an application with several instances cannot attach"));
  if (definition.pid != 0 && !is_own && !target) return find_target(std::move(definition), expected, std::move(done));
  if (target && existing != nullptr && existing->state.phase == core::Phase::starting)
    return done(fail(ErrorKind::conflict, fmt::format("<{}> is being started, try again", definition.name)));

  if (auto checked = check_dependencies(definition); !checked) return done(std::unexpected(checked.error()));
  definition.pid = 0;
  if (existing != nullptr && !existing->placeholder) {
    const core::AppDefinition& before = *existing->state.definition;
    definition = core::keep_stored_fields(before, std::move(definition));
    // What is invalid is written whatever it says: that mends the file.
    if (!target && existing->invalid == nullptr && core::same_definition(before, definition)) {
      place_subscription(existing->name());
      return when_settled(*existing, std::move(done));
    }
  } else {
    definition.register_time = core::epoch_seconds(platform::wall_now());
  }
  auto shared = std::make_shared<const core::AppDefinition>(std::move(definition));
  const std::uint64_t generation = existing == nullptr ? 0 : existing->generation;
  dependencies_.set(shared->name, shared->depends_on);  // two requests at a time must not make a cycle
  auto written = [this, shared, generation, target, done = std::move(done)](Result<void> saved) mutable {
    if (saved) return definition_saved(std::move(shared), generation, target, std::move(done));
    restore_dependencies(shared->name);
    done(std::unexpected(saved.error()));
  };
  if (existing == nullptr) return write_new(shared, target, std::move(written));
  write_changed(*existing, shared, target, std::move(written));
}

// A process can be adopted when the app would be started now, and not before.
void Engine::find_target(core::AppDefinition definition, Expected expected, Done<AppViewPtr> done) {
  if (definition.status != core::AppStatus::enabled)
    return done(fail(ErrorKind::invalid_argument, "field 'pid': a disabled application cannot attach to a process"));
  const core::WallTime now = platform::wall_now();
  if (core::next_opening(definition, now) != now)
    return done(fail(ErrorKind::invalid_argument, "field 'pid': attaching outside the valid time range"));
  const std::int32_t pid = definition.pid;
  const std::string owner = definition.owner;
  supervisor_.find_attachable(pid, owner,
                              [this, definition = std::move(definition), expected,
                               done = std::move(done)](Result<AttachTarget> target) mutable {
                                if (!target) return done(std::unexpected(target.error()));
                                take_definition(std::move(definition), expected, *target, std::move(done));
                              });
}

void Engine::definition_saved(std::shared_ptr<const core::AppDefinition> definition, std::uint64_t generation,
                              std::optional<AttachTarget> target, Done<AppViewPtr> done) {
  const std::string name = definition->name;
  if (generation == 0) {
    if (apps_.contains(name)) {
      // An on-demand run took the name while the file was written.
      definitions_.remove(name, nullptr);
      restore_dependencies(name);
      return done(std::unexpected(replaced(name)));
    }
    App& app = add_app(definition);
    app.copy_is_due = false;  // its row is there
    app.attach = target;
    place_subscription(name);
    feed(app, core::event::Defined{unmet_dependencies(*definition)});
    scale(name);
  } else {
    App* app = find(name, generation);
    if (app == nullptr) {  // a policy removed the app while its file was written
      definitions_.remove(name, nullptr);
      restore_dependencies(name);
      return done(std::unexpected(replaced(name)));
    }
    app->attach = target;
    place_subscription(name);
    app->invalid != nullptr ? mend(name, definition) : redefine(name, definition);
  }
  // What runs makes way for the adopted process, and a schedule does not delay it.
  if (App* waiting = instance_of(name, 0); waiting != nullptr && target) {
    waiting->restart_past.reset();
    if (waiting->attach) feed(*waiting, core::event::RestartRequested{});
  }
  App* settled = instance_of(name, 0);
  if (settled == nullptr) return done(std::unexpected(no_such_app(name)));
  when_settled(*settled, std::move(done));
}

void Engine::when_settled(App& app, Done<AppViewPtr> done) {
  if (app.state.phase == core::Phase::starting)
    app.settled_waiters.push_back(std::move(done));
  else
    done(directory_.find(app.name()));
}

// ---- enable, disable, restart
// ------------------------------------------------------------------------------------------

void Engine::set_enabled(std::string name, bool enabled, std::uint64_t generation, Done<bool> done) {
  boost::asio::post(context_, [this, name = std::move(name), enabled, generation, done = std::move(done)]() mutable {
    if (is_crowded(name, done)) return;
    with_name(name, [this, name, enabled, generation, done = releasing(name, std::move(done))]() mutable {
      auto app = find_expected(name, generation);
      if (!app) return done(std::unexpected(app.error()));
      change_status(**app, enabled, std::move(done));
    });
  });
}

void Engine::change_status(App& app, bool enabled, Done<bool> done) {
  const std::string name = app.name();
  if (app.state.status == core::AppStatus::not_available)
    return done(fail(ErrorKind::precondition_failed,
                     fmt::format("<{}> is an on-demand run: it cannot be enabled or disabled", name)));
  if (app.invalid != nullptr) return done(std::unexpected(is_invalid(name, *app.invalid)));
  const auto status = enabled ? core::AppStatus::enabled : core::AppStatus::disabled;
  if (app.state.status == status) return done(false);
  auto changed = std::make_shared<core::AppDefinition>(*app.state.definition);
  changed->status = status;
  write_definition(changed, [this, changed, enabled, generation = app.generation,
                             done = std::move(done)](Result<void> written) mutable {
    if (!written) return done(std::unexpected(written.error()));
    App* still = find(changed->name, generation);
    if (still == nullptr) {  // a policy removed the app while its file was written
      definitions_.remove(changed->name, nullptr);
      return done(std::unexpected(replaced(changed->name)));
    }
    if (!enabled) still->attach.reset();
    for_each_instance(changed->name, [&](App& instance) {
      feed(instance, enabled ? core::Event(core::event::Enabled{}) : core::Event(core::event::Disabled{}));
    });
    done(true);
  });
}

void Engine::restart_app(std::string name, std::uint64_t generation, Done<> done) {
  boost::asio::post(context_, [this, name = std::move(name), generation, done = std::move(done)]() mutable {
    if (is_crowded(name, done)) return;
    with_name(name, [this, name, generation, done = releasing(name, std::move(done))]() mutable {
      auto app = find_expected(name, generation);
      if (!app) return done(std::unexpected(app.error()));
      if ((*app)->placeholder) return done(std::unexpected(is_invalid(name, *(*app)->invalid)));
      if ((*app)->state.status != core::AppStatus::enabled)
        return done(fail(ErrorKind::precondition_failed, fmt::format("<{}> is not enabled", name)));
      ask_restart(**app, std::move(done));
    });
  });
}

// The wish is in the row before the restart begins, and goes out of it with the state that the restart leads to: a
// daemon that finds it there carries it out, unless a newer run shows that it was.
void Engine::ask_restart(App& app, Done<> done) {
  const std::string name = app.name();
  using Before = std::vector<std::pair<std::string, std::optional<core::RunNumber>>>;
  auto before = std::make_shared<Before>();
  for_each_instance(name, [&](App& instance) {
    // One that is just being started is as fresh as it gets.
    const bool is_starting = instance.state.phase == core::Phase::starting;
    before->emplace_back(instance.name(),
                         std::exchange(instance.restart_past, instance.state.last_run - (is_starting ? 1 : 0)));
  });
  const Together rows(before->size(), [this, name, generation = app.generation, before,
                                       done = std::move(done)](Result<void> saved) mutable {
    App* first = find(name, generation);
    if (first == nullptr) return done(std::unexpected(no_such_app(name)));
    if (!saved) {
      for (const auto& [instance, past] : *before) {
        const auto found = apps_.find(instance);
        if (found == apps_.end()) continue;
        found->second->restart_past = past;
        save_state(*found->second);
      }
      return done(std::move(saved));
    }
    first->instance_count > 1 ? roll(name, true) : carry_out_restart(*first);
    done({});
  });
  for (const auto& [instance, past] : *before) save_state(*apps_.at(instance), rows.part());
}

// Of a single instance, now or after a recovery.
void Engine::carry_out_restart(App& app) {
  const auto past = std::exchange(app.restart_past, std::nullopt);
  if (!past) return;
  const bool is_done = app.state.last_run > *past || app.state.status != core::AppStatus::enabled;
  is_done ? save_state(app) : feed(app, core::event::RestartRequested{});
}

// ---- remove
// ------------------------------------------------------------------------------------------------------------

void Engine::remove_app(std::string name, std::uint64_t generation, bool force, Done<> done) {
  boost::asio::post(context_, [this, name = std::move(name), generation, force, done = std::move(done)]() mutable {
    if (is_crowded(name, done)) return;
    with_name(name, [this, name, generation, force, done = releasing(name, std::move(done))]() mutable {
      auto app = find_expected(name, generation);
      if (!app) return done(std::unexpected(app.error()));
      if (const auto dependants = dependencies_.dependants_of(name); !force && !dependants.empty())
        return done(fail(ErrorKind::conflict,
                         fmt::format("Application <{}> is needed by {}: remove these first, or use ?force=true", name,
                                     fmt::join(dependants, ", "))));
      if ((*app)->state.on_demand) return remove_run(**app, std::move(done));
      // The file goes first: a crash in between leaves either the app as it was or none at all.
      definitions_.remove(name, [this, name, generation, done = std::move(done)](Result<void> removed) mutable {
        boost::asio::post(context_, [this, name, generation, removed, done = std::move(done)]() mutable {
          if (!removed) return done(std::unexpected(removed.error()));
          if (App* still = find(name, generation)) {
            still->file_is_gone = true;
            feed(*still, core::event::Removed{});
          }
          done({});
        });
      });
    });
  });
}

void Engine::remove_run(App& app, Done<> done) {
  app.is_being_removed = true;
  states_.delete_app(app.name(), [this, name = app.name(), generation = app.generation,
                                  done = std::move(done)](Result<void> removed) mutable {
    boost::asio::post(context_,
                      [this, name, generation, removed = std::move(removed), done = std::move(done)]() mutable {
                        App* still = find(name, generation);
                        if (still != nullptr && removed) {
                          feed(*still, core::event::Removed{});
                        } else if (still != nullptr) {
                          still->is_being_removed = false;
                          save_state(*still);
                        }
                        done(std::move(removed));
                      });
  });
}

void Engine::discard_run(std::string name, std::uint64_t generation) {
  boost::asio::post(context_, [this, name = std::move(name), generation] {
    App* app = find(name, generation);
    if (app != nullptr && app->state.on_demand) feed(*app, core::event::Removed{});
  });
}

}  // namespace appmesh::engine
