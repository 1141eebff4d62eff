#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <sys/stat.h>

#include <appmesh/client.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

namespace appmesh {
namespace {

// The number that a text is, else the one by which chown() leaves an owner alone.
template <typename Id>
Id id_of(const std::string& text) {
  Id id{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() ? id : static_cast<Id>(-1);
}

[[noreturn]] void failed(const std::string& what) {
  throw ClientError(ErrorKind::kUsage, what + ": " + std::strerror(errno));
}

class LocalFile {
 public:
  LocalFile(const std::string& path, int flags, mode_t mode = 0) : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd_ < 0) failed(path);
  }
  LocalFile(const LocalFile&) = delete;
  LocalFile& operator=(const LocalFile&) = delete;
  ~LocalFile() { ::close(fd_); }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// A file beside its final name, removed again unless it got that name.
class Download {
 public:
  explicit Download(std::string target)
      : target_(std::move(target)),
        name_(target_ + ".part-" + std::to_string(::getpid())),
        file_(name_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) {}
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;
  ~Download() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }

  void write(std::string_view data) {
    while (!data.empty()) {
      const ssize_t count = ::write(file_.fd(), data.data(), data.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) failed(name_);
      data.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  // What this process may not set is left out, as every client of App Mesh does.
  void apply(const Response& response) {
    const auto text = [&](std::string_view name) { return std::string(response.header(name).value_or("")); };
    // A name means the same on another host, a number need not.
    uid_t uid = id_of<uid_t>(text("x-file-user"));
    for (const char* header : {"x-file-user", "x-file-user-name"})
      if (const passwd* owner = ::getpwnam(text(header).c_str()); owner != nullptr) uid = owner->pw_uid;
    gid_t gid = id_of<gid_t>(text("x-file-group"));
    for (const char* header : {"x-file-group", "x-file-group-name"})
      if (const struct group* owners = ::getgrnam(text(header).c_str()); owners != nullptr) gid = owners->gr_gid;
    if (::geteuid() == 0 && ::fchown(file_.fd(), uid, gid) != 0) return;
    const std::string mode_text = text("x-file-mode");
    unsigned mode = 0;
    const auto end = std::from_chars(mode_text.data(), mode_text.data() + mode_text.size(), mode);
    if (end.ec == std::errc() && mode <= 0777) static_cast<void>(::fchmod(file_.fd(), mode));
  }

  void finish() {
    if (::rename(name_.c_str(), target_.c_str()) != 0) failed(target_);
    name_.clear();
  }

 private:
  std::string target_;
  std::string name_;
  LocalFile file_;
};

}  // namespace

void Client::download_file(std::string_view remote, const std::string& local, const TransferOptions& options) {
  if (remote.empty() || local.empty()) throw ClientError(ErrorKind::kUsage, "the file name is empty");
  std::optional<Download> file;
  std::uint64_t done = 0;
  Request request{.method = "GET", .path = "/appmesh/file/download", .file = std::string(remote)};
  request.body_sink = [&](const Response& head, std::string_view data) {
    if (!file) file.emplace(local);
    file->write(data);
    done += data.size();
    if (options.progress) options.progress(done, head.announced_bytes().value_or(0));
  };
  const Response response = call(std::move(request));
  if (!file) file.emplace(local);  // an empty one
  if (options.attributes) file->apply(response);
  file->finish();
}

void Client::upload_file(const std::string& local, std::string_view remote, const TransferOptions& options) {
  if (remote.empty()) throw ClientError(ErrorKind::kUsage, "the file name is empty");
  const LocalFile file(local, O_RDONLY | O_NONBLOCK);
  struct stat info{};
  if (::fstat(file.fd(), &info) != 0) failed(local);
  if (!S_ISREG(info.st_mode)) throw ClientError(ErrorKind::kUsage, local + " is not a regular file");
  Request request{.method = "POST",
                  .path = "/appmesh/file/upload",
                  .headers = {{"Content-Type", "application/octet-stream"}},
                  .file = std::string(remote)};
  if (options.attributes) {
    request.headers.emplace_back("X-File-Mode", std::to_string(info.st_mode & 0777U));
    const passwd* owner = ::getpwuid(info.st_uid);
    const struct group* owners = ::getgrgid(info.st_gid);
    request.headers.emplace_back("X-File-User", owner ? owner->pw_name : std::to_string(info.st_uid));
    request.headers.emplace_back("X-File-Group", owners ? owners->gr_name : std::to_string(info.st_gid));
  }
  const auto total = static_cast<std::uint64_t>(info.st_size);
  request.body_bytes = total;
  std::uint64_t done = 0;
  request.body_source = [&](std::span<char> buffer) {
    ssize_t count = 0;
    do count = ::pread(file.fd(), buffer.data(), buffer.size(), static_cast<off_t>(done));
    while (count < 0 && errno == EINTR);
    if (count < 0) failed(local);
    done += static_cast<std::uint64_t>(count);
    if (options.progress) options.progress(done, total);
    return static_cast<std::size_t>(count);
  };
  if (options.progress) options.progress(0, total);
  call(std::move(request));
}

}  // namespace appmesh
