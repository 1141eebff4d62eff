#include "engine/os_users.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <boost/asio/post.hpp>

#include "platform/clock.h"

namespace appmesh::engine {

namespace {

using namespace std::chrono_literals;

constexpr auto kBelieveFound = 60s;
constexpr auto kBelieveMissing = 5s;
constexpr auto kFarewell = 1s;  // for answers under way when the daemon ends
constexpr std::size_t kMaxKnown = 256;
constexpr std::size_t kMaxWorkers = 8;  // names that hang do not hold up the others until there are so many

OsUsers::Found check(const std::string& name, Result<platform::User> user) {
  if (!user) return fail(user.error().kind, "user: " + user.error().message);
  if (user->uid == 0 && name != "root")
    return fail(ErrorKind::permission_denied, "user: " + name + " has uid 0 and is not root");
  return std::make_shared<const platform::User>(std::move(*user));
}

}  // namespace

// Questions for the workers. A worker takes one after another and ends when there are none.
struct OsUsers::Desk {
  Lookup lookup;
  std::mutex mutex;
  std::condition_variable worker_left;
  std::deque<std::string> questions;
  std::size_t workers = 0;
  boost::asio::io_context* context = nullptr;  // null: nobody wants answers any more
  OsUsers* owner = nullptr;                    // used on the context only

  static void ask(const std::shared_ptr<Desk>& desk, const std::string& name) {
    const std::lock_guard lock(desk->mutex);
    desk->questions.push_back(name);
    if (desk->workers >= kMaxWorkers) return;
    try {
      std::thread([desk] { desk->work(); }).detach();
      ++desk->workers;
    } catch (const std::system_error&) {
      // No thread to be had: a worker that is left takes it, or the deadline passes.
    }
  }

  void work() {
    std::unique_lock lock(mutex);
    while (context != nullptr && !questions.empty()) {
      const std::string name = std::move(questions.front());
      questions.pop_front();
      lock.unlock();
      Found found = check(name, lookup(name));
      lock.lock();
      if (context == nullptr) break;
      boost::asio::post(*context, [desk_owner = owner, name, found = std::move(found)]() mutable {
        desk_owner->remember(name, std::move(found));
      });
    }
    --workers;
    worker_left.notify_all();
  }
};

OsUsers::OsUsers(boost::asio::io_context& context, Timers& timers, Lookup lookup, std::chrono::milliseconds patience)
    : timers_(timers), patience_(patience), desk_(std::make_shared<Desk>()) {
  desk_->lookup = std::move(lookup);
  desk_->context = &context;
  desk_->owner = this;
}

OsUsers::~OsUsers() {
  std::unique_lock lock(desk_->mutex);
  desk_->context = nullptr;
  desk_->questions.clear();
  desk_->worker_left.wait_for(lock, kFarewell, [this] { return desk_->workers == 0; });
}

void OsUsers::find(const std::string& name, Answer answer) {
  const auto known = known_.find(name);
  if (known != known_.end() && platform::steady_now() < known->second.until) return answer(Found(known->second.found));
  const auto [question, is_new] = questions_.try_emplace(name);
  question->second.waiting.push_back(std::move(answer));
  if (question->second.deadline == 0)
    question->second.deadline = timers_.after(patience_, [this, name] {
      const auto late = questions_.find(name);
      if (late == questions_.end()) return;
      late->second.deadline = 0;
      const auto seconds = std::to_string(std::chrono::ceil<std::chrono::seconds>(patience_).count());
      answer_all(name, fail(ErrorKind::unavailable, "user: no answer about " + name + " within " + seconds + " s"));
    });
  if (is_new) Desk::ask(desk_, name);
}

void OsUsers::remember(const std::string& name, Found found) {
  const auto now = platform::steady_now();
  if (known_.size() >= kMaxKnown) std::erase_if(known_, [&](const auto& entry) { return entry.second.until <= now; });
  if (known_.size() >= kMaxKnown) known_.clear();  // more users than that start apps at once: ask again
  known_.insert_or_assign(name, Known{found, now + (found ? kBelieveFound : kBelieveMissing)});
  answer_all(name, found);
  questions_.erase(name);
}

// The question stays: whoever asks next waits for the same answer, and no second worker is lost to it.
void OsUsers::answer_all(const std::string& name, const Found& found) {
  const auto question = questions_.find(name);
  if (question == questions_.end()) return;
  timers_.cancel(std::exchange(question->second.deadline, 0));
  for (auto& answer : std::exchange(question->second.waiting, {})) answer(found);
}

}  // namespace appmesh::engine
