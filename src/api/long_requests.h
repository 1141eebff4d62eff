// Requests that outlive the moment at which their caller was let in: long-polls, streams, shells, subscriptions,
// transfers. Each holds a LongRight, and whoever changes what it rests on (a token, the users, an app) says so here:
// then the rights that this concerns are looked at again, and those that are gone are told, at once. Nothing is woken
// while nothing changes, and a short request never comes here. Owned by the daemon, outlives every right; any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/access.h"
#include "core/error.h"
#include "engine/app_view.h"
#include "security/tokens.h"

namespace appmesh::api {

class LongRequests;

// What one long request rests on: a token, permissions, and perhaps an app. Made by LongRequests; any thread.
class LongRight : public std::enable_shared_from_this<LongRight> {
 public:
  // Told once, on the thread that made the change: it must not wait, and hands on to its own thread.
  using Told = std::move_only_function<void(const Error& why)>;

  struct Key {};  // only LongRequests makes them
  LongRight(Key, LongRequests& registry, std::shared_ptr<const security::Claims> claims, std::string permission);
  ~LongRight();
  LongRight(const LongRight&) = delete;
  LongRight& operator=(const LongRight&) = delete;

  // In place of the permission that it began with; `also` may be empty. The caller has looked at both.
  void need(std::string permission, std::string also = {});
  // It also needs this app, the very one, in this way. Error: it does not have it any more.
  Result<void> narrow(const engine::AppDirectory& apps, const std::string& app, std::uint64_t generation,
                      core::Access access);
  // The same caller and permissions, without an app. Errors: those of LongRequests::begin().
  [[nodiscard]] Result<std::shared_ptr<LongRight>> another() const;

  // Why it is gone: unauthenticated, permission_denied, or not_found for its app.
  [[nodiscard]] std::optional<Error> lost() const;
  [[nodiscard]] std::shared_ptr<const security::Claims> claims() const;

 private:
  friend class LongRequests;
  friend class WhenLost;
  struct Links {
    LongRight* previous = nullptr;
    LongRight* next = nullptr;
    LongRight** head = nullptr;  // null: in no list
  };
  std::uint64_t add(Told told);  // 0: lost already, and told
  void remove(std::uint64_t id);
  void lose(const Error& why);

  LongRequests& registry_;
  // With the registry's lock.
  std::shared_ptr<const security::Claims> claims_;
  std::string user_;
  std::string permission_;
  std::string also_;
  std::string app_;
  const engine::AppDirectory* apps_ = nullptr;
  std::uint64_t generation_ = 0;
  core::Access access_ = core::Access::read;
  Links by_token_;
  Links by_app_;
  bool counted_ = false;
  // With its own.
  mutable std::mutex mutex_;
  std::optional<Error> lost_;
  std::uint64_t last_id_ = 0;
  std::vector<std::pair<std::uint64_t, Told>> told_;
};

// Somebody who wants to know. What is told may still be under way on another thread when this has gone: it must hold
// weakly what it touches.
class WhenLost {
 public:
  WhenLost() = default;
  // Without a right nothing is ever told.
  WhenLost(std::shared_ptr<LongRight> right, LongRight::Told told) : right_(std::move(right)) {
    if (right_) id_ = right_->add(std::move(told));
  }
  ~WhenLost() { reset(); }
  WhenLost(WhenLost&& other) noexcept : right_(std::move(other.right_)), id_(other.id_) {}
  WhenLost& operator=(WhenLost&& other) noexcept {
    reset();
    right_ = std::move(other.right_);
    id_ = other.id_;
    return *this;
  }
  void reset() {
    if (right_) right_->remove(id_);
    right_.reset();
  }

 private:
  std::shared_ptr<LongRight> right_;
  std::uint64_t id_ = 0;
};

class LongRequests {
 public:
  struct Limits {
    std::size_t of_user = 4'000;
    std::size_t of_all = 40'000;
    std::size_t reserve = 1'000;  // of those, for the administrator alone
  };

  // Both must outlive it.
  LongRequests(const security::Tokens& tokens, const security::UserDirectory& users) : tokens_(tokens), users_(users) {}
  LongRequests(const security::Tokens& tokens, const security::UserDirectory& users, Limits limits)
      : tokens_(tokens), users_(users), limits_(limits) {}
  LongRequests(const LongRequests&) = delete;
  LongRequests& operator=(const LongRequests&) = delete;

  // Taken before the token is verified, and given to begin(): what changes in between is not missed.
  [[nodiscard]] std::uint64_t changes() const { return changes_.load(); }
  // Of a caller whose token and permission (empty: none) were found good. Errors: unavailable, too many; or the right
  // is gone.
  [[nodiscard]] Result<std::shared_ptr<LongRight>> begin(std::shared_ptr<const security::Claims> claims,
                                                         std::string permission, std::uint64_t seen);

  // Afterwards, each: the change must be visible already.
  void token_voided(const std::string& jti);
  void users_changed();
  void app_changed(const std::string& app);  // its owner, its permission, or it is gone

  // What rests on the old token rests on the new one from now on. Before the old one is voided.
  void renewed(const std::string& old_jti, const std::shared_ptr<const security::Claims>& now);

  // All of them, for the end of the daemon.
  void end_all(const Error& why);

  [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  friend class LongRight;
  static constexpr std::size_t kBuckets = 1024;
  using Buckets = std::array<LongRight*, kBuckets>;

  [[nodiscard]] static LongRight*& bucket(Buckets& buckets, std::string_view key);
  static void link(LongRight& right, LongRight::Links LongRight::* links, LongRight*& head);
  static void unlink(LongRight& right, LongRight::Links LongRight::* links);
  [[nodiscard]] Result<void> admit(LongRight& right);
  void leave(LongRight& right);
  [[nodiscard]] std::vector<std::shared_ptr<LongRight>> all() const;
  [[nodiscard]] Result<void> check(const LongRight& right) const;
  void look_again(const std::vector<std::shared_ptr<LongRight>>& rights) const;

  const security::Tokens& tokens_;
  const security::UserDirectory& users_;
  const Limits limits_;
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<std::size_t> size_{0};
  mutable std::mutex mutex_;  // held for the links and for copies, never over a check
  Buckets by_token_{};
  Buckets by_app_{};
  std::unordered_map<std::string, std::size_t> of_user_;
};

}  // namespace appmesh::api
