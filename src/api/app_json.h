// An app as the API shows it: its definition, then the runtime fields of docs/wire.md#runtime-fields. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "api/process_sampler.h"
#include "api/request.h"
#include "api/time_text.h"
#include "core/app_definition.h"
#include "engine/app_view.h"
#include "runtime/output_files.h"

namespace appmesh::api {

// The text of a JSON object. What an app's picture says of it is written once a picture; what changes meanwhile is
// added to each answer: the sample (null for an app that does not run), the tasks, and the size of its output, which is
// at most a second old like the sample. With `keep` the text stays with the picture: for one app that is asked for
// again and again, but not for a list of thousands, which would keep a kilobyte for each.
enum class Keep : bool { no, yes };
[[nodiscard]] std::string app_text(const engine::AppView& app, const ProcessSample* sample,
                                   const runtime::OutputFiles& outputs, const TimeText& time_text, Keep keep);

// Adds a member to the text of an object that has one already.
void add_member(std::string& object, std::string_view name, const boost::json::value& value);

// Fields of a definition that nobody knows are left out and named in the answer's header X-Unknown-Fields
// (docs/wire.md#definition), so that a client of another version is not shut out and a typo is seen.
void name_unknown(Response& response, const std::vector<core::UnknownField>& fields);

// One line of `runs` of an app with several instances.
[[nodiscard]] boost::json::object instance_json(const engine::AppView& app, std::uint32_t instance,
                                                const TimeText& time_text);

}  // namespace appmesh::api
