// The scenarios of sdk/CONTRACT.md for the C++ SDK, against a real daemon:
//   sdk_cpp_contract --list
//   sdk_cpp_contract HOST HTTPS_PORT,TCP_PORT,WSS_PORT SCENARIO TRANSPORT
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include <sys/stat.h>

#include <appmesh/client.h>
#include <appmesh/worker.h>
#include <unistd.h>

#include "relay.h"

namespace {

using appmesh::App;
using appmesh::Client;
using appmesh::ClientError;
using appmesh::ErrorKind;
using appmesh::Event;
using namespace std::chrono_literals;

constexpr int kNotApplicable = 77;

void check(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error("not so: " + what);
}

template <typename Check>
auto eventually(Check ask, const std::string& what) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  for (;;) {
    if (auto value = ask()) return value;
    check(std::chrono::steady_clock::now() < end, what + " (it did not happen)");
    std::this_thread::sleep_for(10ms);
  }
}

// The kind of the error that `work` ends with.
template <typename Work>
std::optional<ErrorKind> kind_of(Work work) {
  try {
    work();
  } catch (const ClientError& error) {
    return error.kind();
  }
  return std::nullopt;
}

std::string fresh(const std::string& prefix) {
  std::random_device random;
  return "contract-cpp-" + prefix + "-" + std::to_string(random());
}

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  check(value != nullptr, std::string("environment has ") + name);
  return value;
}

struct Place {
  std::string host;
  std::map<std::string, std::uint16_t> ports;

  [[nodiscard]] std::string url(const std::string& transport, std::uint16_t port = 0) const {
    return transport + "://" + host + ":" + std::to_string(port != 0 ? port : ports.at(transport));
  }
  [[nodiscard]] static appmesh::TransportOptions trust(std::chrono::milliseconds read_timeout = 0ms) {
    return {.tls = {.verify = appmesh::TlsOptions::Verify::kPath, .ca_path = variable("APPMESH_CONTRACT_CA")},
            .read_timeout = read_timeout};
  }
  [[nodiscard]] Client client(const std::string& transport, std::uint16_t port = 0) const {
    Client client({.url = url(transport, port), .transport = trust()});
    check(!client.login(variable("APPMESH_CONTRACT_USER"), variable("APPMESH_CONTRACT_PASSWORD")), "no second factor");
    return client;
  }
};

App command(const std::string& line) {
  App app({}, line);
  app.set("shell", true);
  return app;
}

void slow_request(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  const auto result = client.run_sync(command("sleep 1; echo slow"));
  check(result.exit_code == 0 && result.output == "slow\n", "it is answered");
  check(!client.own_permissions().empty(), "so is the next");
  // The caller's own time limit is another matter, and costs only that call.
  appmesh::Request request{.method = "POST", .path = "/appmesh/app/syncrun", .timeout = 100ms};
  request.body = R"({"command": "sleep 2"})";
  check(kind_of([&] { client.call(request); }) == ErrorKind::kTimeout, "a limit of the caller is kept");
  check(client.run_sync(command("echo next")).output == "next\n", "the next call has its own answer");
}

void disconnect_in_a_wait(const Place& place, const std::string& transport) {
  Relay relay(place.ports.at(transport));
  Client client = place.client(transport, relay.port());
  const auto run = client.run_async(command("echo here; sleep 600"));
  std::string seen;
  const auto kind = kind_of([&] {
    client.wait(run, [&](std::string_view bytes, std::uint64_t) {
      seen += bytes;
      relay.cut();
    });
  });
  check(kind == ErrorKind::kClosed || kind == ErrorKind::kConnect, "the wait ends with a lost connection");
  Client other = place.client("https");
  check(seen == "here\n" && other.get_app(run.name).pid().has_value(), "the run goes on");
  other.delete_app(run.name);
}

