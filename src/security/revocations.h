// Tokens that are void before they expire (docs/wire.md#tokens): a set in memory, filled from the state
// store at start and written through to it. Owned by the daemon; any thread. A token is void the moment revoke() is
// called, and `done` says when that outlives the daemon.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/error.h"
#include "core/time.h"
#include "store/state_store.h"

namespace appmesh::security {

class Revocations {
 public:
  using Done = store::StateStore::Done;

  // Nothing is forgotten while a token could still be accepted, so the set is bounded by refusing new entries.
  static constexpr std::size_t kMaxEntries = 2'000'000;

  // Blocks on the store. `state` must live longer.
  static Result<std::unique_ptr<Revocations>> load(store::StateStore& state, core::WallTime now);

  // Voids the token until `accepted_until`, the last moment at which it could be accepted. True: this call did it, and
  // `done` runs after the durable commit, on the store's writer thread. False: it was void already, and `done` is
  // dropped, as it is with the error unavailable: the set is full.
  Result<bool> revoke(const std::string& jti, core::WallTime accepted_until, core::WallTime now, Done done);

  // What revoke() did is undone: it could not be stored, and whoever asked hears so.
  void take_back(const std::string& jti);

  [[nodiscard]] bool contains(std::string_view jti) const;
  // Changes with every revocation.
  [[nodiscard]] std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  explicit Revocations(store::StateStore& state) : state_(state) {}
  void prune(core::WallTime now);

  store::StateStore& state_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, core::WallTime, Hash, std::equal_to<>> revoked_;
  std::size_t prune_at_ = 1024;
  std::atomic<std::uint64_t> generation_{0};
};

}  // namespace appmesh::security
