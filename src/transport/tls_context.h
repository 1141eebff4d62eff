// What every TLS connection of a listener, or to other daemons, shares: certificate, key, CA and the rules of
// docs/wire.md#tls. Immutable once loaded, shared by const pointer, any thread. A reload makes a new
// one; living connections keep theirs.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include "core/error.h"

namespace appmesh::transport {

struct TlsOptions {
  std::filesystem::path certificate_file;  // PEM chain, own certificate first
  std::filesystem::path key_file;
  std::filesystem::path ca_path;  // file or directory; read only when verify_client is set
  bool verify_client = false;     // true: a client certificate is mandatory
  bool offer_http = true;         // ALPN "http/1.1"
};

struct TlsClientOptions {
  std::filesystem::path certificate_file;  // shown to a server that asks; none when there is no such file
  std::filesystem::path key_file;
  std::filesystem::path ca_path;  // file or directory; read only when verify_server is set
  bool verify_server = false;     // its chain, and its name or address
  bool offer_http = true;         // ALPN "http/1.1"
};

class TlsContext {
 public:
  // Errors: invalid_argument that names the file and OpenSSL's reason.
  [[nodiscard]] static Result<std::shared_ptr<const TlsContext>> load(const TlsOptions& options);
  [[nodiscard]] static Result<std::shared_ptr<const TlsContext>> load_client(const TlsClientOptions& options);

  // OpenSSL's context for SSL_new(), which counts references itself and may be called from any thread.
  [[nodiscard]] SSL_CTX* native() const { return context_.get(); }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  explicit TlsContext(SSL_CTX* context) : context_(context) {}
  std::unique_ptr<SSL_CTX, Free> context_;
};

// The latest session with one server, so that the next connection to it costs less. Belongs to one thread.
struct TlsSessionSlot {
  struct Free {
    void operator()(SSL_SESSION* given) const { SSL_SESSION_free(given); }
  };
  std::unique_ptr<SSL_SESSION, Free> session;
};

// Takes OpenSSL's oldest error of this thread as text and forgets the rest.
[[nodiscard]] std::string take_tls_error();

}  // namespace appmesh::transport