void time_out_of_the_caller(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  const auto run = client.run_async(command("echo first; sleep 3; echo second; exit 41"));
  check(!client.wait(run, {}, 1000ms), "no exit code yet");
  std::string output;
  std::uint64_t expected = 0;
  const auto code = client.wait(run, [&](std::string_view bytes, std::uint64_t position) {
    check(position == expected, "each byte once and in order");
    expected += bytes.size();
    output += bytes;
  });
  check(code == 41 && output == "first\nsecond\n", "a later wait has all");
  check(kind_of([&] { client.get_app(run.name); }) == ErrorKind::kStatus, "the run is removed after its exit");
}

void atomic_subscription(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  for (int turn = 0; turn < 10; ++turn) {
    App app(fresh("fast"), "echo quick");
    auto subscription = client.add_app_and_subscribe(app, {"START", "STDOUT", "EXIT"});
    std::vector<std::string> types;
    std::string output;
    std::uint64_t last = 0;
    while (types.empty() || types.back() != "EXIT") {
      const auto event = subscription.next(60s);
      check(event.has_value(), "the next event comes");
      check(event->type != appmesh::kDisconnectedEvent && event->sequence > last, "sequence numbers rise");
      last = event->sequence;
      types.push_back(event->type);
      if (event->type == "STDOUT") output += event->data.at("output").as_string();
    }
    check(types.front() == "START" && output == "quick\n", "nothing is missed");
    client.unsubscribe(subscription);
    client.delete_app(app.name());
  }
}

void flood_for_nobody(const Place& place, const std::string& transport) {
  constexpr int kKept = 64;
  constexpr std::size_t kKeptEvents = 1000;
  std::mutex mutex;  // outlives the client, whose callbacks use it
  std::vector<std::vector<Event>> seen(kKept);
  Client client = place.client(transport);
  Client other = place.client("https");
  App app(fresh("flood"), "true");
  app.set("status", 0).set("start_time", std::time(nullptr) + 86'400);
  client.add_app(app);
  std::vector<appmesh::Subscription> nobody;
  for (int i = 0; i < kKept; ++i) nobody.push_back(client.subscribe(app.name(), {"STATUS"}));
  auto marker = client.subscribe(app.name(), {"STATUS"});
  check(!marker.next(0ms), "this one is read");
  std::thread flood([&] {
    for (int turn = 0; turn < 550; ++turn) {
      other.enable_app(app.name());
      other.disable_app(app.name());
    }
  });
  try {
    for (int count = 0; count < 1100; ++count) check(marker.next(60s).has_value(), "the marker sees every event");
  } catch (...) {
    flood.join();
    throw;
  }
  flood.join();
  check(client.get_app(app.name()).status() == appmesh::AppStatus::kDisabled, "calls go on");
  // One subscription more than are kept: the oldest loses what it had.
  App second(fresh("flood"), "true");
  second.set("status", 0);
  auto newest = client.add_app_and_subscribe(second, {"STATUS"});
  auto mark_second = client.subscribe(second.name(), {"STATUS"});
  check(!mark_second.next(0ms), "this one is read");
  other.enable_app(second.name());
  check(mark_second.next(60s).has_value(), "an event of the second app");
  check(client.get_app(second.name()).status() == appmesh::AppStatus::kEnabled, "calls still go on");
  check(!nobody.front().next(0ms), "the oldest subscription was dropped");
  check(nobody.front().lost() == 1100, "and tells what it lost");
  check(newest.next(60s).has_value(), "the newest is kept");
  for (int i = 1; i < kKept; ++i) {
    nobody[i].on_event([&, i](const Event& event) {
      const std::lock_guard lock(mutex);
      seen[i].push_back(event);
    });
  }
  other.enable_app(app.name());  // the last event of all
  eventually(
      [&] {
        const std::lock_guard lock(mutex);
        return std::all_of(seen.begin() + 1, seen.end(),
                           [&](const auto& events) { return events.size() > kKeptEvents; });
      },
      "late callbacks get what was kept, and what comes then");
  for (int i = 1; i < kKept; ++i) {
    const auto& events = seen[i];
    check(events.size() == kKeptEvents + 1 && nobody[i].lost() == 100, "the newest thousand");
    check(std::is_sorted(events.begin(), events.end(),
                         [](const Event& left, const Event& right) { return left.sequence < right.sequence; }),
          "in order");
    check(events.back().data.at("status").as_string() == "enabled", "up to the last");
  }
  client.delete_app(app.name());
  client.delete_app(second.name());
}

void exit_by_signal(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  check(client.run_sync(command("kill -KILL $$")).exit_code == -9, "-9");
  const auto run = client.run_async(command("echo last words; kill -TERM $$; sleep 10"));
  std::string output;
  check(client.wait(run, [&](std::string_view bytes, std::uint64_t) { output += bytes; }) == -15, "-15");
  check(output == "last words\n", "its output");
}

void reply_racing_the_send(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  std::mutex mutex;
  std::string problem;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (int turn = 0; turn < 100; ++turn) {
        const std::string name = "nobody-" + std::to_string(thread) + "-" + std::to_string(turn);
        std::string answer = "no error";
        try {
          client.get_app(name);
        } catch (const ClientError& error) {
          answer = error.what();
        }
        if (answer.find("<" + name + ">") != std::string::npos) continue;
        const std::lock_guard lock(mutex);
        problem = "asked for " + name + ", got " + answer;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  check(problem.empty(), problem);
}

void removed_while_waiting(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  Client other = place.client("https");
  const auto run = client.run_async(command("echo here; sleep 600"));
  const auto kind =
      kind_of([&] { client.wait(run, [&](std::string_view, std::uint64_t) { other.delete_app(run.name); }); });
  check(kind == ErrorKind::kRemoved, "a removal is an error of its own");
  check(!client.own_permissions().empty(), "the client goes on");
}

void renewal_amid_traffic(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  std::atomic<bool> over = false;
  std::mutex mutex;
  std::string problem;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      while (!over) {
        try {
          client.own_permissions();
        } catch (const std::exception& error) {
          const std::lock_guard lock(mutex);
          problem = error.what();
          return;
        }
      }
    });
  }
  const std::string first = client.token();
  for (int turn = 0; turn < 15; ++turn) client.renew(3600s);
  over = true;
  for (auto& thread : threads) thread.join();
  check(client.token() != first && problem.empty(), "no call fails for a renewal: " + problem);
}

