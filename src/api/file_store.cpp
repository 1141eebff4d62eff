#include "api/file_store.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "platform/acting_as.h"
#include "platform/file.h"
#include "platform/resolved_path.h"
#include "platform/user.h"

namespace appmesh::api {
namespace {

namespace fs = std::filesystem;
using platform::is_below;

constexpr std::array<const char*, 11> kSystemDirectories = {"/etc",  "/usr", "/bin",  "/sbin", "/lib",  "/lib64",
                                                            "/proc", "/sys", "/boot", "/dev",  "/lib32"};
constexpr std::array<const char*, 3> kNeverRead = {"/proc", "/sys", "/dev"};  // no files, but the kernel's own doors

std::unexpected<Error> invalid_path(std::string reason) {
  return fail(ErrorKind::permission_denied, "Invalid file path", std::move(reason));
}

// Nothing: the daemon's own.
Result<std::optional<platform::User>> user_of(const std::string& os_user) {
  if (os_user.empty() || ::geteuid() != 0) return std::nullopt;
  auto user = platform::find_user(os_user);
  if (!user) return fail(ErrorKind::permission_denied, user.error().message);
  if (user->uid == ::geteuid()) return std::nullopt;
  return std::move(*user);
}

Result<std::optional<platform::ActingAs>> acting_as(const std::optional<platform::User>& user) {
  if (!user) return std::nullopt;
  auto acting = platform::ActingAs::begin(*user);
  if (!acting) return std::unexpected(acting.error());
  return std::optional<platform::ActingAs>(std::move(*acting));
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  auto real = fs::weakly_canonical(path, error);
  return error ? path : real;
}

bool is_in_container() {
  std::error_code ignored;
  static const bool answer = fs::exists("/.dockerenv", ignored) || fs::exists("/run/.containerenv", ignored);
  return answer;
}

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A name that is not known here is no reason to lose the file: the clients send the names of their own machine.
// Nobody but the daemon's own user gives files away: another keeps what is not their own to set.
platform::NewFile::Attributes attributes_of(const FileAttributes& given, const std::optional<platform::User>& user) {
  platform::NewFile::Attributes attributes;
  if (const auto mode = number_of<unsigned>(given.mode); mode && *mode <= 0777) attributes.mode = *mode;
  if (::geteuid() != 0) return attributes;
  if (is_in_container()) {
    if (attributes.mode) *attributes.mode |= 0400;
    return attributes;
  }
  if (!given.user.empty()) {
    const auto owner = platform::find_user(given.user);
    attributes.user = owner ? std::optional<uid_t>(owner->uid) : number_of<uid_t>(given.user);
  }
  if (!given.group.empty()) {
    const auto group = platform::find_group(given.group);
    attributes.group = group ? std::optional<gid_t>(*group) : number_of<gid_t>(given.group);
  }
  if (user) {
    attributes.user.reset();
    if (attributes.group && std::ranges::find(user->groups, *attributes.group) == user->groups.end())
      attributes.group.reset();
  }
  return attributes;
}

}  // namespace

FileStore::FileStore(Options options)
    : options_(std::move(options)), home_(resolved(options_.home)), tmp_(resolved(options_.tmp)) {
  for (const char* directory : kSystemDirectories) {
    never_written_.emplace_back(directory);
    never_written_.push_back(resolved(directory));  // /bin is /usr/bin on many machines
  }
}

Result<fs::path> FileStore::absolute(std::string_view path) const {
  if (path.empty()) return fail(ErrorKind::invalid_argument, "header 'X-File-Path' not found");
  if (path.find('\0') != std::string_view::npos) return invalid_path("NUL");
  const fs::path given(path);
  if (std::ranges::any_of(given, [](const fs::path& component) { return component == ".."; })) {
    return invalid_path("a '..' component");
  }
  return (options_.tmp / given).lexically_normal();
}

// The base that the path must stay below, in the spelling that the path has; empty when there is none.
Result<fs::path> FileStore::base_of(const fs::path& path) const {
  const fs::path configured = options_.allowed_base ? options_.allowed_base() : fs::path();
  if (configured.empty()) return fs::path();
  for (fs::path base : {configured.lexically_normal(), resolved(configured)}) {
    if (!base.has_filename() && base.has_relative_path()) base = base.parent_path();  // "/data/"
    if (is_below(path, base)) return base;
  }
  return invalid_path(path.string() + " is outside of FileAllowedBaseDir");
}

// Another name of one of the daemon's files, such as a hard link to a key: what may not be read below the home may not
// be read elsewhere.
bool FileStore::is_linked_secret(const struct stat& info) const {
  if (info.st_nlink < 2) return false;
  std::error_code error;
  for (fs::recursive_directory_iterator each(home_, error), end; !error && each != end; each.increment(error)) {
    struct stat own{};
    if (::lstat(each->path().c_str(), &own) != 0) continue;
    if (S_ISDIR(own.st_mode) && each->path() == tmp_) each.disable_recursion_pending();
    if (own.st_dev == info.st_dev && own.st_ino == info.st_ino && !may_read(each->path(), own.st_mode)) return true;
  }
  return static_cast<bool>(error);  // not seen to the end
}

// The daemon's directory has secrets beside things that people fetch, such as its log.
bool FileStore::may_read(const fs::path& path, unsigned mode) const {
  if (std::ranges::any_of(kNeverRead, [&](const char* directory) { return is_below(path, directory); })) return false;
  if (!is_below(path, home_) || is_below(path, tmp_)) return true;
  const fs::path work = tmp_.parent_path();
  if (is_below(path, work)) return path.parent_path() == work && path.filename().native().starts_with("server.log");
  return !is_below(path, home_ / "run") && (mode & S_IROTH) != 0;
}

bool FileStore::may_write(const fs::path& path) const {
  if (is_below(path, tmp_)) return true;
  if (is_below(path, home_)) return false;
  return std::ranges::none_of(never_written_, [&](const fs::path& directory) { return is_below(path, directory); });
}

Result<OpenedFile> FileStore::open(std::string_view path, const std::string& os_user) const {
  const auto user = user_of(os_user);
  if (!user) return std::unexpected(user.error());
  const auto name = absolute(path);
  if (!name) return std::unexpected(name.error());
  const auto base = base_of(*name);
  if (!base) return std::unexpected(base.error());
  auto acting = acting_as(*user);
  if (!acting) return std::unexpected(acting.error());
  const auto found = platform::open_path(*name, *base);
  if (!found) return std::unexpected(found.error());
  struct stat info{};
  if (::fstat(found->get(), &info) != 0) return platform::file_error("stat", *name, errno);
  const auto real = platform::real_path(found->get());
  if (!real) return std::unexpected(real.error());
  if (!may_read(*real, info.st_mode)) return invalid_path(real->string());
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::invalid_argument, name->string() + " is not a regular file");
  auto fd = platform::reopen(found->get(), O_RDONLY);
  if (!fd) return std::unexpected(fd.error());
  acting->reset();
  if (is_linked_secret(info)) return invalid_path(real->string() + " is a file of the daemon");
  return OpenedFile{.fd = std::move(*fd),
                    .name = name->filename(),
                    .size_bytes = static_cast<std::uint64_t>(info.st_size),
                    .modified = info.st_mtim.tv_sec,
                    .attributes = {.mode = std::to_string(info.st_mode & 0777U),
                                   .user = std::to_string(info.st_uid),
                                   .group = std::to_string(info.st_gid),
                                   .user_name = platform::user_name(info.st_uid),
                                   .group_name = platform::group_name(info.st_gid)}};
}

