// What a change of the configuration changed, as the audit trail tells it. Pure, any thread.
#pragma once

#include <string>
#include <vector>

#include <boost/json/object.hpp>

namespace appmesh::store {

// Each known key and label whose saved value differs, "key=value"; a secret is "******", a label that is gone "(none)".
// Bounded whatever the documents hold: long values are cut, and past 64 entries only their number is told.
[[nodiscard]] std::vector<std::string> describe_changes(const boost::json::object& before,
                                                        const boost::json::object& after);

}  // namespace appmesh::store
