#include "security/certificates.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <arpa/inet.h>

#include <fmt/format.h>
#include <ifaddrs.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "platform/file.h"
#include "security/passwords.h"

namespace appmesh::security {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::hours kLife{24 * 3650};
constexpr std::chrono::hours kBackdate{1};  // for clients whose clock is a little behind
constexpr std::uint64_t kMaxPemBytes = 1024UL * 1024;
constexpr std::size_t kMaxAddresses = 64;

template <auto Free>
struct Release {
  template <typename T>
  void operator()(T* thing) const {
    Free(thing);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using CertPtr = std::unique_ptr<X509, Release<X509_free>>;
using BioPtr = std::unique_ptr<BIO, Release<BIO_free_all>>;
using BnPtr = std::unique_ptr<BIGNUM, Release<BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Release<X509_EXTENSION_free>>;

std::unexpected<Error> openssl_error(std::string_view step) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return fail(ErrorKind::internal, fmt::format("Certificates: {} failed", step), text.data());
}

struct Pair {
  fs::path cert_file;
  fs::path key_file;
};

struct Signer {
  KeyPtr key;
  CertPtr cert;
};

std::string drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(std::max(0L, size))};
}

Result<bool> is_there(const fs::path& file) {
  std::error_code error;
  const bool there = fs::exists(file, error);
  if (error) return fail(ErrorKind::internal, fmt::format("Certificates: {}: {}", file.string(), error.message()));
  return there;
}

Result<KeyPtr> read_key(const fs::path& file) {
  auto text = platform::read_file(file, kMaxPemBytes);
  if (!text) return std::unexpected(text.error());
  const BioPtr bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  // The callback answers "no password": without it OpenSSL would ask on the terminal.
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  wipe(*text);
  if (!key) return openssl_error(fmt::format("reading {}", file.string()));
  return key;
}

Result<CertPtr> read_cert(const fs::path& file) {
  auto text = platform::read_file(file, kMaxPemBytes);
  if (!text) return std::unexpected(text.error());
  const BioPtr bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  CertPtr cert(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!cert) return openssl_error(fmt::format("reading {}", file.string()));
  return cert;
}

Result<KeyPtr> make_key(const fs::path& file) {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("making a key");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_error("writing a key");
  }
  std::string pem = drain(bio.get());
  auto written = platform::create_file(file, pem, 0600);
  wipe(pem);
  if (!written) return std::unexpected(written.error());
  return key;
}

bool add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(cert, extension.get(), -1) == 1;
}

bool set_times(X509* cert, core::WallTime now) {
  const auto seconds = core::epoch_seconds(now);
  const auto from = seconds - std::chrono::seconds(kBackdate).count();
  const auto to = seconds + std::chrono::seconds(kLife).count();
  return ASN1_TIME_set(X509_getm_notBefore(cert), from) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(cert), to) != nullptr;
}

bool set_random_serial(X509* cert) {
  // 20 octets at most and positive, RFC 5280 section 4.1.2.2.
  const BnPtr serial(BN_new());
  return serial && BN_rand(serial.get(), 158, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_add_word(serial.get(), 1) == 1 && BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(cert)) != nullptr;
}

bool set_name(X509_NAME* name, std::string_view common_name) {
  const auto add = [name](const char* field, std::string_view value) {
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  return add("O", "AppMesh") && add("CN", common_name);
}

struct Extension {
  int nid;
  std::string value;
};

// Signed by `issuer`, or by itself when there is none.
Result<CertPtr> make_cert(const fs::path& file, EVP_PKEY* key, std::string_view common_name,
                          const std::vector<Extension>& extensions, const Signer* issuer, core::WallTime now) {
  CertPtr cert(X509_new());
  if (!cert) return openssl_error("making a certificate");
  X509* issuer_cert = issuer != nullptr ? issuer->cert.get() : cert.get();
  bool good = X509_set_version(cert.get(), X509_VERSION_3) == 1 && set_random_serial(cert.get()) &&
              set_times(cert.get(), now) && X509_set_pubkey(cert.get(), key) == 1 &&
              set_name(X509_get_subject_name(cert.get()), common_name) &&
              X509_set_issuer_name(cert.get(), X509_get_subject_name(issuer_cert)) == 1 &&
              // The subject's own key id comes first: a self-signed certificate's authority id is taken from it.
              add_extension(cert.get(), issuer_cert, NID_subject_key_identifier, "hash") &&
              add_extension(cert.get(), issuer_cert, NID_authority_key_identifier, "keyid:always");
  for (const auto& [nid, value] : extensions) good = good && add_extension(cert.get(), issuer_cert, nid, value);
  good = good && X509_sign(cert.get(), issuer != nullptr ? issuer->key.get() : key, EVP_sha256()) != 0;
  if (!good) return openssl_error(fmt::format("making {}", file.filename().string()));
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), cert.get()) != 1) return openssl_error("writing a certificate");
  if (auto written = platform::create_file(file, drain(bio.get()), 0644); !written) {
    return std::unexpected(written.error());
  }
  return cert;
}

// A key that exists is used, so that a start which was interrupted between the two files goes on where it stopped.
Result<KeyPtr> key_for(const Pair& pair, std::vector<fs::path>& made) {
  const auto there = is_there(pair.key_file);
  if (!there) return std::unexpected(there.error());
  if (*there) return read_key(pair.key_file);
  auto key = make_key(pair.key_file);
  if (key) made.push_back(pair.key_file);
  return key;
}

