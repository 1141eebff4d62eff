#include "security/identity.h"

#include <cstdlib>
#include <map>

#include <sys/stat.h>

#include <gmock/gmock.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "security/certificates.h"
#include "security/test_identity.h"

namespace appmesh::security {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

mode_t mode_of(const fs::path& file) {
  struct stat info{};
  EXPECT_EQ(::stat(file.c_str(), &info), 0) << file;
  return info.st_mode & 07777U;
}

std::unique_ptr<X509, decltype(&X509_free)> load_cert(const fs::path& file) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_file(file.c_str(), "r"), BIO_free_all);
  return {PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free};
}

std::map<std::string, std::string> contents(const fs::path& directory) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) all[entry.path().string()] = platform::read_file(entry.path(), 1 << 20).value_or("?");
  }
  return all;
}

TEST(FirstStart, MakesCertificatesThatVerifyForThisHost) {
  TestIdentity home;
  home.open();
  const auto& ssl = home.paths().ssl;
  EXPECT_EQ(mode_of(ssl), 0755U);
  for (const char* cert : {"ca.pem", "server.pem", "client.pem"}) EXPECT_EQ(mode_of(ssl / cert), 0644U) << cert;
  for (const char* key : {"ca-key.pem", "server-key.pem", "client-key.pem"})
    EXPECT_EQ(mode_of(ssl / key), 0600U) << key;

  const auto ca = load_cert(ssl / "ca.pem");
  ASSERT_TRUE(ca);
  EXPECT_EQ(X509_check_ca(ca.get()), 1);
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> trusted(X509_STORE_new(), X509_STORE_free);
  X509_STORE_add_cert(trusted.get(), ca.get());
  for (const auto& [file, purpose] :
       {std::pair{"server.pem", X509_PURPOSE_SSL_SERVER}, {"client.pem", X509_PURPOSE_SSL_CLIENT}}) {
    const auto cert = load_cert(ssl / file);
    ASSERT_TRUE(cert);
    const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                  X509_STORE_CTX_free);
    X509_STORE_CTX_init(context.get(), trusted.get(), cert.get(), nullptr);
    X509_STORE_CTX_set_purpose(context.get(), purpose);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context.get()), X509_V_FLAG_X509_STRICT);
    EXPECT_EQ(X509_verify_cert(context.get()), 1)
        << file << ": " << X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  }
  const auto server = load_cert(ssl / "server.pem");
  for (const auto& name : host_names().dns)
    EXPECT_EQ(X509_check_host(server.get(), name.c_str(), 0, 0, nullptr), 1) << name;
  for (const auto& ip : host_names().addresses) EXPECT_EQ(X509_check_ip_asc(server.get(), ip.c_str(), 0), 1) << ip;
  EXPECT_NE(X509_check_host(server.get(), "example.com", 0, 0, nullptr), 1);
}

TEST(FirstStart, IsDoneOnce) {
  TestIdentity home;
  home.open(std::nullopt, "");
  EXPECT_GE(home.identity().made().files.size(), 9U);
  ASSERT_TRUE(home.identity().made().admin_password);
  home.close();
  auto before = contents(home.paths().home);
  home.open(std::nullopt, "");
  EXPECT_TRUE(home.identity().made().files.empty());
  EXPECT_FALSE(home.identity().made().admin_password);
  home.close();
  auto after = contents(home.paths().home);
  std::erase_if(before, [](const auto& file) { return file.first.find("state.db") != std::string::npos; });
  std::erase_if(after, [](const auto& file) { return file.first.find("state.db") != std::string::npos; });
  EXPECT_EQ(before, after);
}

TEST(FirstStart, TheRandomAdminPasswordWorksLiesInAPrivateFileAndIsGoneAfterAChange) {
  TestIdentity home;
  home.open(std::nullopt);
  const fs::path file = initial_password_file(home.paths());
  const std::string password = home.identity().made().admin_password.value();
  EXPECT_EQ(mode_of(file), 0600U);
  EXPECT_EQ(platform::read_file(file, 100).value(), password + "\n");
  EXPECT_THAT(home.read_security_yaml(), Not(HasSubstr(password)));
  EXPECT_TRUE(check_password(home.users().snapshot()->find("admin")->key, password).matches);
  ASSERT_TRUE(home.users().change_password("admin", password, "my 0wn Password", platform::wall_now()));
  EXPECT_FALSE(fs::exists(file));
  home.open(std::nullopt);
  EXPECT_FALSE(fs::exists(file));
  EXPECT_TRUE(check_password(home.users().snapshot()->find("admin")->key, "my 0wn Password").matches);
}

