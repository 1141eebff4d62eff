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

#include "core/error.h"
#include "core/time.h"
#include "engine/timers.h"
#include "platform/user.h"

namespace appmesh::engine {

class OsUsers {
 public:
  using Found = Result<std::shared_ptr<const platform::User>>;
  using Answer = std::move_only_function<void(const Found&)>;
  using Lookup = std::function<Result<platform::User>(const std::string& name)>;  // runs on the worker

  // `patience`: the longest that anybody waits for one answer. The question itself cannot be taken back: a name service
  // that never answers keeps its worker.
  OsUsers(
      boost::asio::io_context& context, Timers& timers,
      Lookup lookup = [](const std::string& name) { return platform::find_user(name); },
      std::chrono::milliseconds patience = std::chrono::seconds(10));
  ~OsUsers();
  OsUsers(const OsUsers&) = delete;
  OsUsers& operator=(const OsUsers&) = delete;

  // Answers at once, from inside the call, when the name is known; else later on the engine thread. Lookups of one name
  // at the same time share one question. Errors, fit for last_error: "user: no such OS user x", a name other than root
  // that has uid 0, and a name service that does not answer in time or that too many ask already.
  void find(const std::string& name, Answer answer);

 private:
  struct Known {
    Found found;
    core::SteadyTime until;
  };
  struct Question {
    std::vector<Answer> waiting;
    TimerId deadline = 0;
  };
  // What the workers share with this, so that one that hangs outlives it harmlessly.
  struct Desk;

  void remember(const std::string& name, Found found);
  void answer_all(const std::string& name, const Found& found);

  Timers& timers_;
  std::chrono::milliseconds patience_;
  std::unordered_map<std::string, Known> known_;
  std::unordered_map<std::string, Question> questions_;  // asked and not answered, by name
  std::shared_ptr<Desk> desk_;
};

}  // namespace appmesh::engine