// An app whose process tells its key, so that this program can pose as it.
appmesh::WorkerOptions pose_as_worker(const Place& place, const std::string& transport, Client& client,
                                      const std::string& name) {
  App app(name, "echo $APP_MESH_PROCESS_KEY; sleep 600");
  app.set("shell", true);
  client.add_app(app);
  std::string key = eventually(
                        [&] {
                          auto text = client.app_output(name).text;
                          return text.ends_with('\n') ? std::optional(text.substr(0, text.size() - 1)) : std::nullopt;
                        },
                        "the key of the process")
                        .value();
  return {.url = place.url(transport), .transport = Place::trust(), .app = name, .process_key = std::move(key)};
}

void worker_superseded(const Place& place, const std::string& transport) {
  Client client = place.client("https");
  const std::string name = fresh("old");
  appmesh::Worker worker(pose_as_worker(place, transport, client, name));
  std::optional<ErrorKind> found;
  std::thread fetching([&] { found = kind_of([&] { worker.fetch_task(); }); });
  client.disable_app(name);
  eventually([&] { return !client.get_app(name).pid(); }, "the old process is gone");
  client.enable_app(name);
  eventually([&] { return client.get_app(name).pid().has_value(); }, "the new process is there");
  fetching.join();
  check(found == ErrorKind::kSuperseded, "fetching says so");
  check(kind_of([&] { worker.send_result("too late"); }) == ErrorKind::kSuperseded, "so does returning");
  client.delete_app(name);
}

