// The one error type of the house and the value-or-error that carries it. An error is a plain value: it may be made,
// copied and read on any thread. Its kind decides the HTTP status, its message is for the user, its cause for the log.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace appmesh {

// Each kind maps to exactly one HTTP status, see http_status(). The mapping is docs/wire.md#rest.
enum class ErrorKind {
  already_reported,      // 208
  invalid_argument,      // 400
  unauthenticated,       // 401
  permission_denied,     // 403
  not_found,             // 404
  method_not_allowed,    // 405
  hmac_required,         // 407
  timed_out,             // 408
  conflict,              // 409
  precondition_failed,   // 412
  too_large,             // 413
  expectation_failed,    // 417
  internal,              // 500
  bad_gateway,           // 502
  unavailable,           // 503
  insufficient_storage,  // 507
  loop_detected,         // 508
};

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string message;  // shown to the caller; names the field and the reason
  std::string cause;    // for the log only; never a secret
};

template <typename T = void>
using Result = std::expected<T, Error>;

// Shorthand for the failing branch: `return fail(ErrorKind::not_found, "No such application x");`
[[nodiscard]] inline std::unexpected<Error> fail(ErrorKind kind, std::string message, std::string cause = {}) {
  return std::unexpected<Error>(Error{kind, std::move(message), std::move(cause)});
}

[[nodiscard]] int http_status(ErrorKind kind);

// "step: text of errno", for example "open /x: Permission denied".
[[nodiscard]] std::unexpected<Error> fail_errno(ErrorKind kind, std::string_view step, int error_number);

}  // namespace appmesh
