// An app as the API shows it: its definition, then the runtime fields of section 3.2 of the wire contract. Any thread.
#pragma once

#include <boost/json/object.hpp>

#include "api/process_sampler.h"
#include "api/time_text.h"
#include "engine/app_view.h"
#include "runtime/output_files.h"

namespace appmesh::api {

// `sample` is null for an app that does not run.
[[nodiscard]] boost::json::object app_json(const engine::AppView& app, const ProcessSample* sample,
                                           const runtime::OutputFiles& outputs, const TimeText& time_text);

// One line of `runs` of an app with several instances.
[[nodiscard]] boost::json::object instance_json(const engine::AppView& app, std::uint32_t instance,
                                                const TimeText& time_text);

}  // namespace appmesh::api
