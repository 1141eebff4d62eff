// The one error type of the client library. Every call of the library reports failure by throwing ClientError (or
// std::bad_alloc); a value that comes back is always a good answer. Values of this type may be copied between threads.
#pragma once

#include <stdexcept>
#include <string>

namespace appmesh {

enum class ErrorKind {
  kUsage,      // an argument of the caller cannot be right; nothing was sent
  kConnect,    // no connection: name not found, refused, time-out while connecting
  kTls,        // the handshake failed or the certificate is not trusted
  kTimeout,    // the caller's time limit passed while waiting for the answer
  kCancelled,  // the caller's cancel descriptor became readable
  kClosed,     // the connection ended before the answer was complete; the request may have been carried out
  kProtocol,   // the answer is not what the contract allows
  kStatus,     // the server answered with a status other than success; see status()
  kRemoved,    // the app was removed while its run was waited for
  kSuperseded  // a newer process of the same app does this worker's work now
};

class ClientError : public std::runtime_error {
 public:
  ClientError(ErrorKind kind, const std::string& message, int status = 0)
      : std::runtime_error(message), kind_(kind), status_(status) {}

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  // The HTTP status, 0 when there was no answer.
  [[nodiscard]] int status() const noexcept { return status_; }
  // True when the same request may succeed later without any change: the server was away.
  [[nodiscard]] bool connection_lost() const noexcept {
    return kind_ == ErrorKind::kConnect || kind_ == ErrorKind::kClosed || kind_ == ErrorKind::kTimeout;
  }

 private:
  ErrorKind kind_;
  int status_;
};

}  // namespace appmesh
