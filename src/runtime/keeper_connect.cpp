#include "runtime/keeper_connect.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <unistd.h>

#include "platform/process_limits.h"

extern "C" char** environ;

namespace appmesh::runtime {

namespace {

constexpr std::size_t kMaxKeeperVariables = 256;
constexpr std::size_t kMaxKeeperVariable = 256;
constexpr timeval kHandshakeTimeout{.tv_sec = 10, .tv_usec = 0};

Result<platform::UniqueFd> connect_once(const std::filesystem::path& run_directory) {
  // The path may be longer than sun_path: go through the directory's descriptor.
  const platform::UniqueFd directory(::open(run_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(ErrorKind::internal, "open " + run_directory.string(), errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}/{}", directory.get(),
                   keeper::kSocketName);
  platform::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno(ErrorKind::internal, "socket", errno);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno == ENOENT || errno == ECONNREFUSED ? ErrorKind::not_found : ErrorKind::internal,
                      "connect to the keeper", errno);
  return socket;
}

// The keeper leaves us at once (--detach) and is listening when the call returns.
Result<void> start_program(const std::filesystem::path& home, const std::filesystem::path& program) {
  const std::string program_text = program.string();
  const std::string home_text = home.string();
  std::string name = "appkeeper";
  std::string home_flag = "--home";
  std::string detach_flag = "--detach";
  std::string home_value = home_text;
  std::string limits_flag = "--limits";
  std::string limits = platform::limits_of_the_start();
  char* const arguments[] = {name.data(),   home_flag.data(), home_value.data(), detach_flag.data(), limits_flag.data(),
                             limits.data(), nullptr};
  // It needs none of them, and a large environment together with a small stack could keep it from being executed.
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (std::strlen(*variable) < kMaxKeeperVariable && environment.size() < kMaxKeeperVariables)
      environment.push_back(*variable);
  environment.push_back(nullptr);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  pid_t child = 0;
  const int spawned = ::posix_spawn(&child, program_text.c_str(), nullptr, &attributes, arguments, environment.data());
  posix_spawnattr_destroy(&attributes);
  if (spawned != 0) return fail_errno(ErrorKind::internal, "start " + program_text, spawned);

  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno(ErrorKind::internal, "wait for " + program_text, errno);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(ErrorKind::internal, fmt::format("{} did not start (wait status {}), see {}/run/{}", program_text,
                                                 status, home_text, keeper::kLogName));
  return {};
}

Result<keeper::HelloReply> shake_hands(int socket) {
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &kHandshakeTimeout, sizeof kHandshakeTimeout);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &kHandshakeTimeout, sizeof kHandshakeTimeout);
  keeper::Hello hello{};
  hello.header = {keeper::MessageType::hello, 0, sizeof hello, 1};
  hello.version = keeper::kProtocolVersion;
  if (::send(socket, &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello))
    return fail_errno(ErrorKind::internal, "greet the keeper", errno);
  keeper::HelloReply reply{};
  const ssize_t got = ::recv(socket, &reply, sizeof reply, 0);
  if (got != static_cast<ssize_t>(sizeof reply) || reply.header.type != keeper::MessageType::hello_reply)
    return fail_errno(ErrorKind::internal, "greeting of the keeper", got < 0 ? errno : EPROTO);
  if (reply.version != keeper::kProtocolVersion)
    return fail(ErrorKind::internal,
                fmt::format("the keeper speaks protocol {}, this daemon {}", reply.version, keeper::kProtocolVersion));
  return reply;
}

}  // namespace

Result<KeeperConnection> connect_keeper(const std::filesystem::path& home, const std::filesystem::path& program) {
  const std::filesystem::path run_directory = home / "run";
  std::error_code ignored;
  std::filesystem::create_directories(run_directory, ignored);
  ::chmod(run_directory.c_str(), 0700);

  auto socket = connect_once(run_directory);
  if (!socket && socket.error().kind == ErrorKind::not_found) {
    if (auto started = start_program(home, program); !started) return std::unexpected(started.error());
    socket = connect_once(run_directory);
  }
  if (!socket) return std::unexpected(socket.error());
  auto hello = shake_hands(socket->get());
  if (!hello) return std::unexpected(hello.error());
  const int flags = ::fcntl(socket->get(), F_GETFL);
  if (::fcntl(socket->get(), F_SETFL, flags | O_NONBLOCK) != 0) return fail_errno(ErrorKind::internal, "fcntl", errno);
  return KeeperConnection{std::move(*socket), *hello};
}

}  // namespace appmesh::runtime