Result<void> check_pair(const Pair& pair, const Signer& identity) {
  if (X509_check_private_key(identity.cert.get(), identity.key.get()) == 1) return {};
  ERR_clear_error();
  return fail(ErrorKind::invalid_argument,
              fmt::format("{} is not the key of {}", pair.key_file.string(), pair.cert_file.string()));
}

// Nothing in the optional: the certificate is there without its key, which is somebody's decision.
Result<std::optional<Signer>> ensure_authority(const Pair& pair, core::WallTime now, std::vector<fs::path>& made) {
  const auto cert_there = is_there(pair.cert_file);
  if (!cert_there) return std::unexpected(cert_there.error());
  const auto key_there = is_there(pair.key_file);
  if (!key_there) return std::unexpected(key_there.error());
  if (*cert_there && !*key_there) return std::nullopt;
  auto key = key_for(pair, made);
  if (!key) return std::unexpected(key.error());
  Signer authority{.key = std::move(*key), .cert = nullptr};
  if (*cert_there) {
    auto cert = read_cert(pair.cert_file);
    if (!cert) return std::unexpected(cert.error());
    authority.cert = std::move(*cert);
    if (auto good = check_pair(pair, authority); !good) return std::unexpected(good.error());
    return authority;
  }
  auto cert = make_cert(
      pair.cert_file, authority.key.get(), "AppMesh",
      {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"}, {NID_key_usage, "critical,keyCertSign,cRLSign"}}, nullptr,
      now);
  if (!cert) return std::unexpected(cert.error());
  made.push_back(pair.cert_file);
  authority.cert = std::move(*cert);
  return authority;
}

Result<void> ensure_leaf(const Pair& pair, std::string_view common_name, const std::vector<Extension>& extensions,
                         const std::optional<Signer>& authority, core::WallTime now, std::vector<fs::path>& made) {
  const auto cert_there = is_there(pair.cert_file);
  if (!cert_there) return std::unexpected(cert_there.error());
  if (*cert_there) return {};
  if (!authority) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("{} is missing and there is no ca-key.pem to sign a new one", pair.cert_file.string()));
  }
  auto key = key_for(pair, made);
  if (!key) return std::unexpected(key.error());
  auto cert = make_cert(pair.cert_file, key->get(), common_name, extensions, &*authority, now);
  if (!cert) return std::unexpected(cert.error());
  made.push_back(pair.cert_file);
  return {};
}

// A host name goes into an OpenSSL configuration text, where a comma would start another entry.
bool is_dns_name(std::string_view name) {
  return !name.empty() && name.size() <= 253 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

std::string alternative_names(const HostNames& names) {
  std::string text;
  const auto add = [&text](std::string_view kind, std::string_view name) {
    if (!text.empty()) text += ',';
    text += fmt::format("{}:{}", kind, name);
  };
  for (const auto& name : names.dns) {
    if (is_dns_name(name)) add("DNS", name);
  }
  for (const auto& address : names.addresses) add("IP", address);
  return text;
}

}  // namespace

HostNames host_names() {
  HostNames names{.dns = {"localhost"}, .addresses = {"127.0.0.1", "::1"}};
  const auto add = [](std::vector<std::string>& list, std::string name) {
    if (!name.empty() && list.size() < kMaxAddresses && std::ranges::find(list, name) == list.end()) {
      list.push_back(std::move(name));
    }
  };
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) {
    const std::string name(host.data());
    add(names.dns, name);
    add(names.dns, name.substr(0, name.find('.')));
  }
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return names;
  const std::unique_ptr<ifaddrs, Release<::freeifaddrs>> interfaces(first);
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (each->ifa_addr->sa_family == AF_INET) {
      const auto* address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
      ::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
    } else if (each->ifa_addr->sa_family == AF_INET6) {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(each->ifa_addr);
      if (IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) continue;
      ::inet_ntop(AF_INET6, &address->sin6_addr, text.data(), text.size());
    }
    add(names.addresses, text.data());
  }
  return names;
}

Result<std::vector<fs::path>> ensure_certificates(const fs::path& directory, const HostNames& names,
                                                  core::WallTime now) {
  std::vector<fs::path> made;
  if (auto there = platform::make_dirs(directory, 0755); !there) return std::unexpected(there.error());
  auto authority = ensure_authority({directory / "ca.pem", directory / "ca-key.pem"}, now, made);
  if (!authority) return std::unexpected(authority.error());
  const std::vector<Extension> server{{NID_basic_constraints, "critical,CA:FALSE"},
                                      {NID_key_usage, "critical,digitalSignature"},
                                      {NID_ext_key_usage, "serverAuth"},
                                      {NID_subject_alt_name, alternative_names(names)}};
  const std::vector<Extension> client{{NID_basic_constraints, "critical,CA:FALSE"},
                                      {NID_key_usage, "critical,digitalSignature"},
                                      {NID_ext_key_usage, "clientAuth"}};
  // The common name is for people; 64 characters is its limit (RFC 5280 appendix A.1).
  const std::string host = names.dns.empty() ? "localhost" : names.dns.back().substr(0, 64);
  if (auto good =
          ensure_leaf({directory / "server.pem", directory / "server-key.pem"}, host, server, *authority, now, made);
      !good) {
    return std::unexpected(good.error());
  }
  if (auto good = ensure_leaf({directory / "client.pem", directory / "client-key.pem"}, "appmesh-client", client,
                              *authority, now, made);
      !good) {
    return std::unexpected(good.error());
  }
  return made;
}

}  // namespace appmesh::security
