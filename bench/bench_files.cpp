// One file over TCP with TLS, to the daemon or from it, as docs/wire.md#tcp-files has it: frames behind the
// answer. What comes is thrown away. An upload is over when the daemon has answered the request behind it.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <iostream>

#include <sys/uio.h>

#include <CLI/CLI.hpp>
#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "bench/tls_socket.h"

namespace {

using namespace appmesh;

constexpr std::size_t kPieceFrames = 64;  // written at once

class Connection {
 public:
  Connection(int port, const std::string& ca) : socket_(port) { socket_.start_tls(ca); }

  void request(std::string_view method, std::string_view path, const std::vector<wire::TextPair>& headers) {
    wire::Request request;
    request.uuid = "bench";
    request.request_uri = path;
    request.http_method = method;
    request.client_addr = "bench";
    std::string message, frame;
    wire::append_request_head(message, request, headers, std::vector<wire::TextPair>(), 0);
    wire::append_frame_header(frame, static_cast<std::uint32_t>(message.size()));
    socket_.write(frame + message);
    wire::Response answer;
    const auto problem = wire::parse_response(next(), answer);
    if (!problem.empty()) throw std::runtime_error(std::string(problem));
    if (answer.http_status != 200)
      throw std::runtime_error("answered " + std::to_string(answer.http_status) + " " + std::string(answer.body));
  }

  // What is in the next frame, good until the next call.
  std::string_view next() {
    in_.erase(0, used_);
    used_ = 0;
    while (in_.size() < wire::kFrameHeaderBytes) socket_.read(in_);
    const auto length = wire::read_frame_header(in_);
    if (!length) throw std::runtime_error("no frame");
    used_ = wire::kFrameHeaderBytes + *length;
    while (in_.size() < used_) socket_.read(in_);
    return std::string_view(in_).substr(wire::kFrameHeaderBytes, *length);
  }
  void write(std::string_view data) { socket_.write(data); }

 private:
  bench::TlsSocket socket_;
  std::string in_;
  std::size_t used_ = 0;
};

std::uint64_t download(Connection& connection, const std::string& token, const std::string& path) {
  connection.request("GET", "/appmesh/file/download",
                     {{"Authorization", token}, {"X-File-Path", path}, {"X-Recv-File-Socket", "true"}});
  std::uint64_t total = 0;
  for (auto piece = connection.next(); !piece.empty(); piece = connection.next()) total += piece.size();
  return total;
}

std::uint64_t upload(Connection& connection, const std::string& token, const std::string& path,
                     const std::string& local) {
  constexpr std::size_t kFrame = wire::kFrameHeaderBytes + wire::kFileChunkBytes;
  const int file = ::open(local.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw std::runtime_error("cannot read " + local);
  connection.request("POST", "/appmesh/file/upload",
                     {{"Authorization", token}, {"X-File-Path", path}, {"X-Send-File-Socket", "true"}});
  std::string frames(kPieceFrames * kFrame, '\0');
  std::array<iovec, kPieceFrames> chunks;  // the file is read to where its bytes leave from
  for (std::size_t i = 0; i < chunks.size(); ++i)
    chunks[i] = {frames.data() + i * kFrame + wire::kFrameHeaderBytes, wire::kFileChunkBytes};
  std::uint64_t total = 0;
  for (;;) {
    const ssize_t count = ::readv(file, chunks.data(), static_cast<int>(chunks.size()));
    if (count < 0) throw std::runtime_error("cannot read " + local);
    if (count == 0) break;
    auto left = static_cast<std::size_t>(count);
    total += left;
    std::size_t bytes = 0;
    for (char* at = frames.data(); left > 0; at += kFrame) {
      const std::size_t chunk = std::min(left, wire::kFileChunkBytes);
      wire::write_frame_header(at, static_cast<std::uint32_t>(chunk));
      bytes += wire::kFrameHeaderBytes + chunk;
      left -= chunk;
    }
    connection.write({frames.data(), bytes});
  }
  ::close(file);
  std::string end;
  wire::append_frame_header(end, 0);
  connection.write(end);
  connection.request("GET", "/appmesh/user/self", {{"Authorization", token}});
  return total;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App parser("one file over TCP");
  int port = 6059;
  std::string ca, path, local;
  parser.add_option("--port", port);
  parser.add_option("--ca", ca)->required();
  parser.add_option("--path", path, "there")->required();
  parser.add_option("--upload", local, "file here; without it the file there is fetched");
  CLI11_PARSE(parser, argc, argv);
  const char* token = std::getenv("APPMESH_BENCH_TOKEN");
  if (token == nullptr) {
    std::cerr << "bench_files: APPMESH_BENCH_TOKEN is not set\n";
    return 2;
  }
  try {
    Connection connection(port, ca);
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t bytes =
        local.empty() ? download(connection, token, path) : upload(connection, token, path, local);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::cout << boost::json::serialize(boost::json::object{{"bytes", bytes}, {"seconds", seconds}}) << "\n";
  } catch (const std::exception& error) {
    std::cerr << "bench_files: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
