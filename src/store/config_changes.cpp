#include "store/config_changes.h"

#include <set>
#include <string_view>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "core/text.h"
#include "store/config_keys.h"

namespace appmesh::store {
namespace {

namespace json = boost::json;

constexpr std::size_t kMostEntries = 64;
constexpr std::size_t kMostBytes = 256;  // of one value

std::string shown(const json::value& value) {
  std::string text = json::serialize(value);
  if (text.size() <= kMostBytes) return text;
  text.resize(kMostBytes);
  text.resize(text.size() - core::incomplete_tail(text));
  return text + "…";
}

const json::object& labels_of(const json::object& document) {
  static const json::object none;
  const auto* labels = document.if_contains(kLabels);
  return labels != nullptr && labels->is_object() ? labels->get_object() : none;
}

class Changes {
 public:
  void add(std::string entry) {
    if (entries_.size() < kMostEntries)
      entries_.push_back(std::move(entry));
    else
      ++more_;
  }
  std::vector<std::string> take() {
    if (more_ > 0) entries_.push_back("and " + std::to_string(more_) + " more");
    return std::move(entries_);
  }

 private:
  std::vector<std::string> entries_;
  std::size_t more_ = 0;
};

}  // namespace

std::vector<std::string> describe_changes(const json::object& before, const json::object& after) {
  Changes changes;
  for (const auto& key : config_keys()) {
    const auto default_value = json::parse(key.default_json);
    const auto saved_in = [&](const json::object& document) -> const json::value& {
      const auto* value = value_at(document, key.name);
      return value != nullptr && !value->is_null() ? *value : default_value;
    };
    const auto& value = saved_in(after);
    if (saved_in(before) == value) continue;
    changes.add(std::string(key.name) + "=" + (key.secret ? std::string(kRedacted) : shown(value)));
  }
  const auto& old_labels = labels_of(before);
  const auto& new_labels = labels_of(after);
  std::set<std::string_view> names;
  for (const auto& label : old_labels) names.insert(label.key());
  for (const auto& label : new_labels) names.insert(label.key());
  for (const auto name : names) {
    const auto* old_value = old_labels.if_contains(name);
    const auto* value = new_labels.if_contains(name);
    if (old_value != nullptr && value != nullptr && *old_value == *value) continue;
    changes.add(std::string(kLabels) + "." + std::string(name) + "=" + (value != nullptr ? shown(*value) : "(none)"));
  }
  return changes.take();
}

}  // namespace appmesh::store