TEST(FirstStart, AStartThatWasInterruptedIsFinishedByTheNext) {
  TestIdentity home;
  home.open(std::nullopt, "");
  const std::string password = home.identity().made().admin_password.value();
  const auto& paths = home.paths();
  home.close();
  // As if it had stopped after each file that comes before these.
  fs::remove(paths.ssl / "server.pem");
  fs::remove(paths.ssl / "client.pem");
  fs::remove(paths.ssl / "client-key.pem");
  fs::remove(paths.security_file);
  const std::string server_key = platform::read_file(paths.ssl / "server-key.pem", 4096).value();
  home.open(std::nullopt, "");
  EXPECT_EQ(home.identity().made().admin_password, password) << "the password that was shown stays the password";
  EXPECT_EQ(platform::read_file(paths.ssl / "server-key.pem", 4096).value(), server_key);
  EXPECT_TRUE(fs::exists(paths.ssl / "client.pem"));
  const auto server = load_cert(paths.ssl / "server.pem");
  const auto ca = load_cert(paths.ssl / "ca.pem");
  EXPECT_EQ(X509_verify(server.get(), X509_get0_pubkey(ca.get())), 1);
}

TEST(FirstStart, CertificatesOfSomebodyElseAreLeftAlone) {
  TestIdentity home;
  home.open();
  const auto& ssl = home.paths().ssl;
  home.close();
  fs::remove(ssl / "ca-key.pem");
  const auto before = contents(ssl);
  home.open();
  home.close();
  EXPECT_EQ(contents(ssl), before);
  fs::remove(ssl / "server.pem");
  const auto refused = ensure_certificates(ssl, host_names(), platform::wall_now());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("server.pem"));
  EXPECT_FALSE(fs::exists(ssl / "ca-key.pem"));
}

TEST(FirstStart, AKeyThatDoesNotBelongToTheAuthorityIsRefused) {
  TestIdentity home;
  home.open();
  const auto& ssl = home.paths().ssl;
  home.close();
  const std::string other = platform::read_file(ssl / "client-key.pem", 4096).value();
  ASSERT_TRUE(platform::write_file_atomic(ssl / "ca-key.pem", other, 0600));
  const auto refused = ensure_certificates(ssl, host_names(), platform::wall_now());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("is not the key of"));
}

TEST(FirstStart, TheJwtSecretIsSealedAndTheSameAfterARestart) {
  TestIdentity home;
  home.open(kTestPassword, "");
  EXPECT_EQ(mode_of(home.paths().jwt_file), 0600U);
  EXPECT_EQ(mode_of(home.paths().key_file), 0600U);
  const auto now = platform::wall_now();
  const auto token = home.tokens().issue("admin", kServiceAudience, std::chrono::hours(1), now);
  ASSERT_TRUE(token);
  home.open(kTestPassword, "");
  EXPECT_TRUE(home.tokens().verify(token->text, kServiceAudience, now));
  home.close();
  ASSERT_TRUE(platform::write_file_atomic(home.paths().jwt_file, "broken\n", 0600));
  auto state = store::StateStore::open(home.paths().state_file, {});
  ASSERT_TRUE(state);
  EXPECT_FALSE(Identity::open(home.paths(), **state, {.issuer = "x"}, now)) << "never replaced behind people's backs";
}

TEST(FirstStart, TheGivenAdminPasswordIsUsedOnceAndLeavesNoFile) {
  TestIdentity home;
  home.open("from the environment 1");
  EXPECT_FALSE(home.identity().made().admin_password);
  EXPECT_FALSE(fs::exists(initial_password_file(home.paths())));
  home.open("something else 2");
  EXPECT_TRUE(check_password(home.users().snapshot()->find("admin")->key, "from the environment 1").matches);
}

TEST(FirstStart, TheAdminPasswordLeavesTheEnvironmentAndTheProcess) {
  ASSERT_EQ(::setenv("APPMESH_ADMIN_PASSWORD", "from the environment 1", 1), 0);
  const char* in_memory = std::getenv("APPMESH_ADMIN_PASSWORD");
  EXPECT_EQ(take_admin_password(), "from the environment 1");
  EXPECT_EQ(*in_memory, '\0');
  EXPECT_EQ(std::getenv("APPMESH_ADMIN_PASSWORD"), nullptr);
  EXPECT_EQ(take_admin_password(), std::nullopt);
}

}  // namespace
}  // namespace appmesh::security
