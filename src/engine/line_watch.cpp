#include "engine/line_watch.h"

#include <utility>

#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

namespace appmesh::engine {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBytesPerTurn = 64 * 1024;
constexpr std::size_t kMaxLineBytes = 16 * 1024;  // what is longer is not looked at
constexpr auto kLongWait = 24h;

}  // namespace

LineWatch::LineWatch(boost::asio::io_context& context, OutputWatch& watch, const runtime::OutputFiles& outputs,
                     std::function<void(const runtime::RunId&)> found)
    : context_(context), watch_(watch), outputs_(outputs), found_(std::move(found)) {}

void LineWatch::follow(const runtime::RunId& run, const std::string& app, core::RunNumber number,
                       const std::string& pattern) {
  const auto known = searches_.find(run);
  if (known != searches_.end() && known->second->pattern_text == pattern) return;
  auto compiled = core::LinePattern::compile(pattern);
  if (!compiled) return spdlog::error("{}: readiness.pattern: {}", app, compiled.error().message);
  auto search = std::make_shared<Search>(Search{app, number, pattern, std::move(*compiled), 0, {}});
  searches_.insert_or_assign(run, search);
  boost::asio::post(context_, [this, run, search] { look(run, search); });
}

bool LineWatch::is_current(const runtime::RunId& run, const SearchPtr& search) const {
  const auto known = searches_.find(run);
  return known != searches_.end() && known->second == search;
}

void LineWatch::look(const runtime::RunId& run, const SearchPtr& search) {
  if (!is_current(run, search)) return;
  const auto chunk = outputs_.read(search->app, search->number, search->position, kBytesPerTurn);
  if (chunk && !chunk->bytes.empty()) {
    if (chunk->begin != search->position) search->line.clear();  // the head was given back meanwhile
    search->position = chunk->end;
    if (has_match(*search, chunk->bytes)) {
      searches_.erase(run);
      return found_(run);
    }
    return boost::asio::post(context_, [this, run, search] { look(run, search); });
  }
  watch_.wait(run, search->position, kLongWait,
              [this, run, search] { boost::asio::post(context_, [this, run, search] { look(run, search); }); });
}

// Whole lines only: half of one may match what the whole does not.
bool LineWatch::has_match(Search& search, std::string_view bytes) const {
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    search.line.append(part.substr(0, kMaxLineBytes - search.line.size()));
    if (end == std::string_view::npos) return false;
    if (search.line.ends_with('\r')) search.line.pop_back();
    const bool matches = search.pattern.matches(search.line);
    search.line.clear();
    if (matches) return true;
    bytes.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace appmesh::engine
