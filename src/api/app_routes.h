// Routes of applications: docs/wire.md#applications to #on-demand. What they are given must outlive the route table;
// the handlers run on any I/O thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>

#include "api/event_sinks.h"
#include "api/process_sampler.h"
#include "api/router.h"
#include "engine/engine.h"
#include "security/audit.h"
#include "security/user_directory.h"
#include "store/configuration.h"
#include "store/state_store.h"

namespace appmesh::api {

struct AppRoutes {
  engine::Engine& engine;
  const security::UserDirectory& users;
  const store::Configuration& configuration;
  store::StateStore& states;
  ProcessSampler& sampler;
  boost::asio::any_io_executor worker;  // for what blocks: the run history
  EventSinks& sinks;
  security::AuditTrail& audit;
  std::function<Result<std::string>(const std::string& owner)> os_user;  // whom the runs of a user are
};

void add_app_routes(RouteTable& table, AppRoutes wiring);  // view, register, enable, disable, restart, remove, history
void add_output_routes(RouteTable& table, AppRoutes wiring);    // output
void add_run_routes(RouteTable& table, AppRoutes wiring);       // run, syncrun
void add_schedule_routes(RouteTable& table, AppRoutes wiring);  // preview
void add_event_routes(RouteTable& table, AppRoutes wiring);     // subscribe, events
void add_task_routes(RouteTable& table, AppRoutes wiring);      // task

// A subscription of the caller over the connection of its request, which must be one. It rests on the request's right
// and ends with it, which the connection is told.
[[nodiscard]] engine::Subscription make_subscription(const AppRoutes& wiring, const Context& context, std::string app,
                                                     engine::EventMask mask);
// To be asked when it is placed: an error, and it is ended, when the right was lost until then.
[[nodiscard]] Result<void> still_allowed(const AppRoutes& wiring, const Context& context,
                                         const std::string& subscription);

}  // namespace appmesh::api
