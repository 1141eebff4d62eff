#include "core/error.h"

#include <system_error>

#include <fmt/format.h>

namespace appmesh {

int http_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::already_reported:
      return 208;
    case ErrorKind::invalid_argument:
      return 400;
    case ErrorKind::unauthenticated:
      return 401;
    case ErrorKind::permission_denied:
      return 403;
    case ErrorKind::not_found:
      return 404;
    case ErrorKind::method_not_allowed:
      return 405;
    case ErrorKind::hmac_required:
      return 407;
    case ErrorKind::timed_out:
      return 408;
    case ErrorKind::conflict:
      return 409;
    case ErrorKind::precondition_failed:
      return 412;
    case ErrorKind::too_large:
      return 413;
    case ErrorKind::expectation_failed:
      return 417;
    case ErrorKind::internal:
      return 500;
    case ErrorKind::bad_gateway:
      return 502;
    case ErrorKind::unavailable:
      return 503;
    case ErrorKind::insufficient_storage:
      return 507;
    case ErrorKind::loop_detected:
      return 508;
  }
  return 500;
}

std::unexpected<Error> fail_errno(ErrorKind kind, std::string_view step, int error_number) {
  return fail(kind, fmt::format("{}: {}", step, std::generic_category().message(error_number)));
}

}  // namespace appmesh
