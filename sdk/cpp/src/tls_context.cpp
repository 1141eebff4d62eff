#include <cstdlib>
#include <string>

#include <sys/stat.h>

#include <appmesh/error.h>
#include <openssl/err.h>
#include <unistd.h>

#include "tls_connection.h"

namespace appmesh::tls {
namespace {

constexpr const char* kInstalledSsl = "/opt/appmesh/ssl";

bool readable(const std::string& path) {
  return ::access(path.c_str(), R_OK) == 0;
}

// Folder of the certificates that a daemon on this machine made, or nothing.
std::string local_ssl_folder() {
  std::string found;
  const char* home = std::getenv("APPMESH_HOME_DIR");
  const std::string given = home == nullptr || *home == '\0' ? std::string() : std::string(home) + "/ssl";
  for (const std::string& folder : {given, std::string(".appmesh/ssl"), std::string(kInstalledSsl)}) {
    if (!folder.empty() && readable(folder + "/ca.pem")) return folder;
  }
  return found;
}

void trust(SSL_CTX* context, const std::string& path) {
  struct stat status{};
  const bool directory = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  const int loaded =
      directory ? SSL_CTX_load_verify_dir(context, path.c_str()) : SSL_CTX_load_verify_file(context, path.c_str());
  ERR_clear_error();
  if (loaded != 1) throw ClientError(ErrorKind::kTls, "cannot read the CA certificates in " + path);
}

void use_client_certificate(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    throw ClientError(ErrorKind::kTls, "cannot use the client certificate " + certificate + " with the key " + key);
  }
}

}  // namespace

Context make_context(const TlsOptions& options, const Url& url) {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) throw ClientError(ErrorKind::kTls, "TLS cannot be initialised");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  constexpr unsigned char kAlpn[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context.get(), kAlpn, sizeof kAlpn - 1);

  std::string ssl_folder;
  switch (options.verify) {
    case TlsOptions::Verify::kOff:
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
      break;
    case TlsOptions::Verify::kPath:
      trust(context.get(), options.ca_path);
      break;
    case TlsOptions::Verify::kSystem:
      SSL_CTX_set_default_verify_paths(context.get());
      break;
    case TlsOptions::Verify::kAuto:
      if (is_local_host(url.host)) ssl_folder = local_ssl_folder();
      if (ssl_folder.empty()) {
        SSL_CTX_set_default_verify_paths(context.get());
        if (readable(std::string(kInstalledSsl) + "/ca.pem")) ssl_folder = kInstalledSsl;
      }
      if (!ssl_folder.empty()) trust(context.get(), ssl_folder + "/ca.pem");
      break;
  }
  if (!options.client_certificate.empty()) {
    use_client_certificate(context.get(), options.client_certificate,
                           options.client_key.empty() ? options.client_certificate : options.client_key);
  } else if (!ssl_folder.empty() && readable(ssl_folder + "/client.pem") && readable(ssl_folder + "/client-key.pem")) {
    use_client_certificate(context.get(), ssl_folder + "/client.pem", ssl_folder + "/client-key.pem");
  }
  return context;
}

}  // namespace appmesh::tls