Result<FileStore::Target> FileStore::target_of(std::string_view path) const {
  const auto name = absolute(path);
  if (!name) return std::unexpected(name.error());
  const auto base = base_of(*name);
  if (!base) return std::unexpected(base.error());
  const fs::path last = name->filename();
  if (last.empty() || last == ".") return fail(ErrorKind::invalid_argument, name->string() + " is not a file name");
  auto directory = platform::open_path_directory(name->parent_path(), *base);
  if (!directory) return std::unexpected(directory.error());
  const auto real = platform::real_path(directory->get());
  if (!real) return std::unexpected(real.error());
  if (!may_write(*real / last)) return invalid_path((*real / last).string());
  struct stat info{};
  if (::fstatat(directory->get(), last.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISLNK(info.st_mode)) return fail(ErrorKind::invalid_argument, name->string() + " is a symbolic link");
    return fail(ErrorKind::conflict, name->string() + " exists already");
  }
  if (errno != ENOENT) return platform::file_error("stat", *name, errno);
  return Target{std::move(*directory), last};
}

Result<void> FileStore::check_target(std::string_view path, const std::string& os_user) const {
  const auto user = user_of(os_user);
  if (!user) return std::unexpected(user.error());
  const auto acting = acting_as(*user);
  if (!acting) return std::unexpected(acting.error());
  const auto target = target_of(path);
  if (!target) return std::unexpected(target.error());
  // Asked with the ids that the file system sees, which are this thread's.
  if (::faccessat(target->directory.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
    return platform::file_error("create", std::string(path), errno);
  return {};
}

Result<std::shared_ptr<ReceivedFile>> FileStore::create(std::string_view path, const std::string& os_user,
                                                        const FileAttributes& attributes,
                                                        std::optional<std::uint64_t> announced_bytes) const {
  const auto user = user_of(os_user);
  if (!user) return std::unexpected(user.error());
  const auto given = attributes_of(attributes, *user);
  auto acting = acting_as(*user);
  if (!acting) return std::unexpected(acting.error());
  auto target = target_of(path);
  if (!target) return std::unexpected(target.error());
  struct statvfs space{};
  if (announced_bytes && ::fstatvfs(target->directory.get(), &space) == 0 && space.f_blocks > 0) {
    const std::uint64_t free_bytes = space.f_bavail * space.f_frsize;
    if (*announced_bytes > free_bytes) {
      return fail(ErrorKind::insufficient_storage,
                  fmt::format("{}: {} bytes are announced, {} are free", path, *announced_bytes, free_bytes));
    }
  }
  auto file = platform::NewFile::create(std::move(target->directory), std::move(target->name));
  if (!file) return std::unexpected(file.error());
  return std::make_shared<ReceivedFile>(std::move(*file), given);
}

}  // namespace appmesh::api