void binary_task(const Place& place, const std::string& transport) {
  Client client = place.client(transport);
  const std::string name = fresh("task");
  appmesh::Worker worker(pose_as_worker(place, transport, client, name));
  std::string all;
  for (int i = 0; i < 1024 * 1024; ++i) all += static_cast<char>(i);
  std::thread serving(
      [&] { worker.serve([](std::string payload) { return std::string(payload.rbegin(), payload.rend()); }); });
  try {
    for (const std::string& payload : {all, std::string(1, '\0'), std::string("\xff\xfe\r\n\0", 5), std::string("x")}) {
      check(client.run_task(name, payload, 60s) == std::string(payload.rbegin(), payload.rend()), "unchanged");
    }
  } catch (...) {
    worker.stop();
    serving.join();
    throw;
  }
  worker.stop();
  serving.join();
  client.delete_app(name);
}

// Threads that are joined whatever happens, and the first thing that went wrong in one of them.
class Crowd {
 public:
  ~Crowd() { join(); }
  template <typename Work>
  void add(Work work) {
    threads_.emplace_back([this, work] {
      try {
        work();
      } catch (const std::exception& error) {
        const std::lock_guard lock(mutex_);
        if (problem_.empty()) problem_ = error.what();
      }
    });
  }
  void end() {
    join();
    check(problem_.empty(), problem_);
  }

 private:
  void join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

  std::mutex mutex_;
  std::string problem_;
  std::vector<std::thread> threads_;
};

// Removes an app in the end, which ends whoever waits for its tasks. Declared after the Crowd of those.
struct Removed {
  Client& client;
  const std::string& name;
  ~Removed() {
    kind_of([&] { client.delete_app(name); });
  }
};

std::int64_t tasks(Client& client, const std::string& app, const char* figure) {
  const App found = client.get_app(app);
  const auto* tasks = found.json().if_contains("tasks");
  return tasks == nullptr ? 0 : tasks->at(figure).to_number<std::int64_t>();
}

// Each slot in a thread of its own: over TCP of one Worker, over HTTPS each has one.
void slots_of_threads(const Place& place, Client& client, const std::string& transport) {
  constexpr unsigned kSlots = 4;
  const std::string name = fresh("slots");
  Relay relay(place.ports.at(transport));
  auto options = pose_as_worker(place, transport, client, name);
  options.url = place.url(transport, relay.port());
  std::vector<std::shared_ptr<appmesh::Worker>> workers(kSlots);
  for (auto& worker : workers) {
    if (transport == "https" || !workers[0]) {
      worker = std::make_shared<appmesh::Worker>(options);
    } else {
      worker = workers[0];
    }
  }
  std::vector<std::string> in_hand(kSlots);
  Crowd fetching, callers;
  const Removed removed{client, name};
  for (unsigned slot = 0; slot < kSlots; ++slot)
    fetching.add([&, slot] { in_hand[slot] = workers[slot]->fetch_task(slot); });
  for (unsigned task = 0; task < kSlots; ++task) {
    callers.add([&, task] {
      const std::string payload = "task " + std::to_string(task);
      check(client.run_task(name, payload, 60s) == "answer to " + payload, "the answer reaches its caller");
    });
  }
  fetching.end();
  check(std::set(in_hand.begin(), in_hand.end()).size() == kSlots && tasks(client, name, "active") == kSlots,
        "each slot has a task of its own, and none is answered");
  relay.drop();
  for (unsigned slot = 0; slot < kSlots; ++slot)
    check(workers[slot]->fetch_task(slot) == in_hand[slot], "an unanswered task comes again, to its slot");
  for (const unsigned slot : {2, 0, 3, 1}) workers[slot]->send_result("answer to " + in_hand[slot], slot);
  callers.end();
  Crowd stopped;
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    stopped.add([&, slot] {
      check(kind_of([&] { workers[slot]->fetch_task(slot); }) == ErrorKind::kCancelled,
            "stop() ends the wait of every slot");
    });
  }
  for (auto& worker : workers) worker->stop();
  stopped.end();
}

// A process that serves four slots with one thread, and works only once there is a file `gate`.
int be_worker(const std::string& url, const std::string& ca, const std::string& gate) {
  appmesh::Worker worker({.url = url, .transport = {.tls = {appmesh::TlsOptions::Verify::kPath, ca}}});
  worker.serve(
      [&](const std::string& payload) {
        std::ofstream(gate + ".log", std::ios::app) << payload << '\n' << std::flush;
        eventually([&] { return std::filesystem::exists(gate); }, "the gate opens");
        return "answer to " + payload;
      },
      4);
  return 0;
}

