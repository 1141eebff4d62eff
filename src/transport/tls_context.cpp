#include "transport/tls_context.h"

#include <array>
#include <system_error>

#include <openssl/err.h>

namespace appmesh::transport {
namespace {

// AEAD suites with a full tag alone: the three MACs are those of the CBC suites (RFC 7457), CCM8 has a tag of 8 bytes.
constexpr const char* kCiphers = "HIGH:!aNULL:!eNULL:!EXPORT:!DES:!RC4:!MD5:!SHA1:!SHA256:!SHA384:!AESCCM8";
constexpr const char* kTls13Ciphers = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
constexpr const char* kGroups = "X25519:P-256:P-384";
constexpr long kSessionSeconds = 300;
constexpr long kKeptSessions = 1'000;
constexpr std::string_view kAlpnHttp = "\x08http/1.1";
constexpr std::array<unsigned char, 7> kSessionContext = {'a', 'p', 'p', 'm', 'e', 's', 'h'};

const unsigned char* as_bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

int select_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
                    unsigned int offered_length, void*) {
  unsigned char* selected = nullptr;
  const int result = SSL_select_next_proto(&selected, out_length, as_bytes(kAlpnHttp),
                                           static_cast<unsigned>(kAlpnHttp.size()), offered, offered_length);
  *out = selected;
  // RFC 7301 section 3.2: a client that offers nothing of ours is told so.
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::unexpected<Error> file_problem(std::string_view what, const std::filesystem::path& path) {
  return fail(ErrorKind::invalid_argument, std::string(what) + " " + path.string() + ": " + take_tls_error());
}

Result<void> load_identity(SSL_CTX* context, const std::filesystem::path& certificate,
                           const std::filesystem::path& key) {
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return file_problem("certificate", certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) return file_problem("key", key);
  if (SSL_CTX_check_private_key(context) != 1) {
    return file_problem("the certificate does not belong to key", key);
  }
  return {};
}

bool is_folder(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

Result<void> load_authorities(SSL_CTX* context, const std::filesystem::path& ca) {
  const bool directory = is_folder(ca);
  if (SSL_CTX_load_verify_locations(context, directory ? nullptr : ca.c_str(), directory ? ca.c_str() : nullptr) != 1) {
    return file_problem("CA", ca);
  }
  return {};
}

Result<void> load_files(SSL_CTX* context, const TlsOptions& options) {
  if (auto loaded = load_identity(context, options.certificate_file, options.key_file); !loaded) return loaded;
  if (!options.verify_client) return {};
  if (auto loaded = load_authorities(context, options.ca_path); !loaded) return loaded;
  if (!is_folder(options.ca_path)) {
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(options.ca_path.c_str()));
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return {};
}

// OpenSSL offers each new session of a connection to an application; 1 means that we keep it.
int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* const slot = static_cast<TlsSessionSlot*>(SSL_get_app_data(ssl));
  if (slot == nullptr) return 0;
  slot->session.reset(session);
  return 1;
}

constexpr unsigned long kCommonOptions = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF;

Result<void> set_common(SSL_CTX* context) {
  if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(context, kCiphers) != 1 ||
      SSL_CTX_set_ciphersuites(context, kTls13Ciphers) != 1 || SSL_CTX_set1_groups_list(context, kGroups) != 1) {
    return fail(ErrorKind::internal, "TLS settings: " + take_tls_error());
  }
  SSL_CTX_set_options(context, kCommonOptions);
  SSL_CTX_set_mode(context,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return {};
}

}  // namespace

std::string take_tls_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown reason";
  if (const char* reason = ERR_reason_error_string(code)) return reason;
  if (ERR_SYSTEM_ERROR(code)) return std::system_category().message(ERR_GET_REASON(code));
  return "OpenSSL error " + std::to_string(code);
}

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsOptions& options) {
  ERR_clear_error();
  SSL_CTX* const raw = SSL_CTX_new(TLS_server_method());
  if (!raw) return fail(ErrorKind::internal, "TLS context: " + take_tls_error());
  std::shared_ptr<const TlsContext> context(new TlsContext(raw));

  if (auto set = set_common(raw); !set) return std::unexpected(std::move(set.error()));
  if (SSL_CTX_set_session_id_context(raw, kSessionContext.data(), kSessionContext.size()) != 1) {
    return fail(ErrorKind::internal, "TLS settings: " + take_tls_error());
  }
  SSL_CTX_set_options(raw, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_read_ahead(raw, 1);  // one read() a record instead of two
  // Tickets carry the session, and one is enough for a client that comes back; only those of TLS 1.2 that take none are
  // kept here.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_SERVER);
  SSL_CTX_sess_set_cache_size(raw, kKeptSessions);
  SSL_CTX_set_num_tickets(raw, 1);
  SSL_CTX_set_timeout(raw, kSessionSeconds);
  if (options.offer_http) SSL_CTX_set_alpn_select_cb(raw, select_protocol, nullptr);

  if (auto loaded = load_files(raw, options); !loaded) return std::unexpected(std::move(loaded.error()));
  return context;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::load_client(const TlsClientOptions& options) {
  ERR_clear_error();
  SSL_CTX* const raw = SSL_CTX_new(TLS_client_method());
  if (!raw) return fail(ErrorKind::internal, "TLS context: " + take_tls_error());
  std::shared_ptr<const TlsContext> context(new TlsContext(raw));

  if (auto set = set_common(raw); !set) return std::unexpected(std::move(set.error()));
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(raw, keep_session);
  if (options.offer_http) {
    // 0 is success here, unlike anywhere else.
    if (SSL_CTX_set_alpn_protos(raw, as_bytes(kAlpnHttp), static_cast<unsigned>(kAlpnHttp.size())) != 0) {
      return fail(ErrorKind::internal, "TLS settings: " + take_tls_error());
    }
  }
  std::error_code ignored;
  if (std::filesystem::exists(options.certificate_file, ignored)) {
    auto loaded = load_identity(raw, options.certificate_file, options.key_file);
    if (!loaded) return std::unexpected(std::move(loaded.error()));
  }
  if (options.verify_server) {
    if (auto loaded = load_authorities(raw, options.ca_path); !loaded)
      return std::unexpected(std::move(loaded.error()));
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  }
  return context;
}

}  // namespace appmesh::transport
