// The half of the engine that tells subscribers: what the core publishes becomes events, and subscriptions come and go.
#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>

#include "engine/app.h"
#include "engine/engine.h"

namespace appmesh::engine {

EventApp Engine::event_app(const App& app) {
  const App* first = app.instance == 0 ? &app : instance_of(app.public_name(), 0);
  return {app.state.definition, first == nullptr ? app.generation : first->generation};
}

EventHub::Directory Engine::event_directory() {
  return {.apps =
              [this] {
                std::vector<EventApp> apps;
                apps.reserve(apps_.size());
                for (const auto& [name, app] : apps_) apps.push_back(event_app(*app));
                return apps;
              },
          .app = [this](const std::string& name) -> std::optional<EventApp> {
            const auto found = apps_.find(name);
            if (found == apps_.end()) return std::nullopt;
            return event_app(*found->second);
          },
          .runs =
              [this](const std::string& name) {
                std::vector<EventRun> runs;
                const auto app = apps_.find(name);
                if (app == apps_.end()) return runs;
                const auto add = [&](const runtime::RunId& id) {
                  const LiveRun* run = supervisor_.find(id);
                  if (run != nullptr && run->main != LiveRun::Main::starting) runs.push_back({id, run->tag.run_number});
                };
                add(app->second->run_id);
                if (app->second->outgoing_id) add(*app->second->outgoing_id);
                return runs;
              }};
}

void Engine::publish_notice(App& app, const core::effect::Publish& notice) {
  const EventApp subject = event_app(app);
  const auto on_or_off = [](bool on) { return on ? "enabled" : "disabled"; };
  switch (notice.notice) {
    case core::Notice::start: {
      const LiveRun* run = live_run(app, notice.run != 0 ? notice.run : app.state.current_run);
      if (run == nullptr) return;
      return hub_.started(subject, {run->id, run->tag.run_number},
                          {{"pid", run->pid}, {"process_uuid", run->id.text()}});
    }
    case core::Notice::exit: {
      const LiveRun* run = live_run(app, notice.run);
      if (run == nullptr) return;
      // Told when the run is gone: what its last processes write comes before it.
      app.exits.emplace_back(notice.run, boost::json::object{{"exit_code", app.state.return_code.value_or(0)},
                                                             {"pid", run->pid},
                                                             {"last_error", app.state.history.text}});
      return;
    }
    case core::Notice::health:
      return hub_.tell(subject, EventKind::health,
                       {{"health", app.state.healthy ? 0 : 1}, {"previous_health", app.state.healthy ? 1 : 0}});
    case core::Notice::status: {
      const bool enabled = app.state.status == core::AppStatus::enabled;
      return hub_.tell(subject, EventKind::status,
                       {{"status", on_or_off(enabled)}, {"previous_status", on_or_off(!enabled)}});
    }
    case core::Notice::removed:
      return;  // told when the app is deleted, which follows
  }
}

void Engine::tell_gone(App& app, const LiveRun& run) {
  const auto found = std::ranges::find(app.exits, run.tag.run_number, [](const auto& exit) { return exit.first; });
  std::optional<boost::json::object> exit;
  if (found != app.exits.end()) {
    exit = std::move(found->second);
    app.exits.erase(found);
  }
  hub_.gone(event_app(app), {run.id, run.tag.run_number}, std::move(exit));
}

// ---- subscriptions
// ------------------------------------------------------------------------------------------------------

void Engine::subscribe(Subscription subscription, std::uint64_t generation, Done<> done) {
  boost::asio::post(context_,
                    [this, subscription = std::move(subscription), generation, done = std::move(done)]() mutable {
                      if (!subscription.app.empty()) {
                        const auto app = find_expected(subscription.app, generation);
                        if (!app) return done(std::unexpected(app.error()));
                      }
                      done(hub_.subscribe(std::move(subscription)));
                    });
}

void Engine::unsubscribe(std::string id, std::string user, Done<> done) {
  boost::asio::post(context_, [this, id = std::move(id), user = std::move(user), done = std::move(done)]() mutable {
    if (!hub_.unsubscribe(id, user)) return done(fail(ErrorKind::not_found, "No such subscription"));
    done({});
  });
}

void Engine::drop_sink(std::shared_ptr<EventSink> sink) {
  boost::asio::post(context_, [this, sink = std::move(sink)] { hub_.drop(sink.get()); });
}

void Engine::register_app(core::AppDefinition definition, Expected expected, Subscription subscription,
                          Done<AppViewPtr> done) {
  boost::asio::post(context_, [this, definition = std::move(definition), expected,
                               subscription = std::move(subscription), done = std::move(done)]() mutable {
    admit(std::move(definition), expected, std::move(subscription), std::move(done));
  });
}

Done<AppViewPtr> Engine::with_subscription(std::string name, Subscription subscription, Done<AppViewPtr> done) {
  auto ended = [this, name, id = subscription.id, user = subscription.user,
                done = std::move(done)](Result<AppViewPtr> result) mutable {
    const auto arrived = arriving_.extract(name);
    if (result && !arrived.empty() && arrived.mapped().refusal) result = std::unexpected(*arrived.mapped().refusal);
    if (!result) hub_.unsubscribe(id, user);
    done(std::move(result));
  };
  arriving_.insert_or_assign(std::move(name), ArrivingSubscription{.subscription = std::move(subscription)});
  return ended;
}

void Engine::place_subscription(const std::string& name) {
  const auto arriving = arriving_.find(name);
  if (arriving == arriving_.end() || std::exchange(arriving->second.placed, true)) return;
  if (auto placed = hub_.subscribe(std::move(arriving->second.subscription)); !placed)
    arriving->second.refusal = placed.error();
}

}  // namespace appmesh::engine
