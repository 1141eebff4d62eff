#include "engine/os_users.h"

#include <utility>

#include <boost/asio/post.hpp>

#include "platform/clock.h"

namespace appmesh::engine {

namespace {

using namespace std::chrono_literals;

constexpr auto kBelieveFound = 60s;
constexpr auto kBelieveMissing = 5s;
constexpr std::size_t kMaxKnown = 256;
constexpr std::size_t kWorkers = 2;  // one name that hangs does not hold up the others

OsUsers::Found check(const std::string& name, Result<platform::User> user) {
  if (!user) return fail(user.error().kind, "user: " + user.error().message);
  if (user->uid == 0 && name != "root")
    return fail(ErrorKind::permission_denied, "user: " + name + " has uid 0 and is not root");
  return std::make_shared<const platform::User>(std::move(*user));
}

}  // namespace

OsUsers::OsUsers(boost::asio::io_context& context, Lookup lookup) : context_(context), lookup_(std::move(lookup)) {}

OsUsers::~OsUsers() {
  if (workers_) workers_->join();
}

void OsUsers::find(const std::string& name, Answer answer) {
  const auto known = known_.find(name);
  if (known != known_.end() && platform::steady_now() < known->second.until) return answer(Found(known->second.found));
  auto& waiting = waiting_[name];
  waiting.push_back(std::move(answer));
  if (waiting.size() > 1) return;
  if (!workers_) workers_ = std::make_unique<boost::asio::thread_pool>(kWorkers);
  boost::asio::post(*workers_, [this, name] {
    boost::asio::post(context_,
                      [this, name, found = check(name, lookup_(name))]() mutable { remember(name, std::move(found)); });
  });
}

void OsUsers::remember(const std::string& name, Found found) {
  const auto now = platform::steady_now();
  if (known_.size() >= kMaxKnown) std::erase_if(known_, [&](const auto& entry) { return entry.second.until <= now; });
  if (known_.size() >= kMaxKnown) known_.clear();  // more users than that start apps at once: ask again
  known_.insert_or_assign(name, Known{found, now + (found ? kBelieveFound : kBelieveMissing)});
  auto answers = waiting_.extract(name);
  if (answers.empty()) return;
  for (auto& answer : answers.mapped()) answer(found);
}

}  // namespace appmesh::engine
