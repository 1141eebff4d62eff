// Everything of the daemon put together, in the order of the rooms, and taken apart in the opposite one. Owned by main;
// open() and close() are called on the main thread.
#pragma once

#include <memory>

#include "core/error.h"
#include "daemon/options.h"

namespace appmesh::daemon {

class Daemon {
 public:
  // Blocks until the listeners are open. Errors say what failed and where.
  static Result<std::unique_ptr<Daemon>> open(const CommandLine& line);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  void reload();  // SIGHUP: configuration and users; what is wrong is logged and the old ones stay

 private:
  struct Parts;
  explicit Daemon(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace appmesh::daemon
