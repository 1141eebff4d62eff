#include "api/file_tokens.h"

#include <algorithm>
#include <utility>

#include "platform/clock.h"

namespace appmesh::api {
namespace {

std::unexpected<Error> refused(std::string cause) {
  return fail(ErrorKind::unauthenticated, "Authentication failed", std::move(cause));
}

}  // namespace

Result<std::string> FileTokens::issue(FileGrant grant) {
  auto token = tokens_.issue(grant.user, security::kFileAudience, kLife, platform::wall_now());
  if (!token) return std::unexpected(std::move(token.error()));
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  if (outstanding_.size() >= prune_at_) {
    std::erase_if(outstanding_, [&](const auto& entry) { return entry.second.expires <= now; });
    prune_at_ = std::clamp(2 * outstanding_.size(), kFirstPrune, kMaxOutstanding);
  }
  if (outstanding_.size() >= kMaxOutstanding) {
    return fail(ErrorKind::unavailable, "Too many file transfers wait for their start, try again later");
  }
  outstanding_.emplace(std::move(token->claims.jti), Outstanding{std::move(grant), now + kLife});
  return std::move(token->text);
}

Result<FileTokens::Shown> FileTokens::redeem(std::string_view token, std::optional<std::string_view> path,
                                             FileDirection direction) {
  auto verified = tokens_.verify(token, security::kFileAudience, platform::wall_now());
  if (!verified) return refused(verified.error().message);
  if (!path || path->empty()) return fail(ErrorKind::invalid_argument, "header 'X-File-Path' not found");
  std::optional<Outstanding> found;
  {
    const std::lock_guard lock(mutex_);
    const auto place = outstanding_.find(verified->claims->jti);
    if (place == outstanding_.end()) return refused("used already, or of an earlier life of the daemon");
    found = std::move(place->second);
    outstanding_.erase(place);
  }
  if (found->expires <= Clock::now()) return refused("expired");
  if (found->grant.path != *path || found->grant.direction != direction) return refused("meant for something else");
  if (found->grant.right) {
    if (auto lost = found->grant.right->lost()) return refused(std::move(lost->message));
  }
  return Shown{.grant = std::move(found->grant), .principal = std::move(verified->principal)};
}

Result<FileTokens::Shown> FileTokens::accept_session(std::string_view token, const Result<std::string>& path,
                                                     FileDirection direction, const std::string& permission) {
  const std::uint64_t seen = long_requests_.changes();
  auto verified = tokens_.verify(token, security::kServiceAudience, platform::wall_now());
  if (!verified) return refused(verified.error().message);
  if (!path) return std::unexpected(path.error());
  auto right = long_requests_.begin(std::move(verified->claims), permission, seen);
  if (!right) return std::unexpected(std::move(right.error()));
  return Shown{.grant = {.user = verified->principal->user,
                         .path = *path,
                         .direction = direction,
                         .attributes = {},
                         .right = std::move(*right)},
               .principal = std::move(verified->principal)};
}

}  // namespace appmesh::api
