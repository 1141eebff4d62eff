#include "cli/token_store.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <sys/stat.h>

#include <appmesh/app.h>
#include <appmesh/wire/json_text.h>
#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include "cli/exit_code.h"
#include "cli/format.h"

namespace appmesh::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 64 * 1024;

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

[[noreturn]] void fail(const char* what, const fs::path& path) {
  throw CliError(kFailed, std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(errno));
}

void make_folder(const fs::path& folder) {
  if (folder.empty() || fs::is_directory(folder)) return;
  make_folder(folder.parent_path());
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail("create", folder);
}

std::optional<std::string> read_file(const fs::path& path) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) return std::nullopt;
  struct stat status{};
  // A token that somebody else could have put there would hand our session to him.
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != ::geteuid())
    return std::nullopt;
  std::string text;
  std::array<char, 4096> buffer{};
  while (text.size() < kMaxFileBytes) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

void write_file(const fs::path& path, std::string_view text) {
  make_folder(path.parent_path());
  std::string temporary = path.string() + ".XXXXXX";
  const File file(::mkostemp(temporary.data(), O_CLOEXEC));  // O_EXCL, 0600
  if (file.get() < 0) fail("write", path);
  while (!text.empty()) {
    const ssize_t count = ::write(file.get(), text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int saved = errno;
      ::unlink(temporary.c_str());
      errno = saved;
      fail("write", path);
    }
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int saved = errno;
    ::unlink(temporary.c_str());
    errno = saved;
    fail("write", path);
  }
}

fs::path home_folder() {
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return home;
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr && entry->pw_dir != nullptr ? entry->pw_dir : "/";
}

}  // namespace

TokenStore TokenStore::from_environment() {
  const char* redirected = std::getenv("APPMESH_HOME");
  if (redirected != nullptr && *redirected != '\0') return {redirected, redirected};
  const fs::path home = home_folder();
  return {home / ".local/share/appmesh", home / ".config/appmesh"};
}

fs::path TokenStore::token_file(const Url& url) const {
  std::string folder = url.port == Url::kDefaultPort ? url.host : url.host + ":" + std::to_string(url.port);
  if (folder.front() == '.') folder.front() = '_';  // "." and ".." are folders of somebody else
  return data_root_ / "tokens" / folder / ".token";
}

std::optional<std::string> TokenStore::load(const Url& url) const {
  auto token = read_file(token_file(url));
  if (token && token->empty()) return std::nullopt;
  return token;
}

void TokenStore::save(const Url& url, std::string_view token) const {
  write_file(token_file(url), std::string(token) + "\n");
}

void TokenStore::remove(const Url& url) const {
  const fs::path file = token_file(url);
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) fail("remove", file);
}

std::optional<std::string> TokenStore::last_host_url() const {
  const auto text = read_file(config_file());
  if (!text) return std::nullopt;
  boost::system::error_code error;
  const boost::json::value config = wire::read_json(*text, error);
  if (error || !config.is_object()) return std::nullopt;
  return App(config.get_object()).text("host_url");
}

void TokenStore::save_last_host_url(std::string_view url) const {
  boost::json::object config;
  if (const auto text = read_file(config_file())) {
    boost::system::error_code error;
    boost::json::value old = wire::read_json(*text, error);
    if (!error && old.is_object()) config = std::move(old.get_object());
  }
  config["host_url"] = boost::json::string(url);
  write_file(config_file(), pretty_json(config) + "\n");
}

}  // namespace appmesh::cli
