// Carries bytes between one client and the real daemon until it is cut, for a moment or for good, as a network does.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <unistd.h>

class Relay {
 public:
  explicit Relay(std::uint16_t target) : target_(target), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = local(0);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("no relay");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept(); });
  }
  ~Relay() {
    cut();
    acceptor_.join();
    for (auto& carrier : carriers_) carrier.join();
    for (const int socket : sockets_) ::close(socket);
    ::close(listener_);
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }

  void cut() {
    const std::lock_guard lock(mutex_);
    cut_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  // Ends the connections that there are; new ones come through.
  void drop() {
    const std::lock_guard lock(mutex_);
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }

 private:
  static sockaddr_in local(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  void accept() {
    for (;;) {
      const int near = ::accept(listener_, nullptr, nullptr);
      if (near < 0) return;
      const int far = ::socket(AF_INET, SOCK_STREAM, 0);
      const sockaddr_in address = local(target_);
      const bool connected = ::connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
      const std::lock_guard lock(mutex_);
      sockets_.insert(sockets_.end(), {near, far});
      if (!connected || cut_) {
        ::shutdown(near, SHUT_RDWR);
        continue;
      }
      carriers_.emplace_back([near, far] { carry(near, far); });
      carriers_.emplace_back([near, far] { carry(far, near); });
    }
  }
  static void carry(int from, int to) {
    char buffer[65536];
    for (ssize_t count = 0; (count = ::recv(from, buffer, sizeof buffer, 0)) > 0;)
      if (::send(to, buffer, static_cast<std::size_t>(count), MSG_NOSIGNAL) != count) return;
    ::shutdown(to, SHUT_WR);
  }

  std::uint16_t target_;
  int listener_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  bool cut_ = false;
  std::vector<int> sockets_;
  std::vector<std::thread> carriers_;
  std::thread acceptor_;
};