void slots_of_one_thread(const Place& place, Client& client, const std::string& transport) {
  const std::string name = fresh("slots");
  const std::string gate = std::string(variable("APPMESH_CONTRACT_SCRATCH")) + "/" + name;
  Relay relay(place.ports.at(transport));
  client.add_app(App(name, std::filesystem::read_symlink("/proc/self/exe").string() + " --worker " +
                               place.url(transport, relay.port()) + " " + variable("APPMESH_CONTRACT_CA") + " " +
                               gate));
  eventually([&] { return client.get_app(name).pid().has_value(); }, "the worker runs");
  const auto call = [&](const std::string& payload) {
    check(client.run_task(name, payload, 60s) == "answer to " + payload, "the answer reaches its caller");
  };
  Crowd callers;
  const Removed removed{client, name};
  for (int task = 0; task < 6; ++task) callers.add([=] { call("first " + std::to_string(task)); });
  eventually([&] { return tasks(client, name, "active") == 4 && tasks(client, name, "queued") == 2; },
             "four tasks are in hand at once");
  relay.drop();
  std::ofstream(gate).close();
  callers.end();
  std::map<std::string, int> worked_on;
  std::ifstream log(gate + ".log");
  for (std::string line; std::getline(log, line);) ++worked_on[line];
  check(worked_on.size() == 6, "every task was worked on");
  for (const auto& [payload, times] : worked_on) check(times <= 2, payload + " comes again, but once");
  // Under load, with connections that end amid it.
  for (int caller = 0; caller < 8; ++caller) {
    callers.add([=] {
      for (int task = 0; task < 50; ++task) call("load " + std::to_string(caller) + "." + std::to_string(task));
    });
  }
  for (const int answered : {50, 150, 250}) {
    eventually([&] { return tasks(client, name, "answered") >= answered; }, "tasks are answered");
    relay.drop();
  }
  callers.end();
  check(tasks(client, name, "answered") == 406 && tasks(client, name, "interrupted") == 0, "each task has one answer");
}

// What ends serve() with several slots, and how.
void end_of_slots(const Place& place, Client& client, const std::string& transport) {
  const std::string name = fresh("slots");
  const auto options = pose_as_worker(place, transport, client, name);
  appmesh::Worker worker(options);
  appmesh::Worker old(options);
  Crowd caller, serving;
  const Removed removed{client, name};
  caller.add([&] { check(client.run_task(name, "payload", 60s) == "at last", "the task that failed comes again"); });
  std::string thrown;
  try {
    worker.serve([](const std::string&) -> std::string { throw ClientError(ErrorKind::kCancelled, "of the work"); }, 4);
  } catch (const ClientError& error) {
    thrown = error.what();
  }
  check(thrown == "of the work", "what the work throws ends it");
  serving.add([&] { worker.serve([&](const std::string&) { return worker.stop(), "at last"; }, 4); });
  serving.end();
  caller.end();

  serving.add([&] { old.serve([](std::string payload) { return payload; }, 4); });
  check(client.run_task(name, "it serves", 60s) == "it serves", "it serves");
  client.disable_app(name);
  eventually([&] { return !client.get_app(name).pid(); }, "the old process is gone");
  client.enable_app(name);
  serving.end();
}

void worker_with_slots(const Place& place, const std::string& transport) {
  Client client = place.client("tcp");  // has the calls of many callers under way, whatever the worker uses
  slots_of_threads(place, client, transport);
  if (transport == "https") return;
  slots_of_one_thread(place, client, transport);
  end_of_slots(place, client, transport);
}

struct Owner {
  uid_t user;
  gid_t group;
};

