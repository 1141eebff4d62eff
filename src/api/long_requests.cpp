#include "api/long_requests.h"

#include <algorithm>

#include <fmt/format.h>

#include "api/app_access.h"

namespace appmesh::api {

LongRight::LongRight(Key, LongRequests& registry, std::shared_ptr<const security::Claims> claims,
                     std::string permission)
    : registry_(registry), claims_(std::move(claims)), user_(claims_->user), permission_(std::move(permission)) {}

LongRight::~LongRight() {
  registry_.leave(*this);
}

void LongRight::need(std::string permission, std::string also) {
  const std::lock_guard lock(registry_.mutex_);
  permission_ = std::move(permission);
  also_ = std::move(also);
}

Result<void> LongRight::narrow(const engine::AppDirectory& apps, const std::string& app, std::uint64_t generation,
                               core::Access access) {
  {
    const std::lock_guard lock(registry_.mutex_);
    LongRequests::unlink(*this, &LongRight::by_app_);
    apps_ = &apps;
    app_ = app;
    generation_ = generation;
    access_ = access;
    LongRequests::link(*this, &LongRight::by_app_, LongRequests::bucket(registry_.by_app_, app_));
  }
  // A change between the caller's look at the app and the link above has found nobody to tell.
  auto present = registry_.check(*this);
  if (!present) lose(present.error());
  return present;
}

Result<std::shared_ptr<LongRight>> LongRight::another() const {
  const std::uint64_t seen = registry_.changes();
  std::shared_ptr<const security::Claims> claims;
  std::string permission;
  std::string also;
  {
    const std::lock_guard lock(registry_.mutex_);
    claims = claims_;
    permission = permission_;
    also = also_;
  }
  if (auto gone = lost()) return std::unexpected(std::move(*gone));
  auto right = registry_.begin(std::move(claims), permission, seen);
  if (right) (*right)->need(std::move(permission), std::move(also));
  return right;
}

std::optional<Error> LongRight::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

std::shared_ptr<const security::Claims> LongRight::claims() const {
  const std::lock_guard lock(registry_.mutex_);
  return claims_;
}

std::uint64_t LongRight::add(Told told) {
  std::optional<Error> gone;
  {
    const std::lock_guard lock(mutex_);
    if (!lost_) {
      told_.emplace_back(++last_id_, std::move(told));
      return last_id_;
    }
    gone = lost_;
  }
  told(*gone);
  return 0;
}

void LongRight::remove(std::uint64_t id) {
  Told dropped;  // what it holds goes without the lock
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(told_, id, [](const auto& entry) { return entry.first; });
  if (found == told_.end()) return;
  dropped = std::move(found->second);
  told_.erase(found);
}

void LongRight::lose(const Error& why) {
  std::vector<std::pair<std::uint64_t, Told>> told;
  {
    const std::lock_guard lock(mutex_);
    if (lost_) return;
    lost_ = why;
    told = std::exchange(told_, {});
  }
  for (auto& [id, each] : told) each(why);
}

Result<std::shared_ptr<LongRight>> LongRequests::begin(std::shared_ptr<const security::Claims> claims,
                                                       std::string permission, std::uint64_t seen) {
  auto right = std::make_shared<LongRight>(LongRight::Key{}, *this, std::move(claims), std::move(permission));
  if (auto admitted = admit(*right); !admitted) return std::unexpected(std::move(admitted.error()));
  if (changes_.load() != seen) {
    if (auto present = check(*right); !present) return std::unexpected(std::move(present.error()));
  }
  return right;
}

Result<void> LongRequests::admit(LongRight& right) {
  const bool is_administrator = right.user_ == security::kAdmin;
  const std::lock_guard lock(mutex_);
  const auto own = of_user_.find(right.user_);
  if (own != of_user_.end() && own->second >= limits_.of_user)
    return fail(ErrorKind::unavailable,
                fmt::format("Too many requests of user '{}' wait already: at most {}", right.user_, limits_.of_user));
  if (size_.load(std::memory_order_relaxed) >= limits_.of_all - (is_administrator ? 0 : limits_.reserve))
    return fail(ErrorKind::unavailable, "Too many requests wait already");
  ++of_user_[right.user_];
  right.counted_ = true;
  link(right, &LongRight::by_token_, bucket(by_token_, right.claims_->jti));
  size_.fetch_add(1);  // before the look at changes_, as a change is counted before the look at size_
  return {};
}

void LongRequests::leave(LongRight& right) {
  const std::lock_guard lock(mutex_);
  unlink(right, &LongRight::by_token_);
  unlink(right, &LongRight::by_app_);
  if (!right.counted_) return;
  size_.fetch_sub(1);
  const auto own = of_user_.find(right.user_);
  if (--own->second == 0) of_user_.erase(own);
}

LongRight*& LongRequests::bucket(Buckets& buckets, std::string_view key) {
  return buckets[std::hash<std::string_view>{}(key) % kBuckets];
}

void LongRequests::link(LongRight& right, LongRight::Links LongRight::* links, LongRight*& head) {
  LongRight::Links& own = right.*links;
  own.head = &head;
  own.previous = nullptr;
  own.next = head;
  if (head != nullptr) (head->*links).previous = &right;
  head = &right;
}

void LongRequests::unlink(LongRight& right, LongRight::Links LongRight::* links) {
  LongRight::Links& own = right.*links;
  if (own.head == nullptr) return;
  if (own.next != nullptr) (own.next->*links).previous = own.previous;
  if (own.previous != nullptr)
    (own.previous->*links).next = own.next;
  else
    *own.head = own.next;
  own = {};
}

Result<void> LongRequests::check(const LongRight& right) const {
  std::shared_ptr<const security::Claims> claims;
  std::string permission;
  std::string also;
  std::string app;
  const engine::AppDirectory* apps = nullptr;
  std::uint64_t generation = 0;
  core::Access access = core::Access::read;
  {
    const std::lock_guard lock(mutex_);
    claims = right.claims_;
    permission = right.permission_;
    also = right.also_;
    apps = right.apps_;
    app = right.app_;
    generation = right.generation_;
    access = right.access_;
  }
  const auto principal = tokens_.present(*claims);
  // A new request of a user who is gone is told 404; of one that was let in once, 401 says what it means.
  if (!principal) return fail(ErrorKind::unauthenticated, principal.error().message);
  for (const std::string* each : {&permission, &also})
    if (!each->empty())
      if (auto allowed = security::require_permission(**principal, *each); !allowed) return allowed;
  if (apps == nullptr) return {};
  const auto found = find_app(*apps, users_, **principal, app, access);
  if (!found) return std::unexpected(found.error());
  if ((*found)->generation != generation) return std::unexpected(no_such_app(app));
  return {};
}

void LongRequests::look_again(const std::vector<std::shared_ptr<LongRight>>& rights) const {
  for (const auto& right : rights)
    if (const auto present = check(*right); !present) right->lose(present.error());
}

void LongRequests::token_voided(const std::string& jti) {
  changes_.fetch_add(1);
  if (size_.load() == 0) return;
  std::vector<std::shared_ptr<LongRight>> found;
  {
    const std::lock_guard lock(mutex_);
    for (LongRight* right = bucket(by_token_, jti); right != nullptr; right = right->by_token_.next)
      if (right->claims_->jti == jti)
        if (auto held = right->weak_from_this().lock()) found.push_back(std::move(held));
  }
  look_again(found);
}

std::vector<std::shared_ptr<LongRight>> LongRequests::all() const {
  std::vector<std::shared_ptr<LongRight>> rights;
  const std::lock_guard lock(mutex_);
  for (LongRight* head : by_token_)
    for (LongRight* right = head; right != nullptr; right = right->by_token_.next)
      if (auto held = right->weak_from_this().lock()) rights.push_back(std::move(held));
  return rights;
}

void LongRequests::users_changed() {
  changes_.fetch_add(1);
  if (size_.load() != 0) look_again(all());
}

void LongRequests::end_all(const Error& why) {
  for (const auto& right : all()) right->lose(why);
}

void LongRequests::app_changed(const std::string& app) {
  changes_.fetch_add(1);
  if (size_.load() == 0) return;
  std::vector<std::shared_ptr<LongRight>> found;
  {
    const std::lock_guard lock(mutex_);
    for (LongRight* right = bucket(by_app_, app); right != nullptr; right = right->by_app_.next)
      if (right->app_ == app)
        if (auto held = right->weak_from_this().lock()) found.push_back(std::move(held));
  }
  look_again(found);
}

void LongRequests::renewed(const std::string& old_jti, const std::shared_ptr<const security::Claims>& now) {
  if (size_.load() == 0) return;
  const std::lock_guard lock(mutex_);
  std::vector<LongRight*> moved;
  for (LongRight* right = bucket(by_token_, old_jti); right != nullptr; right = right->by_token_.next)
    if (right->claims_->jti == old_jti) moved.push_back(right);
  for (LongRight* right : moved) {
    unlink(*right, &LongRight::by_token_);
    right->claims_ = now;
    link(*right, &LongRight::by_token_, bucket(by_token_, now->jti));
  }
}

}  // namespace appmesh::api
