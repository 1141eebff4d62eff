#include "security/revocations.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace appmesh::security {

Result<std::unique_ptr<Revocations>> Revocations::load(store::StateStore& state, core::WallTime now) {
  auto stored = state.load_revoked(now);
  if (!stored) return std::unexpected(stored.error());
  std::unique_ptr<Revocations> revocations(new Revocations(state));
  for (auto& token : *stored) revocations->revoked_.emplace(std::move(token.jti), token.expires);
  revocations->prune_at_ = std::max<std::size_t>(1024, 2 * revocations->revoked_.size());
  return revocations;
}

Result<bool> Revocations::revoke(const std::string& jti, core::WallTime accepted_until, core::WallTime now, Done done) {
  {
    const std::lock_guard lock(mutex_);
    if (revoked_.size() >= prune_at_) prune(now);
    if (revoked_.contains(jti)) return false;
    if (revoked_.size() >= kMaxEntries) {
      return fail(ErrorKind::unavailable, "Too many revoked tokens are waiting to expire");
    }
    revoked_.emplace(jti, accepted_until);
    generation_.fetch_add(1, std::memory_order_release);
  }
  // Outside the lock: a full queue of the store makes the asker wait, and readers must not wait with it.
  state_.revoke_token({.jti = jti, .expires = accepted_until}, std::move(done));
  return true;
}

void Revocations::take_back(const std::string& jti) {
  const std::lock_guard lock(mutex_);
  if (revoked_.erase(jti) != 0) generation_.fetch_add(1, std::memory_order_release);
}

bool Revocations::contains(std::string_view jti) const {
  const std::shared_lock lock(mutex_);
  return revoked_.find(jti) != revoked_.end();
}

void Revocations::prune(core::WallTime now) {
  std::erase_if(revoked_, [now](const auto& entry) { return entry.second < now; });
  prune_at_ = std::max<std::size_t>(1024, 2 * revoked_.size());
}

}  // namespace appmesh::security
