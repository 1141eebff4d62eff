// Opens files as another user: as long as it lives, the file system sees that user's id and groups on this thread, and
// the kernel has taken the capabilities of root away that get past permissions (capabilities(7), "Effect of user ID
// changes"). Other threads are not touched, so it must end on the thread where it began, with no wait in between.
#pragma once

#include <vector>

#include <sys/types.h>

#include "core/error.h"
#include "platform/user.h"

namespace appmesh::platform {

class ActingAs {
 public:
  // Does nothing for the user that the process is. Error permission_denied: the kernel refuses.
  static Result<ActingAs> begin(const User& user);
  ~ActingAs() { end(); }
  ActingAs(ActingAs&& other) noexcept;
  ActingAs& operator=(ActingAs&&) = delete;

 private:
  ActingAs() = default;
  void end();

  bool active_ = false;
  uid_t uid_ = 0;  // before
  gid_t gid_ = 0;
  std::vector<gid_t> groups_;
};

}  // namespace appmesh::platform
