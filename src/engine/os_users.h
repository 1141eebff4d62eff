// OS users by name for starts, looked up off the engine thread because the name service may ask the network. Owned by
// the run supervisor, used on the engine thread only. What is found is believed for a minute, what is not found for a
// few seconds, so that crash loops ask little and a new user is soon seen.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "core/error.h"
#include "core/time.h"
#include "platform/user.h"

namespace appmesh::engine {

class OsUsers {
 public:
  using Found = Result<std::shared_ptr<const platform::User>>;
  using Answer = std::move_only_function<void(const Found&)>;
  using Lookup = std::function<Result<platform::User>(const std::string& name)>;  // runs on the worker

  explicit OsUsers(
      boost::asio::io_context& context,
      Lookup lookup = [](const std::string& name) { return platform::find_user(name); });
  ~OsUsers();
  OsUsers(const OsUsers&) = delete;
  OsUsers& operator=(const OsUsers&) = delete;

  // Answers at once, from inside the call, when the name is known; else later on the engine thread. Lookups of one name
  // at the same time share one question. Errors, fit for last_error: "user: no such OS user x", and a name other than
  // root that has uid 0.
  void find(const std::string& name, Answer answer);

 private:
  struct Known {
    Found found;
    core::SteadyTime until;
  };
  void remember(const std::string& name, Found found);

  boost::asio::io_context& context_;
  Lookup lookup_;
  std::unordered_map<std::string, Known> known_;
  std::unordered_map<std::string, std::vector<Answer>> waiting_;
  std::unique_ptr<boost::asio::thread_pool> workers_;  // made when the first app names a user
};

}  // namespace appmesh::engine