std::string read_whole(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void check_file(const std::filesystem::path& path, const std::string& content, const Owner& owner) {
  struct stat status{};
  check(::stat(path.c_str(), &status) == 0 && read_whole(path) == content, path.string() + " is the same");
  check((status.st_mode & 07777) == 0640, path.string() + " has its mode");
  check(status.st_uid == owner.user && status.st_gid == owner.group, path.string() + " has its owner");
}

void file_round_trip(const Place& place, const std::string& transport) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(variable("APPMESH_CONTRACT_SCRATCH")) / fresh("files");
  fs::create_directory(folder);
  fs::permissions(folder, fs::perms::all);
  const auto in = [&](const char* name) { return (folder / name).string(); };
  std::string content;
  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < 3'300'011; ++i) content += static_cast<char>(random());
  std::ofstream(in("source"), std::ios::binary) << content;
  Owner owner{::geteuid(), ::getegid()};
  const bool root = owner.user == 0;
  if (root) check(::chown(in("source").c_str(), 65'534, 65'534) == 0, "the file belongs to somebody else");
  fs::permissions(in("source"), static_cast<fs::perms>(0640));

  Client client = place.client(transport);
  // In a container the daemon keeps what it stores as its own.
  if (root && !client.resources().at("in_container").as_bool()) owner = {65'534, 65'534};
  client.upload_file(in("source"), in("there and grün"));
  check_file(in("there and grün"), content, owner);
  client.download_file(in("there and grün"), in("back"));
  check_file(in("back"), content, owner);
  const auto status_of = [](auto work) {
    try {
      work();
    } catch (const ClientError& error) {
      return error.status();
    }
    return 0;
  };
  check(status_of([&] { client.upload_file(in("source"), in("there and grün")); }) == 409, "nothing is overwritten");
  check(status_of([&] { client.download_file(in("nobody"), in("nothing")); }) == 404, "a missing file is refused");
  std::ofstream(in("empty")).close();
  client.upload_file(in("empty"), in("empty there"));
  client.download_file(in("empty there"), in("empty back"));
  check(read_whole(in("empty back")).empty(), "an empty file");
  std::set<std::string> names;
  for (const auto& each : fs::directory_iterator(folder)) names.insert(each.path().filename());
  check(names == std::set<std::string>{"source", "there and grün", "back", "empty", "empty there", "empty back"},
        "and nothing besides");
}

struct Scenario {
  int number;
  void (*run)(const Place&, const std::string&);
  std::vector<std::string> transports;
};
const std::vector<Scenario> kScenarios{
    {1, slow_request, {"https", "tcp"}},
    {2, disconnect_in_a_wait, {"https", "tcp"}},
    {3, time_out_of_the_caller, {"https", "tcp"}},
    {4, atomic_subscription, {"tcp"}},
    {5, flood_for_nobody, {"tcp"}},
    {6, exit_by_signal, {"https", "tcp"}},
    {7, reply_racing_the_send, {"https", "tcp"}},
    {8, removed_while_waiting, {"https", "tcp"}},
    {9, renewal_amid_traffic, {"https", "tcp"}},
    {10, worker_superseded, {"https", "tcp"}},
    {11, binary_task, {"https", "tcp"}},
    {12, file_round_trip, {"https", "tcp"}},
    {13, worker_with_slots, {"https", "tcp"}},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--list") {
    for (const auto& scenario : kScenarios)
      for (const auto& transport : scenario.transports) std::printf("%d %s\n", scenario.number, transport.c_str());
    return 0;
  }
  if (argc != 5) return 2;
  if (std::string(argv[1]) == "--worker") return be_worker(argv[2], argv[3], argv[4]);
  Place place{.host = argv[1], .ports = {}};
  std::istringstream ports(argv[2]);
  for (const char* transport : {"https", "tcp", "wss"}) {
    std::string port;
    std::getline(ports, port, ',');
    place.ports[transport] = static_cast<std::uint16_t>(std::stoi(port));
  }
  const std::string transport = argv[4];
  for (const auto& scenario : kScenarios) {
    if (scenario.number != std::atoi(argv[3]) || !std::ranges::count(scenario.transports, transport)) continue;
    try {
      scenario.run(place, transport);
      return 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return 1;
    }
  }
  return kNotApplicable;
}
